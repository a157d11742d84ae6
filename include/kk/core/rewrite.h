/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * One address and port of a packet changed, one hop taken from its time to live; of an ICMP error
 * the same address in its own header and in the packet that it quotes.
 */
#ifndef KK_CORE_REWRITE_H
#define KK_CORE_REWRITE_H

#include <kk/core/icmp.h>
#include <kk/core/mss.h>

/* What @direction replaces: inbound the destination, outbound the source. */
KK_INLINE __be32 *kk_replaced4(struct kk_ip4 *ip, enum kk_direction direction)
{
	return direction == KK_INBOUND ? &ip->dest : &ip->source;
}

KK_INLINE struct kk_in6 *kk_replaced6(struct kk_ip6 *ip, enum kk_direction direction)
{
	return direction == KK_INBOUND ? &ip->dest : &ip->source;
}

/* Of a later fragment, which carries nothing else to be changed. */
KK_INLINE int kk_rewrite_fragment(struct kk_packet *pkt, __u8 family, struct kk_flow *flow,
				  enum kk_direction direction, const struct kk_in6 *address)
{
	struct kk_in6 *field = kk_replaced6(&flow->ip6, direction);

	if (family == KK_IP4)
		return kk_rewrite_ip4(pkt, &flow->ip4, kk_replaced4(&flow->ip4, direction),
				      address->word[3]);
	kk_env_sum6(pkt, kk_csum_diff6(field, address));
	return kk_rewrite_ip6(pkt, &flow->ip6, field, address);
}

/* The address and in the transport checksum, which is at @check, what of it is there. */
KK_INLINE int kk_rewrite_address(struct kk_packet *pkt, __u8 family, struct kk_flow *flow,
				 enum kk_direction direction, const struct kk_in6 *address,
				 __u32 check, __u32 flags)
{
	struct kk_in6 *field = kk_replaced6(&flow->ip6, direction);
	__be32 *field4 = kk_replaced4(&flow->ip4, direction), old;
	__u32 diff;

	if (family == KK_IP4) {
		old = *field4;
		if (kk_rewrite_ip4(pkt, &flow->ip4, field4, address->word[3]))
			return -1;
		return kk_env_csum(pkt, check, KK_RAW(old), KK_RAW(address->word[3]), sizeof(old),
				   flags | KK_CSUM_PSEUDO);
	}
	diff = kk_csum_diff6(field, address);
	if (kk_rewrite_ip6(pkt, &flow->ip6, field, address))
		return -1;
	return kk_env_csum6(pkt, check, diff, flags);
}

/* @mtu as in the settings. */
KK_INLINE int kk_rewrite(struct kk_packet *pkt, __u8 family, struct kk_flow *flow,
			 enum kk_direction direction, const struct kk_in6 *address, __be16 port,
			 __u32 mtu)
{
	int inbound = direction == KK_INBOUND;
	__be16 old_port = inbound ? flow->port.dest : flow->port.source;
	__u32 check = flow->l4 + (flow->protocol == KK_TCP ? 16 : 6);
	__u32 flags = flow->protocol == KK_UDP ? KK_CSUM_ZERO_IS_NONE : 0;

	if (kk_rewrite_address(pkt, family, flow, direction, address, check, flags))
		return -1;
	if (KK_RARELY(flow->tcp_flags & KK_TCP_SYN) && mtu && kk_clamp_mss(pkt, family, flow, mtu))
		return -1;
	if (port == old_port)
		return 0;
	if (kk_env_csum(pkt, check, KK_RAW(old_port), KK_RAW(port), sizeof(port), flags))
		return -1;
	return kk_env_store(pkt, flow->l4 + (inbound ? 2 : 0), &port, sizeof(port));
}

/*
 * A port of the quoted packet, and with it the quoted checksum where the quote reaches so far; @diff is what the
 * quoted address added to it.
 */
