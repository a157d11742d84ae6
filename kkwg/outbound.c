// SPDX-License-Identifier: MIT
#include "kkwg/outbound.h"

#include <errno.h>
#include <string.h>
#include <netinet/in.h>

#include "kkwg/offload.h"

static void send_first(struct outbound *o, unsigned int n, uint64_t now)
{
	udp_send(o->udp, o->sends, n);
	for (unsigned int i = 0; i < n; i++)
		wg_device_sent(o->dev, o->peers[i], o->sends[i].len, now);
}

/* Sends what was gathered. */
void outbound_flush(struct outbound *o, uint64_t now)
{
	if (!o->n)
		return;
	send_first(o, o->n, now);
	o->n = 0;
	o->used = 0;
}

/* Whether another message of @len bytes fits behind the segments of @s. */
static bool has_room(const struct udp_send *s, size_t len)
{
	return len <= s->segment && s->len == (uint32_t)s->segment * s->count &&
	       s->count < UDP_SEGMENTS && s->len + len <= UDP_PAYLOAD_MAX;
}

/* Sends what was gathered but for the last send, where more may be put behind its segments. */
static void flush_whole(struct outbound *o, uint64_t now)
{
	unsigned int last = o->n - 1;

	if (!o->n || !o->udp->gso || !has_room(&o->sends[last], o->sends[last].segment)) {
		outbound_flush(o, now);
		return;
	}
	if (!last)
		return;
	send_first(o, last, now);
	o->sends[0] = o->sends[last];
	o->peers[0] = o->peers[last];
	o->n = 1;
}

/* Whether a message of @len bytes belongs behind the segments of the last send. */
static bool extends(const struct outbound *o, const struct wg_peer *p, size_t len, uint8_t ecn)
{
	const struct udp_send *s;

	if (!o->n || !o->udp->gso || o->peers[o->n - 1] != p)
		return false;
	s = &o->sends[o->n - 1];
	return s->ecn == ecn && has_room(s, len);
}

/* Seals @padded bytes at @in behind what is gathered already. */
static void emit(struct outbound *o, struct wg_peer *p, struct wg_keypair *kp, uint8_t *in,
		 size_t padded, uint8_t ecn, uint64_t now)
{
	size_t len = padded + WG_DATA_OVERHEAD;
	uint8_t *out;

	if (o->used + len > sizeof(o->arena))
		outbound_flush(o, now);
	if (!extends(o, p, len, ecn)) {
		if (o->n == UDP_SENDS)
			outbound_flush(o, now);
		o->peers[o->n] = p;
		o->sends[o->n++] = (struct udp_send){
			.to = &p->endpoint,
			.data = o->arena + o->used,
			.segment = (uint16_t)len,
			.ecn = ecn,
		};
	}
	out = o->arena + o->used;
	wg_keypair_seal(kp, in, padded, out);
	o->used += len;
	o->sends[o->n - 1].len += (uint32_t)len;
	o->sends[o->n - 1].count++;
}

/* One finished packet: sealed, or kept until there is a session. Bytes behind it keep their value. */
static void send_packet(struct outbound *o, struct wg_peer *p, uint8_t *data, size_t len,
			uint8_t ecn, uint64_t now)
{
	struct wg_keypair *kp = wg_device_session(o->dev, p, now);
	size_t padded = wg_padded(len, o->mtu);
	uint8_t behind[WG_PADDING];

	if (!kp) {
		wg_device_stage(o->dev, p, data, len, padded, ecn, now);
		return;
	}
	memcpy(behind, data + len, WG_PADDING);
	memset(data + len, 0, WG_PADDING);
	emit(o, p, kp, data, padded, ecn, now);
	memcpy(data + len, behind, WG_PADDING);
}

static void send_segments(struct outbound *o, struct wg_peer *p, const struct offload *cut,
			  uint8_t *data, size_t len, uint8_t ecn, uint64_t now)
{
	uint8_t headers[OFFLOAD_HEADERS_MAX];
	size_t payload = len - cut->headers;

	memcpy(headers, data, cut->headers);
	for (size_t at = 0, i = 0; at < payload; at += cut->size, i++) {
		size_t size = payload - at < cut->size ? payload - at : cut->size;
		uint8_t *segment = data + at;

		memcpy(segment, headers, cut->headers);
		offload_finish(cut, segment, size, i, at, at + size == payload);
		send_packet(o, p, segment, cut->headers + size, ecn, now);
		if ((i + 1) % KKWG_SLICE == 0 && at + size < payload)
			o->between(o->ctx);
	}
}

