// SPDX-License-Identifier: MIT
#include "kkwg/handover.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kkwg/engine.h"
#include "kkwg/shards.h"
#include "wg/handshake.h"

#define TAKEN_AT_ONCE 16 /* records of one ring */

enum kind {
	PACKET,
	MESSAGE,
	INITIATION,
};

/* A packet or message has room before and behind it, as the buffers of outbound.h and inbound.h have. */
struct record {
	enum kind kind;
	union {
		struct {
			struct wg_peer *peer; /* valid in this ... */
			uint64_t generation;  /* ... generation of the configuration */
			tun_header hdr;
			uint32_t len;
		} packet;
		struct udp_received message;
		struct {
			struct wg_endpoint from;
			struct wg_msg_initiation msg;
			struct wg_noise_draft draft;
		} initiation;
	};
	_Alignas(16) uint8_t before[2 * WG_AEAD_HEADROOM];
	uint8_t data[];
};

static struct ring *ring_of(const struct engine *e, unsigned int from, unsigned int to)
{
	return &e->rings[from * e->n + to];
}

int handover_init(struct engine *e)
{
	e->rings = aligned_alloc(_Alignof(struct ring), e->n * e->n * sizeof(*e->rings));
	if (!e->rings)
		return -ENOMEM;
	memset(e->rings, 0, e->n * e->n * sizeof(*e->rings));
	for (unsigned int i = 0; i < e->n * e->n; i++)
		if (i / e->n != i % e->n && ring_init(&e->rings[i], HANDOVER_RING) < 0)
			return -ENOMEM;
	return 0;
}

void handover_clean(struct engine *e)
{
	for (unsigned int i = 0; e->rings && i < e->n * e->n; i++)
		ring_clean(&e->rings[i]);
	free(e->rings);
	e->rings = NULL;
}

/* --- handing over --- */

/* A record with room for @len bytes of data; NULL (counted) where it is lost. */
static struct record *push(struct worker *w, unsigned int to, enum kind kind, uint32_t len)
{
	size_t size = sizeof(struct record) + (len ? len + WG_PADDING + WG_AEAD_TAILROOM : 0);
	struct record *r = ring_push(ring_of(w->engine, w->number, to), (uint32_t)size);

	if (!r) {
		w->lost++;
		return NULL;
	}
	r->kind = kind;
	w->handed++;
	w->pushed |= 1u << to;
	return r;
}

void handover_packet(struct worker *w, struct wg_peer *p, const struct outbound_packet *q)
{
	struct record *r = push(w, shards_number(p), PACKET, q->len);

	if (!r)
		return;
	r->packet.peer = p;
	r->packet.generation = w->engine->generation;
	r->packet.hdr = q->hdr;
	r->packet.len = q->len;
	memcpy(r->data, q->data, q->len);
}

/* @len bytes at @at of a received message. */
static void hand_message(struct worker *w, unsigned int to, const struct udp_received *m,
			 uint32_t at, uint32_t len)
{
	struct record *r = push(w, to, MESSAGE, len);

	if (!r)
		return;
	r->message = *m;
	r->message.data = r->data;
	r->message.len = len;
	memcpy(r->data, m->data + at, len);
}

/* Whose the datagram at @at is; what is nobody's is one's own. Sets its length. */
static unsigned int shard_at(const struct worker *w, const struct udp_received *m, uint32_t at,
			     uint32_t *ret_len)
{
	uint32_t len = m->len - at < m->segment ? m->len - at : m->segment, shard;

	*ret_len = len;
	if (!wg_message_type(m->data + at, len))
		return w->number;
	shard = wg_message_shard(m->data + at, len);
	return shard < w->engine->n ? shard : w->number;
}

bool handover_message(struct worker *w, const struct udp_received *m)
{
	bool ours = false, same = true;
	unsigned int first, shard;
	uint32_t len;

	/* Nearly always all go the same way, since those of a message come from one socket of the other side. */
	first = shard_at(w, m, 0, &len);
	for (uint32_t at = 0; at < m->len; at += len) {
		shard = shard_at(w, m, at, &len);
		ours |= shard == w->number;
		same &= shard == first;
	}
	if (same && ours)
		return false;
	if (same) {
		hand_message(w, first, m, 0, m->len);
		return true;
	}
	for (uint32_t at = 0; at < m->len; at += len) {
		shard = shard_at(w, m, at, &len);
		if (shard != w->number)
			hand_message(w, shard, m, at, len);
	}
	/* Those of others are of no known session here. */
	return !ours;
}

bool handover_initiation(struct worker *w, const struct wg_endpoint *from,
			 const struct wg_msg_initiation *msg, const struct wg_noise_draft *draft)
{
	const struct engine *e = w->engine;

	for (unsigned int i = 0; i < e->n; i++) {
		struct record *r;

		if (i == w->number || !wg_device_find_peer(e->workers[i].dev, draft->remote_static))
			continue;
		r = push(w, i, INITIATION, 0);
		if (r) {
			r->initiation.from = *from;
			r->initiation.msg = *msg;
			r->initiation.draft = *draft;
		}
		return true;
	}
	return false;
}

void handover_publish(struct worker *w)
{
	for (; w->pushed; w->pushed &= w->pushed - 1) {
		unsigned int to = (unsigned int)__builtin_ctz(w->pushed);

		ring_publish(ring_of(w->engine, w->number, to));
		worker_wake(&w->engine->workers[to]);
	}
}

/* --- taking over --- */

static void take(struct worker *w, struct record *r, uint64_t now)
{
	switch (r->kind) {
	case PACKET:
		/* The peer may be gone: then it is looked for once more. */
		if (r->packet.generation != w->engine->generation)
			r->packet.peer = wg_device_route(w->dev, r->data, r->packet.len, now);
		if (r->packet.peer && r->packet.peer->dev == w->dev)
			outbound_take(&w->out, r->packet.peer, &r->packet.hdr, r->data,
				      r->packet.len, now);
		else
			w->lost++;
		break;
	case MESSAGE:
		inbound_take(&w->in, &r->message, now);
		break;
	case INITIATION:
		wg_handshake_continue(w->dev, &r->initiation.from, &r->initiation.msg,
				      &r->initiation.draft, now);
		wg_zero(&r->initiation.draft, sizeof(r->initiation.draft));
		break;
	}
}

bool handover_take(struct worker *w, uint64_t now)
{
	const struct engine *e = w->engine;
	bool more = false, packets = false;

	for (unsigned int i = 0; i < e->n; i++) {
		struct ring *ring = ring_of(e, i, w->number);
		struct record *r;

		if (i == w->number)
			continue;
		for (int n = 0; n < TAKEN_AT_ONCE && (r = ring_first(ring)); n++) {
			packets |= r->kind == PACKET;
			take(w, r, now);
			ring_release(ring);
		}
		more |= !ring_empty(ring);
	}
	if (packets)
		outbound_flush(&w->out, now);
	return more;
}

bool handover_waits(const struct worker *w)
{
	const struct engine *e = w->engine;

	for (unsigned int i = 0; i < e->n; i++)
		if (i != w->number && !ring_empty(ring_of(e, i, w->number)))
			return true;
	return false;
}
