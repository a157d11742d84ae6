// SPDX-License-Identifier: MIT
#include "kkwg/inbound.h"

#include <string.h>
#include <netinet/in.h>

#define ALIGN(n) (((n) + 63) & ~(size_t)63)

_Static_assert(INBOUND_QUEUE <= UDP_BATCH && INBOUND_QUEUE <= 32,
	       "one call fills the queue; bit set");

static void flush(struct inbound *in)
{
	coalesce_flush(&in->coalesce);
	in->used = 0;
}

/* Whether CoDel takes this packet: marked where its sender understands marks, else dropped. */
static bool take_away(struct inbound *in, uint8_t *packet, size_t len)
{
	if (!in->drop_one || len < INBOUND_SHORT / 4)
		return false;
	in->drop_one = false;
	in->dropped++;
	return !wg_packet_decapsulate_ecn(packet, WG_ECN_CE);
}

/*
 * Where a message of @len bytes is opened to. The arena goes round: what counts is where the super-packet in the making
 * begins. To write that out in the middle of a train would cost the interface one packet more.
 */
static uint8_t *room_for(struct inbound *in, size_t len)
{
	size_t need = len + WG_AEAD_TAILROOM, begin;

	if (!in->coalesce.count) {
		in->used = 0;
		return in->arena;
	}
	begin = (size_t)((uint8_t *)in->coalesce.iov[0].iov_base - in->arena);
	if (in->used < begin) {
		if (in->used + need + WG_AEAD_HEADROOM > begin)
			flush(in);
	} else if (in->used + need > sizeof(in->arena)) {
		if (need + WG_AEAD_HEADROOM <= begin)
			in->used = 0;
		else
			flush(in);
	}
	return in->arena + in->used;
}

static size_t datagram(struct inbound *in, const struct udp_received *r, uint8_t *msg, size_t len,
		       uint64_t now)
{
	uint8_t *out = room_for(in, len);
	struct wg_peer *peer;
	size_t n;

	n = wg_device_receive(in->dev, &r->from, r->ecn, msg, len, out, &peer, now);
	if (!n || take_away(in, out, n))
		return 0;
	in->used += ALIGN(n) + WG_AEAD_HEADROOM;
	coalesce_add(&in->coalesce, out, n);
	return n;
}

/* The datagram number @at bytes into the message. */
static size_t length_at(const struct udp_received *r, uint32_t at)
{
	return r->len - at < r->segment ? r->len - at : r->segment;
}

static void message(struct inbound *in, const struct udp_received *r, uint64_t now)
{
	unsigned int n = 0;

	for (uint32_t at = 0; at < r->len; at += r->segment) {
		datagram(in, r, r->data + at, length_at(r, at), now);
		if (++n % KKWG_SLICE == 0 && at + r->segment < r->len)
			in->between(in->ctx);
	}
}

/* --- overtaking --- */

static bool is_short(const struct udp_received *r)
{
	return r->len <= r->segment && r->len <= INBOUND_SHORT;
}

static void look_at(struct inbound *in, struct inbound_message *m)
{
	const struct udp_received *r = &m->received;
	struct wg_flow_key key;

	m->looked_at = true;
	for (uint32_t at = 0; at < r->len && m->flows <= INBOUND_FLOWS; at += r->segment) {
		unsigned int i;

		if (!wg_device_peek(in->dev, r->data + at, length_at(r, at), &key))
			continue;
		for (i = 0; i < m->flows; i++)
			if (memcmp(&key, &m->flow[i], sizeof(key)) == 0)
				break;
		if (i < m->flows)
			continue;
		if (m->flows < INBOUND_FLOWS)
			m->flow[m->flows] = key;
		m->flows++;
	}
}

static bool holds(struct inbound *in, struct inbound_message *m, const struct wg_flow_key *key)
{
	if (!m->looked_at)
		look_at(in, m);
	if (m->flows > INBOUND_FLOWS)
		return true;
	for (unsigned int i = 0; i < m->flows; i++)
		if (memcmp(key, &m->flow[i], sizeof(*key)) == 0)
			return true;
	return false;
}

