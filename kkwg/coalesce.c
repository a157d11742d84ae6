// SPDX-License-Identifier: MIT
#include "kkwg/coalesce.h"

#include <string.h>
#include <netinet/in.h>

#include "kkwg/offload.h"
#include "wg/packet.h"

#define TCP_ACK 0x10
#define TCP_PSH 0x08

/* Where the parts of a packet that may be joined lie. */
struct parts {
	bool ip6, tcp;
	size_t l4, headers, payload;
};

/* Whether the packet is one that could be part of a super-packet. */
static bool dissect(const struct tun *t, const uint8_t *p, size_t len, struct parts *ret)
{
	struct parts s = {.ip6 = p[0] >> 4 == 6};
	uint8_t protocol;

	if (s.ip6) {
		if (len < 40 + 8)
			return false;
		s.l4 = 40;
		protocol = p[6];
	} else {
		/* No options, no fragment. */
		if (len < 20 + 8 || p[0] != 0x45 || (load_be16(p + 6) & 0x3fff))
			return false;
		s.l4 = 20;
		protocol = p[9];
	}
	if (protocol == IPPROTO_TCP && t->tso) {
		s.tcp = true;
		if (len < s.l4 + 20 || (p[s.l4 + 13] & ~TCP_PSH) != TCP_ACK)
			return false;
		s.headers = s.l4 + (p[s.l4 + 12] >> 4) * 4u;
		if (s.headers < s.l4 + 20)
			return false;
	} else if (protocol == IPPROTO_UDP && t->uso) {
		s.headers = s.l4 + 8;
		/* A checksum of zero is none: it cannot be verified. */
		if (load_be16(p + s.l4 + 4) != len - s.l4 || load_be16(p + s.l4 + 6) == 0)
			return false;
	} else {
		return false;
	}
	if (s.headers >= len)
		return false;
	s.payload = len - s.headers;
	*ret = s;
	return true;
}

static bool checksum_good(const uint8_t *p, const struct parts *s)
{
	size_t l4_len = s->headers - s->l4 + s->payload;
	uint64_t sum = offload_pseudo_sum(p, s->ip6, s->tcp ? IPPROTO_TCP : IPPROTO_UDP, l4_len);

	return wg_sum_fold(wg_sum(p + s->l4, l4_len, sum)) == 0xffff;
}

static bool same_ip(const struct coalesce *c, const uint8_t *a, const uint8_t *b)
{
	if (c->ip6)
		return memcmp(a, b, 4) == 0 && memcmp(a + 6, b + 6, 34) == 0;
	/*
	 * Version, class; flags; lifetime, protocol; addresses. The identification counts up, or means
	 * nothing where fragments are forbidden (RFC 6864).
	 */
	return memcmp(a, b, 2) == 0 && memcmp(a + 6, b + 6, 4) == 0 &&
	       memcmp(a + 12, b + 12, 8) == 0 && ((b[6] & 0x40) || load_be16(b + 4) == c->next_id);
}

static bool same_tcp(const struct coalesce *c, const uint8_t *a, const uint8_t *b, size_t len)
{
	/* Ports; acknowledgement; data offset; window; options. */
	return memcmp(a, b, 4) == 0 && load_be32(b + 4) == c->next_seq &&
	       memcmp(a + 8, b + 8, 5) == 0 && memcmp(a + 14, b + 14, 2) == 0 &&
	       memcmp(a + 20, b + 20, len - 20) == 0;
}

static bool follows(const struct coalesce *c, const uint8_t *p, const struct parts *s)
{
	const uint8_t *first = c->iov[0].iov_base;

	if (!c->count || c->closed || c->count == COALESCE_MAX || s->ip6 != c->ip6 ||
	    s->tcp != c->tcp || s->headers != c->headers || s->payload > c->size ||
	    c->total + s->payload > TUN_PACKET_MAX || !same_ip(c, first, p))
		return false;
	if (s->tcp)
		return same_tcp(c, first + c->l4, p + c->l4, c->headers - c->l4);
	return memcmp(first + c->l4, p + c->l4, 4) == 0;
}