static inline __attribute__((always_inline)) void send_whole(struct outbound *o, struct wg_peer *p,
							     const tun_header *hdr, uint8_t *data,
							     size_t len, uint64_t now)
{
	struct wg_packet packet;
	struct offload cut;

	if (wg_packet_parse(data, len, &packet) < 0)
		return;
	if (hdr->gso_type == VIRTIO_NET_HDR_GSO_NONE) {
		if (offload_checksum(hdr, data, packet.len) == 0)
			send_packet(o, p, data, packet.len, packet.ecn, now);
		return;
	}
	if (offload_parse(hdr, data, packet.len, &cut) == 0)
		send_segments(o, p, &cut, data, packet.len, packet.ecn, now);
}

void outbound_take(struct outbound *o, struct wg_peer *p, const tun_header *hdr, uint8_t *data,
		   size_t len, uint64_t now)
{
	send_whole(o, p, hdr, data, len, now);
}

/* Takes one packet or super-packet. */
static void packet_out(struct outbound *o, struct outbound_packet *q, uint64_t now)
{
	struct wg_peer *p = wg_device_route(o->dev, q->data, q->len, now);

	if (!p)
		return;
	if (p->dev == o->dev)
		send_whole(o, p, &q->hdr, q->data, q->len, now);
	else
		o->elsewhere(o->ctx, p, q);
}

_Static_assert(OUTBOUND_QUEUE < 32, "bit set");

static struct outbound_packet *at_place(struct outbound *o, unsigned int i)
{
	return &o->packets[o->line[(o->head + i) % OUTBOUND_QUEUE]];
}

/* Whether something in line is of the flow of @q, or may be. */
static bool has_to_wait(struct outbound *o, const struct outbound_packet *q)
{
	for (unsigned int i = 0; i < o->count; i++) {
		const struct outbound_packet *w = at_place(o, i);

		if (!w->has_flow || !q->has_flow ||
		    memcmp(&w->flow, &q->flow, sizeof(q->flow)) == 0)
			return true;
	}
	return false;
}

int outbound_read(struct outbound *o, struct tun *t, uint64_t now)
{
	bool hurry = now - o->last_short < KKWG_SHORT_MEMORY, handled = false;
	unsigned int most = hurry ? OUTBOUND_QUEUE : KKWG_AHEAD;
	int r = 0;

	for (unsigned int i = 0; i < OUTBOUND_READS && o->count < most; i++) {
		unsigned int slot = (unsigned int)__builtin_ctz(~o->busy);
		struct outbound_packet *q = &o->packets[slot];

		r = tun_read(t, &q->hdr, q->data, sizeof(q->data));
		if (r <= 0)
			break;
		q->len = (uint32_t)r;
		if (q->len > KKWG_EMPTY_ACK && q->len < KKWG_FULL)
			o->last_short = now;
		if (o->count || q->len > OUTBOUND_SHORT)
			q->has_flow = wg_packet_flow(q->data, q->len, false, &q->flow);
		if (q->len > OUTBOUND_SHORT || has_to_wait(o, q)) {
			o->line[(o->head + o->count++) % OUTBOUND_QUEUE] = (uint8_t)slot;
			o->busy |= 1u << slot;
			o->last_bulk = now;
			continue;
		}
		packet_out(o, q, now);
		handled = true;
	}
	if (handled)
		outbound_flush(o, now);
	return r < 0 && r != -EAGAIN ? r : 0;
}

/*
 * What others send through us may be too long for one send. Its rest then goes with the next packet, where there is one
 * already: a short train takes nearly as long on its way as a full one. Where somebody is in a hurry, what came in
 * gets its turn before that.
 */
bool outbound_work(struct outbound *o, uint64_t now)
{
	size_t most = now - o->last_short < KKWG_SHORT_MEMORY ? KKWG_RUN : KKWG_RUN_BULK;

	for (size_t bytes = 0; bytes < most && o->count;) {
		struct outbound_packet *q = at_place(o, 0);

		bytes += q->len;
		packet_out(o, q, now);
		o->busy &= ~(1u << o->line[o->head]);
		o->head = (o->head + 1) % OUTBOUND_QUEUE;
		o->count--;
		flush_whole(o, now);
	}
	outbound_flush(o, now);
	return o->count > 0;
}
