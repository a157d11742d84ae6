// SPDX-License-Identifier: MIT
#include "kkwg/offload.h"

#include <errno.h>
#include <string.h>
#include <netinet/in.h>

#include "wg/packet.h"

#define TCP_FIN 0x01
#define TCP_PSH 0x08
#define TCP_CWR 0x80

static void store_sum(uint8_t *at, uint64_t sum)
{
	uint16_t folded = (uint16_t)~wg_sum_fold(sum);

	memcpy(at, &folded, sizeof(folded));
}

int offload_checksum(const tun_header *hdr, uint8_t *packet, size_t len)
{
	size_t start = hdr->csum_start, at = start + hdr->csum_offset;

	if (!(hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return 0;
	if (at + 2 > len)
		return -EINVAL;
	/* The field holds the sum of the pseudo header, so it is part of what is summed. */
	store_sum(packet + at, wg_sum(packet + start, len - start, 0));
	/* A UDP checksum of zero means none (RFC 768). */
	if (hdr->csum_offset == 6 && packet[at] == 0 && packet[at + 1] == 0)
		packet[at] = packet[at + 1] = 0xff;
	return 0;
}

int offload_parse(const tun_header *hdr, const uint8_t *packet, size_t len, struct offload *ret)
{
	struct offload o = {
		.ip6 = packet[0] >> 4 == 6, .l4 = hdr->csum_start, .size = hdr->gso_size};

	switch (hdr->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
	case VIRTIO_NET_HDR_GSO_TCPV6:
		o.tcp = true;
		break;
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		break;
	default:
		return -EINVAL;
	}
	if (o.l4 < (o.ip6 ? 40 : (packet[0] & 15) * 4u) || o.l4 + 20 > OFFLOAD_HEADERS_MAX ||
	    !o.size)
		return -EINVAL;
	if (o.l4 + (o.tcp ? 20 : 8) > len)
		return -EINVAL;
	o.headers = o.l4 + (o.tcp ? (packet[o.l4 + 12] >> 4) * 4u : 8);
	if (o.headers < o.l4 + 8 || o.headers >= len || o.headers > OFFLOAD_HEADERS_MAX)
		return -EINVAL;
	*ret = o;
	return 0;
}

uint64_t offload_pseudo_sum(const uint8_t *packet, bool ip6, uint8_t protocol, size_t len)
{
	uint64_t sum = ip6 ? wg_sum(packet + 8, 32, 0) : wg_sum(packet + 12, 8, 0);

	return sum + htons(protocol) + htonl((uint32_t)len);
}

void offload_ip4_checksum(uint8_t *packet, size_t header)
{
	store_be16(packet + 10, 0);
	store_sum(packet + 10, wg_sum(packet, header, 0));
}

void offload_finish(const struct offload *o, uint8_t *s, size_t size, size_t i, size_t at,
		    bool last)
{
	size_t total = o->headers + size, l4_len = total - o->l4;
	uint8_t *l4 = s + o->l4, *check = l4 + (o->tcp ? 16 : 6);

	if (o->ip6) {
		store_be16(s + 4, total - 40);
	} else {
		store_be16(s + 2, total);
		store_be16(s + 4, load_be16(s + 4) + i);
		offload_ip4_checksum(s, (s[0] & 15) * 4u);
	}
	if (o->tcp) {
		store_be32(l4 + 4, load_be32(l4 + 4) + (uint32_t)at);
		if (!last)
			l4[13] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
		if (i)
			l4[13] &= (uint8_t)~TCP_CWR;
	} else {
		store_be16(l4 + 4, l4_len);
	}
	memset(check, 0, 2);
	store_sum(check, wg_sum(l4, l4_len,
				offload_pseudo_sum(s, o->ip6, o->tcp ? IPPROTO_TCP : IPPROTO_UDP,
						   l4_len)));
	if (!o->tcp && check[0] == 0 && check[1] == 0)
		check[0] = check[1] = 0xff;
}