static void begin(struct coalesce *c, uint8_t *p, size_t len, const struct parts *s)
{
	c->count = 1;
	c->ip6 = s->ip6;
	c->tcp = s->tcp;
	c->l4 = s->l4;
	c->headers = s->headers;
	c->size = s->payload;
	c->total = len;
	c->checked = false;
	c->closed = s->tcp && (p[s->l4 + 13] & TCP_PSH);
	if (s->tcp)
		c->next_seq = load_be32(p + s->l4 + 4) + (uint32_t)s->payload;
	c->next_id = (uint16_t)(s->ip6 ? 0 : load_be16(p + 4) + 1);
	c->iov[0] = (struct iovec){p, len};
}

static void append(struct coalesce *c, uint8_t *p, const struct parts *s)
{
	uint8_t *first = c->iov[0].iov_base;

	c->iov[c->count++] = (struct iovec){p + s->headers, s->payload};
	c->total += s->payload;
	c->next_seq += (uint32_t)s->payload;
	c->next_id++;
	if (s->payload < c->size)
		c->closed = true;
	if (s->tcp && (p[s->l4 + 13] & TCP_PSH)) {
		first[c->l4 + 13] |= TCP_PSH;
		c->closed = true;
	}
}

static void write_out(struct coalesce *c, const tun_header *hdr, unsigned int n)
{
	if (tun_write(c->tun, hdr, c->iov, (int)n) < 0)
		c->lost += n;
	else if (hdr->gso_type == VIRTIO_NET_HDR_GSO_UDP_L4)
		c->datagrams += n;
}

/* The headers of the first packet become those of the whole. */
static void finish(struct coalesce *c, tun_header *hdr)
{
	uint8_t *p = c->iov[0].iov_base, *check = p + c->l4 + (c->tcp ? 16 : 6);
	size_t l4_len = c->total - c->l4;
	uint16_t pseudo;

	if (c->ip6) {
		store_be16(p + 4, c->total - 40);
	} else {
		store_be16(p + 2, c->total);
		offload_ip4_checksum(p, 20);
	}
	if (!c->tcp)
		store_be16(p + c->l4 + 4, l4_len);
	pseudo = wg_sum_fold(
		offload_pseudo_sum(p, c->ip6, c->tcp ? IPPROTO_TCP : IPPROTO_UDP, l4_len));
	memcpy(check, &pseudo, sizeof(pseudo));
	hdr->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	hdr->gso_type = !c->tcp	 ? VIRTIO_NET_HDR_GSO_UDP_L4
			: c->ip6 ? VIRTIO_NET_HDR_GSO_TCPV6
				 : VIRTIO_NET_HDR_GSO_TCPV4;
	hdr->hdr_len = (uint16_t)c->headers;
	hdr->gso_size = (uint16_t)c->size;
	hdr->csum_start = (uint16_t)c->l4;
	hdr->csum_offset = c->tcp ? 16 : 6;
}

void coalesce_flush(struct coalesce *c)
{
	tun_header hdr = {0};

	if (!c->count)
		return;
	if (c->count > 1)
		finish(c, &hdr);
	write_out(c, &hdr, c->count);
	c->count = 0;
}

/* Before the second packet is joined the first is verified. */
static bool first_good(struct coalesce *c)
{
	struct parts s = {.ip6 = c->ip6,
			  .tcp = c->tcp,
			  .l4 = c->l4,
			  .headers = c->headers,
			  .payload = c->size};

	if (!c->checked)
		c->checked = checksum_good(c->iov[0].iov_base, &s);
	return c->checked;
}

void coalesce_add(struct coalesce *c, uint8_t *p, size_t len)
{
	struct parts s;

	if (!dissect(c->tun, p, len, &s)) {
		tun_header none = {0};

		coalesce_flush(c);
		c->iov[0] = (struct iovec){p, len};
		write_out(c, &none, 1);
		return;
	}
	if (follows(c, p, &s) && first_good(c) && checksum_good(p, &s)) {
		append(c, p, &s);
		return;
	}
	coalesce_flush(c);
	begin(c, p, len, &s);
}
