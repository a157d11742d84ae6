/* SPDX-License-Identifier: MIT */
/* What the kernel leaves to us in packets with a virtio header (virtio 1.1 section 5.1.6): checksums and segmentation. */
#ifndef KKWG_OFFLOAD_H
#define KKWG_OFFLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kkwg/tun.h"

#define OFFLOAD_HEADERS_MAX 192 /* IP with its options or extensions, and TCP with its options */

/* How a super-packet is cut. */
struct offload {
	bool ip6, tcp;
	size_t l4;	/* offset of the TCP or UDP header */
	size_t headers; /* bytes up to the payload */
	size_t size;	/* payload bytes of a segment */
};

/* Completes the checksum of a packet that is no super-packet. Returns 0, or -EINVAL for a bad header. */
int offload_checksum(const tun_header *hdr, uint8_t *packet, size_t len);
/* Reads a super-packet of @len bytes. Returns 0 or -EINVAL. */
int offload_parse(const tun_header *hdr, const uint8_t *packet, size_t len, struct offload *ret);
/*
 * Finishes segment number @i, which begins with the headers of the super-packet and has @size bytes of
 * payload from offset @at: lengths, identification, sequence number, flags, checksums.
 */
void offload_finish(const struct offload *o, uint8_t *segment, size_t size, size_t i, size_t at,
		    bool last);

/* Sum of the pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1) with @len bytes of @protocol. */
uint64_t offload_pseudo_sum(const uint8_t *packet, bool ip6, uint8_t protocol, size_t len);
/* Fills in the checksum of an IPv4 header without options. */
void offload_ip4_checksum(uint8_t *packet, size_t header);

static inline uint16_t load_be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t load_be32(const uint8_t *p)
{
	return (uint32_t)load_be16(p) << 16 | load_be16(p + 2);
}

static inline void store_be16(uint8_t *p, size_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void store_be32(uint8_t *p, uint32_t v)
{
	store_be16(p, v >> 16);
	store_be16(p + 2, v);
}

#endif
