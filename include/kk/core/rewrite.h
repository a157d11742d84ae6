/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * One address and port of a packet changed, one hop taken from its time to live; of an ICMP error
 * the same address in its own header and in the packet that it quotes.
 */
#ifndef KK_CORE_REWRITE_H
#define KK_CORE_REWRITE_H

#include <kk/core/csum.h>
#include <kk/core/parse.h>
#include <kk/core/mss.h>
#include <kk/core/quote.h>

/*
 * Offset in the IPv4 header from which it is written back: TTL, protocol, checksum, both addresses.
 */
#define KK_IP4_TAIL 8

/* An address in the header and its checksum; not yet in the packet. */
KK_INLINE void kk_replace_ip4(struct kk_ip4 *ip, __be32 *field, __be32 to)
{
	ip->check = kk_csum_replace(ip->check, *field, to);
	*field = to;
}

KK_INLINE int kk_rewrite_ip4(struct kk_packet *pkt, struct kk_ip4 *ip, __be32 *field, __be32 to)
{
	/* The TTL is the first byte of its 16-bit word, the protocol beside it cancels out. */
	ip->check = kk_csum_replace(ip->check, KK_BE16(ip->ttl << 8), KK_BE16((ip->ttl - 1) << 8));
	ip->ttl--;
	kk_replace_ip4(ip, field, to);
	return kk_env_store(pkt, KK_IP4_TAIL, (const char *)ip + KK_IP4_TAIL,
			    sizeof(*ip) - KK_IP4_TAIL);
}

/* What @direction replaces: inbound the destination, outbound the source. */
KK_INLINE __be32 *kk_replaced(struct kk_ip4 *ip, enum kk_direction direction)
{
	return direction == KK_INBOUND ? &ip->dest : &ip->source;
}

/* @mtu as in the settings. */
KK_INLINE int kk_rewrite(struct kk_packet *pkt, struct kk_flow *flow, enum kk_direction direction,
			 __be32 address, __be16 port, __u32 mtu)
{
	int inbound = direction == KK_INBOUND;
	__be32 *field = kk_replaced(&flow->ip, direction);
	__be16 old_port = inbound ? flow->port.dest : flow->port.source;
	__u32 check = flow->l4 + (flow->ip.protocol == KK_TCP ? 16 : 6);
	__u32 flags = flow->ip.protocol == KK_UDP ? KK_CSUM_ZERO_IS_NONE : 0;
	__be32 old = *field;

	if (kk_rewrite_ip4(pkt, &flow->ip, field, address))
		return -1;
	if (kk_env_csum(pkt, check, old, address, sizeof(address), flags | KK_CSUM_PSEUDO))
		return -1;
	if (KK_RARELY(flow->tcp_flags & KK_TCP_SYN) && mtu && kk_clamp_mss(pkt, flow, mtu))
		return -1;
	if (port == old_port)
		return 0;
	if (kk_env_csum(pkt, check, old_port, port, sizeof(port), flags))
		return -1;
	return kk_env_store(pkt, flow->l4 + (inbound ? 2 : 0), &port, sizeof(port));
}

/* A port of the quoted packet, and with it the quoted checksum where the quote reaches so far. */
KK_INLINE int kk_rewrite_quoted_l4(struct kk_packet *pkt, const struct kk_flow *flow,
				   const struct kk_quote *quote, int inbound, __be32 old_address,
				   __be32 address, __be16 port, __be16 *icmp_check)
{
	__be16 old_port = inbound ? quote->port.source : quote->port.dest, old, check;
	int udp = quote->ip.protocol == KK_UDP;
	__u32 offset = quote->l4 + (udp ? 6 : 16);

	*icmp_check = kk_csum_replace(*icmp_check, old_port, port);
	if (kk_env_store(pkt, quote->l4 + (inbound ? 0 : 2), &port, sizeof(port)))
		return -1;
	if (offset + sizeof(check) > flow->len)
		return 0;
	if (kk_env_load(pkt, offset, &old, sizeof(old)))
		return -1;
	if (udp && old == 0)
		return 0;
	check = kk_csum_replace(kk_csum_replace(old, old_address, address), old_port, port);
	if (udp && check == 0)
		check = 0xffff;
	*icmp_check = kk_csum_replace(*icmp_check, old, check);
	return kk_env_store(pkt, offset, &check, sizeof(check));
}

/*
 * Replaces in an ICMP error, besides what kk_rewrite() does, the other end of the quoted packet,
 * which went the opposite way. An address of the quote and the correction of the quoted header's
 * checksum cancel each other out in the ICMP checksum. No device is ever to complete that one:
 * it covers no pseudo header, and who makes an error sums it up at once.
 */
KK_INLINE int kk_rewrite_error(struct kk_packet *pkt, struct kk_flow *flow, struct kk_quote *quote,
			       enum kk_direction direction, __be32 address, __be16 port)
{
	int inbound = direction == KK_INBOUND;
	__be32 *outer = kk_replaced(&flow->ip, direction);
	__be32 *inner = inbound ? &quote->ip.source : &quote->ip.dest;
	__be32 old = *inner;
	__be16 check;

	if (kk_rewrite_ip4(pkt, &flow->ip, outer, address))
		return -1;
	kk_replace_ip4(&quote->ip, inner, address);
	if (kk_env_store(pkt, quote->at + KK_IP4_TAIL, (const char *)&quote->ip + KK_IP4_TAIL,
			 sizeof(quote->ip) - KK_IP4_TAIL))
		return -1;
	if (kk_env_load(pkt, flow->l4 + KK_ICMP_CHECK, &check, sizeof(check)) ||
	    kk_rewrite_quoted_l4(pkt, flow, quote, inbound, old, address, port, &check))
		return -1;
	return kk_env_store(pkt, flow->l4 + KK_ICMP_CHECK, &check, sizeof(check));
}

#endif