KK_INLINE int kk_rewrite_quoted_l4(struct kk_packet *pkt, const struct kk_flow *flow,
				   const struct kk_quote *quote, int inbound, __u32 diff,
				   __be16 port, __be16 *icmp_check)
{
	__be16 old_port = inbound ? quote->port.source : quote->port.dest, old, check;
	int udp = quote->protocol == KK_UDP;
	__u32 offset = quote->l4 + (udp ? 6 : 16);

	*icmp_check = kk_csum_replace(*icmp_check, KK_RAW(old_port), KK_RAW(port));
	if (kk_env_store(pkt, quote->l4 + (inbound ? 0 : 2), &port, sizeof(port)))
		return -1;
	if (offset + sizeof(check) > flow->len)
		return 0;
	if (kk_env_load(pkt, offset, &old, sizeof(old)))
		return -1;
	if (udp && old == 0)
		return 0;
	check = kk_csum_replace(kk_csum_apply(old, diff), KK_RAW(old_port), KK_RAW(port));
	if (udp && check == 0)
		check = KK_BE16(0xffff);
	*icmp_check = kk_csum_replace(*icmp_check, KK_RAW(old), KK_RAW(check));
	return kk_env_store(pkt, offset, &check, sizeof(check));
}

/*
 * The address in the error's own header and the other end of the quoted packet, which went the opposite way.
 * Returns what the latter added to the sum of the quoted transport header.
 */
KK_INLINE int kk_rewrite_error4(struct kk_packet *pkt, struct kk_flow *flow, struct kk_quote *quote,
				enum kk_direction direction, __be32 address, __u32 *diff)
{
	int inbound = direction == KK_INBOUND;
	__be32 *inner = inbound ? &quote->ip4.source : &quote->ip4.dest;

	if (kk_rewrite_ip4(pkt, &flow->ip4, kk_replaced4(&flow->ip4, direction), address))
		return -1;
	/*
	 * The quoted address and the correction of the quoted header's checksum cancel each other
	 * out in the ICMP checksum.
	 */
	*diff = kk_csum_diff(KK_RAW(*inner), KK_RAW(address));
	kk_replace_ip4(&quote->ip4, inner, address);
	return kk_env_store(pkt, quote->at + KK_IP4_TAIL, (const char *)&quote->ip4 + KK_IP4_TAIL,
			    sizeof(quote->ip4) - KK_IP4_TAIL);
}

/* The ICMPv6 checksum covers the pseudo header, and there is none in the quoted header. */
KK_INLINE int kk_rewrite_error6(struct kk_packet *pkt, struct kk_flow *flow, struct kk_quote *quote,
				enum kk_direction direction, const struct kk_in6 *address,
				__u32 *diff, __be16 *icmp_check)
{
	struct kk_in6 *outer = kk_replaced6(&flow->ip6, direction);
	struct kk_in6 *inner = direction == KK_INBOUND ? &quote->ip6.source : &quote->ip6.dest;
	__u32 offset = quote->at + (__u32)((char *)inner - (char *)&quote->ip6);

	*diff = kk_csum_diff6(inner, address);
	*icmp_check = kk_csum_apply(*icmp_check, kk_csum_diff6(outer, address));
	*icmp_check = kk_csum_apply(*icmp_check, *diff);
	if (kk_rewrite_ip6(pkt, &flow->ip6, outer, address))
		return -1;
	return kk_env_store(pkt, offset, address, sizeof(*address));
}

/*
 * Replaces in an ICMP error, besides what kk_rewrite() does, the other end of the quoted packet. No
 * device is ever to complete an ICMP checksum: who makes an error sums it up at once.
 */
KK_INLINE int kk_rewrite_error(struct kk_packet *pkt, __u8 family, struct kk_flow *flow,
			       struct kk_quote *quote, enum kk_direction direction,
			       const struct kk_in6 *address, __be16 port)
{
	__be16 check;
	__u32 diff;
	int r;

	if (kk_env_load(pkt, flow->l4 + KK_ICMP_CHECK, &check, sizeof(check)))
		return -1;
	r = family == KK_IP6
		    ? kk_rewrite_error6(pkt, flow, quote, direction, address, &diff, &check)
		    : kk_rewrite_error4(pkt, flow, quote, direction, address->word[3], &diff);
	if (r ||
	    kk_rewrite_quoted_l4(pkt, flow, quote, direction == KK_INBOUND, diff, port, &check))
		return -1;
	return kk_env_store(pkt, flow->l4 + KK_ICMP_CHECK, &check, sizeof(check));
}

#endif
