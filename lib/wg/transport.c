// SPDX-License-Identifier: MIT
/* Data messages (paper section 5.4.6), both ways; declared in device.h. */
#include "wg/device.h"

#include <string.h>

#include "wg/constants.h"
#include "wg/handshake.h"
#include "wg/timers.h"

size_t wg_keypair_seal(struct wg_keypair *kp, uint8_t *in, size_t padded, uint8_t *out)
{
	struct wg_msg_data header = {
		.type = htole32(WG_MSG_DATA),
		.receiver = htole32(kp->remote_index),
		.counter = htole64(kp->counter),
	};

	wg_cipher_seal(kp->send, kp->counter++, in, padded, out + WG_DATA_HEADER);
	memcpy(out, &header, WG_DATA_HEADER);
	return padded + WG_DATA_OVERHEAD;
}

/* The initiator begins a new handshake before the session gets too old, or its counter too high. */
static void keep_fresh_sending(struct wg_peer *p, const struct wg_keypair *kp, uint64_t now)
{
	const struct wg_device *d = p->dev;

	if (kp->counter > WG_REKEY_AFTER_MESSAGES ||
	    (kp->initiator && now - kp->birth >= d->rekey_after))
		wg_peer_initiate(p, false, now);
}

static void keep_fresh_receiving(struct wg_peer *p, uint64_t now)
{
	const struct wg_keypair *kp = p->current;

	if (p->sent_last_minute || !kp || !kp->initiator)
		return;
	if (now - kp->birth >= WG_REJECT_AFTER_TIME - WG_KEEPALIVE_TIMEOUT - WG_REKEY_TIMEOUT) {
		p->sent_last_minute = true;
		wg_peer_initiate(p, false, now);
	}
}

struct wg_keypair *wg_device_session(struct wg_device *d, struct wg_peer *p, uint64_t now)
{
	struct wg_keypair *kp = wg_peer_session(p, now);

	if (!d->up || wg_endpoint_none(&p->endpoint)) {
		d->drops.unroutable++;
		return NULL;
	}
	if (!kp)
		wg_peer_initiate(p, false, now);
	return kp;
}

void wg_device_stage(struct wg_device *d, struct wg_peer *p, const uint8_t *packet, size_t len,
		     size_t padded, uint8_t ecn, uint64_t now)
{
	if (!d->up || wg_endpoint_none(&p->endpoint))
		return;
	wg_stage_push(&d->stage, &p->staged, packet, len, padded, ecn);
	wg_peer_initiate(p, false, now);
}

void wg_device_sent(struct wg_device *d, struct wg_peer *p, uint64_t bytes, uint64_t now)
{
	(void)d;
	p->tx_bytes += bytes;
	wg_timers_data_sent(p, now);
	wg_timers_message_sent(p, now);
	if (p->current)
		keep_fresh_sending(p, p->current, now);
}

static struct wg_keypair *find_keypair(struct wg_device *d, uint32_t index)
{
	struct wg_index_entry *e;

	if (d->last && d->last->local_index == index)
		return d->last;
	e = wg_index_find(&d->indices, index);
	if (!e || !e->keypair)
		return NULL;
	d->last = e->keypair;
	return e->keypair;
}

/* What every authentic data message sets off, before its content is looked at. */
static void authentic(struct wg_device *d, struct wg_keypair *kp, const struct wg_endpoint *from,
		      size_t len, uint64_t now)
{
	struct wg_peer *p = kp->peer;

	p->rx_bytes += len;
	wg_peer_roam(p, from);
	if (kp == p->pending) {
		wg_peer_confirm(p);
		wg_timers_handshake_complete(p);
		wg_peer_send_staged(p, now);
	}
	keep_fresh_receiving(p, now);
	wg_timers_message_received(p, now);
	(void)d;
}

static bool peer_owns(const struct wg_allowed *a, const struct wg_peer *p)
{
	for (; a; a = a->next_of_node)
		if (a->peer == p)
			return true;
	return false;
}

static void lock(struct wg_device *d, const struct wg_flow_key *key)
{
	if (d->env.flows_lock)
		d->env.flows_lock(d->env.ctx, wg_flow_stripe(d->first->flows, key));
}

static void unlock(struct wg_device *d, const struct wg_flow_key *key)
{
	if (d->env.flows_unlock)
		d->env.flows_unlock(d->env.ctx, wg_flow_stripe(d->first->flows, key));
}