/* Whether nothing in line is of the flow of this short message. */
static bool may_overtake(struct inbound *in, const struct udp_received *r)
{
	struct wg_flow_key key;

	if (!in->count)
		return true;
	/* Handshake messages and the like have no flow, and no order. */
	if (wg_message_type(r->data, r->len) != WG_MSG_DATA)
		return true;
	/* Of no session: it is dropped at once, and does not stand in line for that. */
	if (!wg_device_knows(in->dev, r->data, r->len))
		return true;
	if (!wg_device_peek(in->dev, r->data, r->len, &key))
		return false;
	for (unsigned int i = 0; i < in->count; i++)
		if (holds(in, &in->queue[(in->head + i) % INBOUND_QUEUE], &key))
			return false;
	return true;
}

/* Returns whether something is to be written. */
static bool short_message(struct inbound *in, const struct udp_received *r, uint64_t now)
{
	size_t n = datagram(in, r, r->data, r->len, now);

	if (n > KKWG_EMPTY_ACK && n < KKWG_FULL)
		in->last_delivery = now;
	if (n > KKWG_EMPTY_ACK && now - in->last_delivery < KKWG_SHORT_MEMORY)
		in->delivered = true;
	return n > 0;
}

/* --- the line --- */

static void enqueue(struct inbound *in, const struct udp_received *r, unsigned int buffer,
		    uint64_t now)
{
	struct inbound_message *m = &in->queue[(in->head + in->count++) % INBOUND_QUEUE];

	m->received = *r;
	m->buffer = buffer;
	m->since = now;
	m->flows = 0;
	m->looked_at = false;
	in->last_bulk = now;
	in->busy_buffers |= 1u << buffer;
}

bool inbound_receive(struct inbound *in, int fd, uint64_t now)
{
	struct udp_received batch[INBOUND_QUEUE];
	unsigned int buffer[INBOUND_QUEUE], n = 0;
	bool hurry = now - in->last_delivery < KKWG_SHORT_MEMORY;
	bool handled = false;
	int got;

	for (unsigned int i = 0; i < INBOUND_QUEUE; i++) {
		if (in->busy_buffers >> i & 1)
			continue;
		if (in->count && !hurry && !in->junk && in->count + n >= KKWG_AHEAD)
			break;
		batch[n].data = in->buffers[i].data;
		batch[n].max = INBOUND_MESSAGE;
		buffer[n++] = i;
	}
	got = n ? udp_receive(fd, batch, n) : 0;
	in->junk = false;
	for (int i = 0; i < got; i++) {
		const struct udp_received *r = &batch[i];

		if (!r->len || !r->segment)
			continue;
		if (in->elsewhere && in->elsewhere(in->ctx, r))
			continue;
		if (!is_short(r) || !may_overtake(in, r))
			enqueue(in, r, buffer[i], now);
		else if (short_message(in, r, now))
			handled = true;
		else
			in->junk = true;
	}
	/* A train that is being handled goes on gathering where nothing came between. */
	if (handled)
		flush(in);
	return got > 0;
}

void inbound_take(struct inbound *in, const struct udp_received *r, uint64_t now)
{
	if (is_short(r))
		short_message(in, r, now);
	else
		message(in, r, now);
	flush(in);
}

/* Whether so much of UDP was delivered that its reader has to have a turn. */
static bool reader_is_due(struct inbound *in)
{
	if (in->coalesce.datagrams < INBOUND_DATAGRAMS)
		return false;
	in->coalesce.datagrams = 0;
	in->filled = true;
	return true;
}

bool inbound_work(struct inbound *in, uint64_t now)
{
	size_t most = now - in->last_delivery < KKWG_SHORT_MEMORY ? KKWG_RUN : KKWG_RUN_BULK;

	for (size_t bytes = 0; bytes < most && in->count && !reader_is_due(in);) {
		struct inbound_message *m = &in->queue[in->head];

		if (codel_should_drop(&in->codel, now - m->since, now))
			in->drop_one = true;
		bytes += m->received.len;
		message(in, &m->received, now);
		in->busy_buffers &= ~(1u << m->buffer);
		in->head = (in->head + 1) % INBOUND_QUEUE;
		in->count--;
	}
	/* The rest of a super-packet that was too long for one send is the next message. */
	if (!in->count) {
		flush(in);
		reader_is_due(in);
	}
	return in->count > 0;
}
