// SPDX-License-Identifier: MIT
#include "wg/handshake.h"

#include <stdlib.h>

#include "wg/constants.h"
#include "wg/device.h"
#include "wg/timers.h"

/* Answers with a cookie; these too are limited, so that a flood costs little more than its first mac. */
static void send_cookie(struct wg_device *d, const struct wg_endpoint *from, const void *msg,
			size_t len, uint64_t now)
{
	uint8_t random[WG_KEY_LEN + WG_XNONCE_LEN];
	struct wg_endpoint to = *from;
	struct wg_msg_cookie reply;

	if (!wg_bucket_take(&d->replies, now, WG_COOKIE_RATE, WG_COOKIE_BURST))
		return;
	d->env.random(d->env.ctx, random, sizeof(random));
	wg_cookie_reply(&d->checker, from, msg, len, random, now, &reply);
	wg_zero(random, sizeof(random));
	d->env.transmit(d->env.ctx, &to, &reply, sizeof(reply), 0);
}

/* Whether many initiations came in a short time. */
static bool under_load(struct wg_device *d, uint64_t now)
{
	if (!wg_bucket_take(&d->load, now, WG_LOAD_RATE, WG_LOAD_BURST))
		d->load_until = now + WG_LOAD_TIME;
	return now < d->load_until;
}

static bool source_allowed(struct wg_device *d, struct wg_ratelimit **table,
			   const struct wg_endpoint *from, uint64_t now)
{
	if (!*table) {
		*table = calloc(1, sizeof(**table));
		if (!*table)
			return true;
		d->env.random(d->env.ctx, &(*table)->key, sizeof((*table)->key));
	}
	return wg_ratelimit_allow(*table, from, now);
}

/*
 * Whether the initiation is worth the time to check its first mac. In a flood only a few are of each source, and of
 * all together no more than cost little: those above would hardly get even a cookie. Sources may be forged, so this
 * limit is not the one of those that have proved theirs.
 */
static bool worth_a_look(struct wg_device *d, const struct wg_endpoint *from, uint64_t now)
{
	if (!wg_bucket_take(&d->arrivals, now, WG_FLOOD_RATE, WG_FLOOD_BURST))
		d->flood_until = now + WG_LOAD_TIME;
	if (now >= d->flood_until)
		return true;
	return source_allowed(d, &d->strangers, from, now) &&
	       wg_bucket_take(&d->looks, now, WG_LOOK_RATE, WG_LOOK_BURST);
}

/* Whether the initiation is worth two Diffie-Hellman operations. */
static bool admit(struct wg_device *d, const struct wg_endpoint *from,
		  const struct wg_msg_initiation *msg, uint64_t now)
{
	if (!under_load(d, now))
		return true;
	if (!wg_cookie_check_mac2(&d->checker, from, msg, sizeof(*msg), now)) {
		d->drops.load++;
		send_cookie(d, from, msg, sizeof(*msg), now);
		return false;
	}
	if (!source_allowed(d, &d->ratelimit, from, now)) {
		d->drops.load++;
		return false;
	}
	return true;
}

static void respond(struct wg_device *d, struct wg_peer *p, uint64_t now)
{
	uint8_t ephemeral[WG_KEY_LEN];
	struct wg_msg_response msg;
	uint32_t index = wg_device_new_index(d);

	if (!index || wg_index_add(&d->indices, index, p, NULL) < 0)
		return;
	d->env.random(d->env.ctx, ephemeral, sizeof(ephemeral));
	if (wg_noise_response_make(&p->handshake, index, ephemeral, &msg) < 0) {
		wg_index_del(&d->indices, index);
		return;
	}
	wg_cookie_sign(&p->cookie, &msg, sizeof(msg), now);
	if (wg_peer_begin_session(p, now) < 0)
		return;
	wg_timers_message_sent(p, now);
	wg_device_transmit(d, p, &msg, sizeof(msg), 0);
}

void wg_handshake_continue(struct wg_device *d, const struct wg_endpoint *from,
			   const struct wg_msg_initiation *msg, const struct wg_noise_draft *draft,
			   uint64_t now)
{
	struct wg_peer *p = wg_device_find_peer(d, draft->remote_static);
	uint32_t old = p ? p->handshake.local_index : 0;

	if (!p || !d->up ||
	    wg_noise_initiation_accept(&p->handshake, draft, msg, now, WG_INITIATION_GAP) < 0) {
		d->drops.handshake++;
		return;
	}
	/* Theirs replaces ours, if one was under way. */
	wg_index_del(&d->indices, old);
	p->rx_bytes += sizeof(*msg);
	wg_peer_roam(p, from);
	wg_timers_message_received(p, now);
	respond(d, p, now);
}

static void receive_initiation(struct wg_device *d, const struct wg_endpoint *from,
			       const struct wg_msg_initiation *msg, uint64_t now)
{
	struct wg_noise_draft draft;

	if (!admit(d, from, msg, now))
		return;
	if (wg_noise_initiation_open(&d->identity, msg, &draft) < 0) {
		d->drops.handshake++;
		return;
	}
	if (!d->env.elsewhere || wg_device_find_peer(d, draft.remote_static) ||
	    !d->env.elsewhere(d->env.ctx, from, msg, &draft))
		wg_handshake_continue(d, from, msg, &draft, now);
	wg_zero(&draft, sizeof(draft));
}

/* The peer whose initiation it says it answers, or NULL. Only such a one gets further, and once: no need for cookies. */
static struct wg_peer *answered(struct wg_device *d, const struct wg_msg_response *msg)
{
	struct wg_index_entry *e = wg_index_find(&d->indices, le32toh(msg->receiver));

	return e && !e->keypair ? e->peer : NULL;
}

static void receive_response(struct wg_device *d, const struct wg_endpoint *from,
			     const struct wg_msg_response *msg, uint64_t now)
{
	struct wg_peer *p = answered(d, msg);

	if (wg_noise_response_accept(&p->handshake, &d->identity, msg) < 0) {
		d->drops.handshake++;
		return;
	}
	p->rx_bytes += sizeof(*msg);
	wg_peer_roam(p, from);
	wg_timers_message_received(p, now);
	if (wg_peer_begin_session(p, now) < 0)
		return;
	wg_timers_handshake_complete(p);
	/* The other side sends only after our first message under the new keys. */
	if (p->staged.head)
		wg_peer_send_staged(p, now);
	else
		wg_peer_keepalive(p, now);
}

static void receive_cookie(struct wg_device *d, const struct wg_msg_cookie *msg, uint64_t now)
{
	struct wg_index_entry *e = wg_index_find(&d->indices, le32toh(msg->receiver));

	if (!e || wg_cookie_accept(&e->peer->cookie, msg, now) < 0)
		d->drops.handshake++;
}

void wg_handshake_receive(struct wg_device *d, const struct wg_endpoint *from, const void *msg,
			  size_t len, uint64_t now)
{
	uint32_t type = wg_message_type(msg, len);

	if (type == WG_MSG_COOKIE) {
		receive_cookie(d, msg, now);
		return;
	}
	/* Cheaper than the mac. */
	if (type == WG_MSG_INITIATION && !worth_a_look(d, from, now)) {
		d->drops.load++;
		return;
	}
	if (type == WG_MSG_RESPONSE && !answered(d, msg)) {
		d->drops.handshake++;
		return;
	}
	if (!d->identity.set || !wg_cookie_check_mac1(&d->checker, msg, len)) {
		d->drops.mac++;
		return;
	}
	if (type == WG_MSG_INITIATION)
		receive_initiation(d, from, msg, now);
	else
		receive_response(d, from, msg, now);
}