/* Remembers that the packet's flow comes from @p. A later fragment says nothing that the first has not said. */
static void learn(struct wg_device *d, const struct wg_peer *p, const uint8_t *data, size_t len,
		  uint64_t now)
{
	struct wg_flow_key key, datagram;
	struct wg_tcp tcp;
	bool is_tcp;

	switch (wg_packet_fragment(data, len, true, &key, &datagram)) {
	case WG_FRAGMENT_NONE:
		if (!wg_packet_flow(data, len, true, &key))
			return;
		break;
	case WG_FRAGMENT_FIRST:
		break;
	default:
		return;
	}
	/* Of the same train. What comes from an established owner changes nothing but the time of the entry. */
	if (d->learnt.now == now && d->learnt.peer == p->id &&
	    memcmp(&d->learnt.key, &key, sizeof(key)) == 0)
		return;
	is_tcp = key.protocol == IPPROTO_TCP;
	if (is_tcp && !wg_packet_tcp(data, len, &tcp))
		return;
	lock(d, &key);
	d->learnt.peer =
		wg_flow_learn(d->first->flows, &key, is_tcp ? &tcp : NULL, p->id, now) ? p->id : 0;
	unlock(d, &key);
	d->learnt.key = key;
	d->learnt.now = now;
}

/* Checks the packet inside: returns its length, or 0. */
static size_t inner(struct wg_device *d, struct wg_peer *p, uint8_t ecn, uint8_t *data, size_t len,
		    uint64_t now)
{
	struct wg_packet packet;

	if (wg_packet_parse(data, len, &packet) < 0) {
		d->drops.malformed++;
		return 0;
	}
	if (!peer_owns(wg_allowedips_find(&d->first->allowedips, packet.src, packet.addr_len), p)) {
		d->drops.source++;
		return 0;
	}
	if (ecn && !wg_packet_decapsulate_ecn(data, ecn)) {
		d->drops.congestion++;
		return 0;
	}
	if (d->first->flows)
		learn(d, p, data, packet.len, now);
	return packet.len;
}

static size_t receive_data(struct wg_device *d, const struct wg_endpoint *from, uint8_t ecn,
			   uint8_t *msg, size_t len, uint8_t *out, struct wg_peer **ret_peer,
			   uint64_t now)
{
	struct wg_msg_data header;
	struct wg_keypair *kp;
	struct wg_peer *p;
	uint64_t counter;

	memcpy(&header, msg, sizeof(header));
	counter = le64toh(header.counter);
	kp = find_keypair(d, le32toh(header.receiver));
	if (!kp) {
		d->drops.unknown_index++;
		return 0;
	}
	if (now - kp->birth >= WG_REJECT_AFTER_TIME || counter >= WG_REJECT_AFTER_MESSAGES) {
		d->drops.expired++;
		return 0;
	}
	if (!wg_replay_may(&kp->replay, counter)) {
		d->drops.replayed++;
		return 0;
	}
	if (wg_cipher_open(kp->recv, counter, msg + WG_DATA_HEADER, len - WG_DATA_HEADER, out) <
	    0) {
		d->drops.forged++;
		return 0;
	}
	wg_replay_accept(&kp->replay, counter);
	p = kp->peer;
	authentic(d, kp, from, len, now);
	if (len == WG_DATA_OVERHEAD)
		return 0;
	wg_timers_data_received(p, now);
	*ret_peer = p;
	return inner(d, p, ecn, out, len - WG_DATA_OVERHEAD, now);
}

bool wg_device_knows(struct wg_device *d, const uint8_t *msg, size_t len)
{
	struct wg_msg_data header;

	if (wg_message_type(msg, len) != WG_MSG_DATA)
		return false;
	memcpy(&header, msg, sizeof(header));
	return find_keypair(d, le32toh(header.receiver)) != NULL;
}

#define PEEK_LEN 64 /* covers IPv4 without options or IPv6, and the ports */

bool wg_device_peek(struct wg_device *d, const uint8_t *msg, size_t len, struct wg_flow_key *ret)
{
	struct wg_msg_data header;
	uint8_t text[PEEK_LEN];
	struct wg_keypair *kp;

	if (wg_message_type(msg, len) != WG_MSG_DATA || len == WG_DATA_OVERHEAD)
		return false;
	memcpy(&header, msg, sizeof(header));
	kp = find_keypair(d, le32toh(header.receiver));
	if (!kp)
		return false;
	len -= WG_DATA_OVERHEAD;
	if (len > PEEK_LEN)
		len = PEEK_LEN;
	wg_cipher_peek(kp->recv, le64toh(header.counter), msg + WG_DATA_HEADER, len, text);
	return wg_packet_flow(text, len, true, ret);
}

size_t wg_device_receive(struct wg_device *d, const struct wg_endpoint *from, uint8_t ecn,
			 uint8_t *msg, size_t len, uint8_t *out, struct wg_peer **ret_peer,
			 uint64_t now)
{
	if (!d->up)
		return 0;
	switch (wg_message_type(msg, len)) {
	case WG_MSG_DATA:
		return receive_data(d, from, ecn, msg, len, out, ret_peer, now);
	case 0:
		d->drops.malformed++;
		return 0;
	default:
		wg_handshake_receive(d, from, msg, len, now);
		return 0;
	}
}

static uint64_t latest_session(uint64_t standing)
{
	return standing & ~WG_STANDING_FLAGS;
}

