/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* One address and port of a packet changed, one hop taken from its time to live. */
#ifndef KK_CORE_REWRITE_H
#define KK_CORE_REWRITE_H

#include <kk/core/csum.h>
#include <kk/core/parse.h>

/*
 * Offset in the IPv4 header from which it is written back: TTL, protocol, checksum, both addresses.
 */
#define KK_IP4_TAIL 8

KK_INLINE int kk_rewrite_ip4(struct kk_packet *pkt, struct kk_ip4 *ip, __be32 *field, __be32 to)
{
	/* The TTL is the first byte of its 16-bit word, the protocol beside it cancels out. */
	ip->check = kk_csum_replace(ip->check, KK_BE16(ip->ttl << 8), KK_BE16((ip->ttl - 1) << 8));
	ip->check = kk_csum_replace(ip->check, *field, to);
	ip->ttl--;
	*field = to;
	return kk_env_store(pkt, KK_IP4_TAIL, (const char *)ip + KK_IP4_TAIL,
			    sizeof(*ip) - KK_IP4_TAIL);
}

/* Replaces what @direction replaces: inbound the destination, outbound the source. */
KK_INLINE int kk_rewrite(struct kk_packet *pkt, struct kk_flow *flow, enum kk_direction direction,
			 __be32 address, __be16 port)
{
	int inbound = direction == KK_INBOUND;
	__be32 *field = inbound ? &flow->ip.dest : &flow->ip.source;
	__be16 old_port = inbound ? flow->port.dest : flow->port.source;
	__u32 check = flow->l4 + (flow->ip.protocol == KK_TCP ? 16 : 6);
	__u32 flags = flow->ip.protocol == KK_UDP ? KK_CSUM_ZERO_IS_NONE : 0;
	__be32 old = *field;

	if (flow->len != kk_env_len(pkt) && kk_env_trim(pkt, flow->len))
		return -1;
	if (kk_rewrite_ip4(pkt, &flow->ip, field, address))
		return -1;
	if (kk_env_csum(pkt, check, old, address, sizeof(address), flags | KK_CSUM_PSEUDO))
		return -1;
	if (port == old_port)
		return 0;
	if (kk_env_csum(pkt, check, old_port, port, sizeof(port), flags))
		return -1;
	return kk_env_store(pkt, flow->l4 + (inbound ? 2 : 0), &port, sizeof(port));
}

#endif
