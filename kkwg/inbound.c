// SPDX-License-Identifier: MIT
#include "kkwg/inbound.h"

#define ALIGN(n) (((n) + 63) & ~(size_t)63)

static void flush(struct inbound *in)
{
	coalesce_flush(&in->coalesce);
	in->used = 0;
}

static void datagram(struct inbound *in, const struct udp_received *r, uint8_t *msg, size_t len,
		     uint64_t now)
{
	struct wg_peer *peer;
	uint8_t *out;
	size_t n;

	if (in->used + len + WG_AEAD_HEADROOM > sizeof(in->arena))
		flush(in);
	out = in->arena + in->used;
	n = wg_device_receive(in->dev, &r->from, r->ecn, msg, len, out, &peer, now);
	if (!n)
		return;
	in->used += ALIGN(n) + WG_AEAD_HEADROOM;
	coalesce_add(&in->coalesce, out, n);
}

size_t inbound_pump(struct inbound *in, int fd, unsigned int max, uint64_t now)
{
	struct udp_received batch[UDP_BATCH];
	size_t bytes = 0;
	int n;

	for (unsigned int i = 0; i < max; i++) {
		batch[i].data = in->buffers[i].data;
		batch[i].max = INBOUND_MESSAGE;
	}
	n = udp_receive(fd, batch, max);
	for (int i = 0; i < n; i++) {
		const struct udp_received *r = &batch[i];

		bytes += r->len ? r->len : 1;
		for (uint32_t at = 0; at < r->len && r->segment; at += r->segment)
			datagram(in, r, r->data + at, r->len - at < r->segment ? r->len - at : r->segment,
				 now);
	}
	flush(in);
	return bytes;
}