/* How much is to be hoped of a peer; from 2 on it is live. */
static int hope(uint64_t standing, uint64_t now)
{
	if (!(standing & WG_STANDING_ENDPOINT))
		return 0;
	if (!(standing & WG_STANDING_SESSION) ||
	    now - latest_session(standing) >= WG_REJECT_AFTER_TIME)
		return 1;
	/* It leaves our handshakes unanswered, so its session is likely to be of no use. */
	return standing & WG_STANDING_TRYING ? 2 : 3;
}

static bool live(const struct wg_peer *p, uint64_t now)
{
	return hope(wg_peer_standing(p), now) >= 2;
}

/* Of the peers of a prefix: a live one before others, then the latest handshake. */
static struct wg_peer *best_of(const struct wg_allowed *a, uint64_t now)
{
	struct wg_peer *best = a->peer;
	uint64_t best_standing = wg_peer_standing(best);

	while ((a = a->next_of_node)) {
		uint64_t s = wg_peer_standing(a->peer);
		int more = hope(s, now) - hope(best_standing, now);

		if (more > 0 || (!more && latest_session(s) > latest_session(best_standing))) {
			best = a->peer;
			best_standing = s;
		}
	}
	return best;
}

/* What tells a packet that goes out apart from those of other flows. */
struct outgoing {
	struct wg_flow_key key;	     /* of the whole datagram */
	struct wg_flow_key datagram; /* of its fragments */
	struct wg_tcp tcp;
	bool has_tcp;
	enum wg_fragment fragment;
};

static bool outgoing(const uint8_t *data, size_t len, struct outgoing *ret)
{
	ret->fragment = wg_packet_fragment(data, len, false, &ret->key, &ret->datagram);
	if (ret->fragment == WG_FRAGMENT_LATER)
		ret->key = ret->datagram;
	else if (ret->fragment == WG_FRAGMENT_NONE && !wg_packet_flow(data, len, false, &ret->key))
		return false;
	ret->has_tcp = wg_packet_tcp(data, len, &ret->tcp);
	return true;
}

/* The peer that goes with the flow, unless it may no longer have the address or has no session left. */
static struct wg_peer *by_flow(struct wg_device *d, const struct outgoing *o,
			       const struct wg_allowed *a, uint64_t now)
{
	const struct wg_flow_entry *e =
		wg_flow_send(d->first->flows, &o->key, o->has_tcp ? &o->tcp : NULL);
	struct wg_peer *p;

	if (!e || e->peer > d->first->n_ids)
		return NULL;
	p = d->first->ids[e->peer - 1];
	/* A guess is given up as soon as it looks bad. */
	return p && peer_owns(a, p) && hope(wg_peer_standing(p), now) >= (e->chosen ? 3 : 2) ? p
											     : NULL;
}

/*
 * By its flow where several peers may have the address. A flow that is not known stays with the peer that was
 * chosen first, also when others shake hands meanwhile: the other end would not know it from elsewhere.
 */
static struct wg_peer *choose(struct wg_device *d, const uint8_t *data, size_t len,
			      const struct wg_allowed *a, uint64_t now)
{
	struct outgoing o;
	struct wg_peer *p;

	if (!outgoing(data, len, &o))
		return best_of(a, now);
	/* What goes out may change the entry. */
	d->learnt.peer = 0;
	lock(d, &o.key);
	p = by_flow(d, &o, a, now);
	if (!p) {
		p = best_of(a, now);
		if (live(p, now))
			wg_flow_choose(d->first->flows, &o.key, o.has_tcp ? &o.tcp : NULL, p->id,
				       now);
	}
	unlock(d, &o.key);
	if (o.fragment == WG_FRAGMENT_FIRST) {
		lock(d, &o.datagram);
		wg_flow_choose(d->first->flows, &o.datagram, NULL, p->id, now);
		unlock(d, &o.datagram);
	}
	return p;
}

struct wg_peer *wg_device_route(struct wg_device *d, const uint8_t *data, size_t len, uint64_t now)
{
	const struct wg_allowed *a = NULL;
	struct wg_packet packet;

	if (wg_packet_parse(data, len, &packet) == 0)
		a = wg_allowedips_find(&d->first->allowedips, packet.dst, packet.addr_len);
	if (!a) {
		d->drops.unroutable++;
		return NULL;
	}
	if (!d->first->flows || !a->next_of_node)
		return a->peer;
	return choose(d, data, packet.len, a, now);
}

struct wg_peer *wg_device_flow_peer(struct wg_device *d, const struct wg_flow_key *key)
{
	const struct wg_device *first = d->first;
	uint32_t id;

	if (!first->flows)
		return NULL;
	lock(d, key);
	id = wg_flow_find(first->flows, key);
	unlock(d, key);
	return id && id <= first->n_ids ? first->ids[id - 1] : NULL;
}
