/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Either family's header. Callers pass the family as a constant, so that nothing is decided here when a packet
 * comes.
 */
#ifndef KK_CORE_IP_H
#define KK_CORE_IP_H

#include <kk/core/ip4.h>
#include <kk/core/ip6.h>

KK_INLINE enum kk_parsed kk_parse_ip(const struct kk_packet *pkt, __u8 family, struct kk_flow *flow)
{
	return family == KK_IP6 ? kk_parse_ip6(pkt, flow) : kk_parse_ip4(pkt, flow);
}

/* An IPv4 address as an IPv6 one. */
KK_INLINE struct kk_in6 kk_mapped(__be32 address)
{
	return (struct kk_in6){.word = {0, 0, KK_BE32(0xffff), address}};
}

/* Pointers, good for the block: an IPv6 address stays where it is, an IPv4 one is made to look like it. */
#define kk_either(family, in6, in4)                                                                \
	((const struct kk_in6 *)((family) == KK_IP6                                                \
					 ? (in6)                                                   \
					 : &(struct kk_in6){{0, 0, KK_BE32(0xffff), (in4)}}))

#define kk_source(family, flow) kk_either(family, &(flow)->ip6.source, (flow)->ip4.source)
#define kk_dest(family, flow)	kk_either(family, &(flow)->ip6.dest, (flow)->ip4.dest)

KK_INLINE __u8 kk_hops(__u8 family, const struct kk_flow *flow)
{
	return family == KK_IP6 ? flow->ip6.hops : flow->ip4.ttl;
}

KK_INLINE int kk_same_address(__u8 family, const struct kk_in6 *a, const struct kk_in6 *b)
{
	if (a->word[3] != b->word[3])
		return 0;
	return family == KK_IP4 ||
	       (a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->word[2] == b->word[2]);
}

#endif
