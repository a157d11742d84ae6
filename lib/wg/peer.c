// SPDX-License-Identifier: MIT
#include "wg/peer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wg/device.h"
#include "wg/timers.h"

void wg_peer_init(struct wg_peer *p, struct wg_device *dev, const uint8_t public[WG_KEY_LEN])
{
	p->dev = dev;
	p->wake = UINT64_MAX;
	wg_handshake_init(&p->handshake, &dev->identity, public);
	wg_cookie_maker_init(&p->cookie, public);
}

void wg_peer_free(struct wg_peer *p)
{
	wg_stage_flush(&p->dev->stage, &p->staged);
	wg_peer_clear_keys(p);
	wg_zero(p, sizeof(*p));
	free(p);
}

void wg_keypair_drop(struct wg_keypair **at)
{
	struct wg_keypair *kp = *at;

	*at = NULL;
	if (!kp)
		return;
	if (kp->peer->dev->last == kp)
		kp->peer->dev->last = NULL;
	wg_index_del(&kp->peer->dev->indices, kp->local_index);
	wg_cipher_free(kp->send);
	wg_cipher_free(kp->recv);
	wg_zero(kp, sizeof(*kp));
	free(kp);
}

static void clear_handshake(struct wg_peer *p)
{
	if (p->handshake.local_index)
		wg_index_del(&p->dev->indices, p->handshake.local_index);
	wg_handshake_clear(&p->handshake);
}

void wg_peer_clear_sessions(struct wg_peer *p)
{
	wg_keypair_drop(&p->current);
	wg_keypair_drop(&p->previous);
	wg_keypair_drop(&p->pending);
}

void wg_peer_clear_keys(struct wg_peer *p)
{
	clear_handshake(p);
	wg_peer_clear_sessions(p);
	wg_peer_publish(p);
	/* A fresh start may begin its handshake at once. */
	p->last_initiation_sent = 0;
}

/* Takes the index of the handshake over, so that the table never lacks it. */
static struct wg_keypair *keypair_make(struct wg_peer *p, uint64_t now)
{
	struct wg_keypair *kp = calloc(1, sizeof(*kp));
	uint8_t send[WG_KEY_LEN], recv[WG_KEY_LEN];

	if (!kp) {
		clear_handshake(p);
		return NULL;
	}
	kp->peer = p;
	kp->birth = now;
	kp->initiator = p->handshake.state == WG_HANDSHAKE_RESPONSE_RECEIVED;
	kp->local_index = p->handshake.local_index;
	kp->remote_index = p->handshake.remote_index;
	wg_noise_keys(&p->handshake, send, recv);
	kp->send = wg_cipher_alloc(send);
	kp->recv = wg_cipher_alloc(recv);
	wg_zero(send, sizeof(send));
	wg_zero(recv, sizeof(recv));
	if (!kp->send || !kp->recv) {
		wg_keypair_drop(&kp);
		return NULL;
	}
	wg_index_find(&p->dev->indices, kp->local_index)->keypair = kp;
	return kp;
}

int wg_peer_begin_session(struct wg_peer *p, uint64_t now)
{
	struct wg_keypair *kp = keypair_make(p, now);

	if (!kp)
		return -ENOMEM;
	if (kp->initiator) {
		/* A pending one is newer than the current one, so it is what the other side may still use. */
		if (p->pending) {
			wg_keypair_drop(&p->previous);
			wg_keypair_drop(&p->current);
			p->previous = p->pending;
			p->pending = NULL;
		} else {
			wg_keypair_drop(&p->previous);
			p->previous = p->current;
		}
		p->current = kp;
	} else {
		wg_keypair_drop(&p->pending);
		p->pending = kp;
		wg_keypair_drop(&p->previous);
	}
	wg_peer_publish(p);
	wg_timers_session_begun(p, now);
	return 0;
}

void wg_peer_confirm(struct wg_peer *p)
{
	wg_keypair_drop(&p->previous);
	p->previous = p->current;
	p->current = p->pending;
	p->pending = NULL;
	wg_peer_publish(p);
}

void wg_peer_publish(struct wg_peer *p)
{
	uint64_t s = p->current ? p->current->birth : p->standing;

	s &= ~WG_STANDING_FLAGS;
	if (p->current)
		s |= WG_STANDING_SESSION;
	if (!wg_endpoint_none(&p->endpoint))
		s |= WG_STANDING_ENDPOINT;
	if (p->attempts)
		s |= WG_STANDING_TRYING;
	__atomic_store_n(&p->standing, s, __ATOMIC_RELAXED);
}

void wg_peer_set_endpoint(struct wg_peer *p, const struct wg_endpoint *e)
{
	p->endpoint = *e;
	wg_peer_publish(p);
}

void wg_peer_roam(struct wg_peer *p, const struct wg_endpoint *from)
{
	if (!wg_endpoint_same(&p->endpoint, from) || !wg_endpoint_same_source(&p->endpoint, from))
		wg_peer_set_endpoint(p, from);
}

void wg_peer_initiate(struct wg_peer *p, bool retry, uint64_t now)
{
	struct wg_device *d = p->dev;
	uint8_t ephemeral[WG_KEY_LEN], timestamp[WG_TIMESTAMP_LEN];
	struct wg_msg_initiation msg;
	uint32_t index;

	if (!retry)
		p->attempts = 0;
	wg_peer_publish(p);
	if (!d->up || wg_endpoint_none(&p->endpoint))
		return;
	if (p->last_initiation_sent && now - p->last_initiation_sent < wg_timers_patience(p))
		return;
	p->last_initiation_sent = now;
	clear_handshake(p);
	index = wg_device_new_index(d);
	if (!index || wg_index_add(&d->indices, index, p, NULL) < 0)
		return;
	d->env.random(d->env.ctx, ephemeral, sizeof(ephemeral));
	wg_device_timestamp(d, timestamp);
	if (wg_noise_initiation_make(&p->handshake, &d->identity, index, ephemeral, timestamp,
				     &msg) < 0) {
		wg_index_del(&d->indices, index);
		return;
	}
	wg_cookie_sign(&p->cookie, &msg, sizeof(msg), now);
	wg_timers_message_sent(p, now);
	wg_timers_initiation_sent(p, now);
	wg_device_transmit(d, p, &msg, sizeof(msg), 0);
}

void wg_peer_keepalive(struct wg_peer *p, uint64_t now)
{
	struct wg_keypair *kp = wg_peer_session(p, now);
	uint8_t *text = p->dev->scratch + WG_AEAD_HEADROOM;
	size_t n;

	if (!p->dev->up || wg_endpoint_none(&p->endpoint))
		return;
	if (!kp) {
		wg_peer_initiate(p, false, now);
		return;
	}
	n = wg_keypair_seal(kp, text, 0, text - WG_DATA_HEADER);
	wg_timers_message_sent(p, now);
	wg_device_transmit(p->dev, p, text - WG_DATA_HEADER, n, 0);
}

void wg_peer_send_staged(struct wg_peer *p, uint64_t now)
{
	struct wg_keypair *kp;
	struct wg_staged *s;

	while (p->staged.head) {
		uint8_t *out = p->dev->scratch + WG_AEAD_HEADROOM;
		size_t n;

		kp = wg_device_session(p->dev, p, now);
		if (!kp)
			return;
		s = wg_stage_pop(&p->staged);
		n = wg_keypair_seal(kp, s->data, s->padded, out);
		wg_device_transmit(p->dev, p, out, n, s->ecn);
		wg_timers_data_sent(p, now);
		wg_timers_message_sent(p, now);
		wg_stage_free(&p->dev->stage, s);
	}
}
