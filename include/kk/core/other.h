/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The other end of a packet, which only KK_LISTENER_SNAT replaces: inbound the source, outbound the
 * destination. It comes before kk_rewrite() and its like, which write an IPv4 header with both ends.
 */
#ifndef KK_CORE_OTHER_H
#define KK_CORE_OTHER_H

#include <kk/core/rewrite.h>
#include <kk/core/snat.h>

KK_INLINE enum kk_direction kk_opposite(enum kk_direction direction)
{
	return direction == KK_INBOUND ? KK_OUTBOUND : KK_INBOUND;
}

/* An address of an IPv6 header, and what the sum of the pseudo header gained by it. */
KK_INLINE int kk_replace_ip6(struct kk_packet *pkt, struct kk_ip6 *ip, __u32 at,
			     struct kk_in6 *field, const struct kk_in6 *to, __u32 *diff)
{
	*diff = kk_csum_diff6(field, to);
	*field = *to;
	return kk_env_store(pkt, at + (__u32)((const char *)field - (const char *)ip), to,
			    sizeof(*to));
}

/* Before kk_rewrite_fragment(). */
KK_INLINE int kk_rewrite_other_fragment(struct kk_packet *pkt, __u8 family, struct kk_flow *flow,
					enum kk_direction direction, const struct kk_end *end)
{
	enum kk_direction other = kk_opposite(direction);
	__u32 diff;

	if (family == KK_IP4) {
		kk_replace_ip4(&flow->ip4, kk_replaced4(&flow->ip4, other), end->address.word[3]);
		return 0;
	}
	if (kk_replace_ip6(pkt, &flow->ip6, 0, kk_replaced6(&flow->ip6, other), &end->address,
			   &diff))
		return -1;
	kk_env_sum6(pkt, diff);
	return 0;
}

/* Before kk_rewrite(). */
KK_INLINE int kk_rewrite_other(struct kk_packet *pkt, __u8 family, struct kk_flow *flow,
			       enum kk_direction direction, const struct kk_end *end)
{
	enum kk_direction other = kk_opposite(direction);
	__be32 *field4 = kk_replaced4(&flow->ip4, other), old;
	__be16 old_port = direction == KK_INBOUND ? flow->port.source : flow->port.dest;
	__u32 check = flow->l4 + (flow->protocol == KK_TCP ? 16 : 6), diff;
	__u32 flags = flow->protocol == KK_UDP ? KK_CSUM_ZERO_IS_NONE : 0;
	int r;

	if (family == KK_IP4) {
		old = *field4;
		kk_replace_ip4(&flow->ip4, field4, end->address.word[3]);
		r = kk_env_csum(pkt, check, KK_RAW(old), KK_RAW(end->address.word[3]), sizeof(old),
				flags | KK_CSUM_PSEUDO);
	} else {
		r = kk_replace_ip6(pkt, &flow->ip6, 0, kk_replaced6(&flow->ip6, other),
				   &end->address, &diff);
		r = r ? r : kk_env_csum6(pkt, check, diff, flags);
	}
	if (r ||
	    kk_env_csum(pkt, check, KK_RAW(old_port), KK_RAW(end->port), sizeof(end->port), flags))
		return -1;
	return kk_env_store(pkt, flow->l4 + (direction == KK_INBOUND ? 0 : 2), &end->port,
			    sizeof(end->port));
}

/* Before kk_rewrite_error(): in the error's own header and in the packet that it quotes. */
KK_INLINE int kk_rewrite_other_error(struct kk_packet *pkt, __u8 family, struct kk_flow *flow,
				     struct kk_quote *quote, enum kk_direction direction,
				     const struct kk_end *end)
{
	enum kk_direction other = kk_opposite(direction);
	int inbound = direction == KK_INBOUND;
	struct kk_in6 *inner6 = inbound ? &quote->ip6.dest : &quote->ip6.source;
	__be32 *inner4 = inbound ? &quote->ip4.dest : &quote->ip4.source;
	__u32 outer_diff, diff;
	__be16 check;

	if (kk_env_load(pkt, flow->l4 + KK_ICMP_CHECK, &check, sizeof(check)))
		return -1;
	if (family == KK_IP4) {
		kk_replace_ip4(&flow->ip4, kk_replaced4(&flow->ip4, other), end->address.word[3]);
		diff = kk_csum_diff(KK_RAW(*inner4), KK_RAW(end->address.word[3]));
		kk_replace_ip4(&quote->ip4, inner4, end->address.word[3]);
	} else {
		if (kk_replace_ip6(pkt, &flow->ip6, 0, kk_replaced6(&flow->ip6, other),
				   &end->address, &outer_diff) ||
		    kk_replace_ip6(pkt, &quote->ip6, quote->at, inner6, &end->address, &diff))
			return -1;
		check = kk_csum_apply(kk_csum_apply(check, outer_diff), diff);
	}
	if (kk_rewrite_quoted_l4(pkt, flow, quote, !inbound, diff, end->port, &check))
		return -1;
	return kk_env_store(pkt, flow->l4 + KK_ICMP_CHECK, &check, sizeof(check));
}

#endif
