/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Where a packet goes, and what it has to be besides to go there. */
#ifndef KK_CORE_NEXT_H
#define KK_CORE_NEXT_H

#include <kk/core/match.h>
#include <kk/core/parse.h>
#include <kk/core/reasons.h>

/* Where a packet goes: filled when the decision is to forward it. */
struct kk_next {
	struct kk_in6 address;
	__be16 port; /* 0: a later fragment has none */
	__u8 both;   /* its other end changes too: to that of the scratch */
	__u32 service;
};

/* To the Agent of a listener; @word is not 0. */
KK_INLINE struct kk_next kk_to_agent(const volatile struct kk_settings *set, __u8 family,
				     __u64 word)
{
	return (struct kk_next){.address = kk_agent_address(set, family, word),
				.port = KK_BE16(kk_listener_port(word)),
				.service = kk_listener_service(word)};
}

/*
 * From the public address and port of an origin. The address may have gone since the origin was written: that is
 * as if nothing were published.
 */
KK_INLINE int kk_from_public(const volatile struct kk_settings *set, __u8 family,
			     const struct kk_origin *from, struct kk_next *next)
{
	*next = (struct kk_next){.address = kk_public_address(set, family, from->slot),
				 .port = from->port};
	if (!from->port || kk_is_none(family, &next->address))
		return -1;
	return 0;
}

/* A peer on the internet that is none, or is one of us. */
KK_INLINE int kk_is_bad_peer(const volatile struct kk_settings *set, __u8 family,
			     const struct kk_in6 *peer)
{
	return kk_is_martian(family, peer) || kk_find_address(set, family, peer) >= 0;
}

/* What a packet to a published port has to be besides. */
KK_INLINE enum kk_reason kk_check_client(const volatile struct kk_settings *set, __u8 family,
					 const struct kk_flow *flow)
{
	const struct kk_in6 *client = kk_source(family, flow);

	if (kk_is_bad_peer(set, family, client))
		return KK_REASON_MARTIAN;
	if (kk_in_pool(set, family, client))
		return KK_REASON_POOL_SOURCE;
	if (kk_hops(family, flow) <= 1)
		return KK_REASON_TTL;
	return KK_REASON_INBOUND;
}

/* From a published port of an Agent, which @from leads back to, to the internet. */
KK_INLINE enum kk_reason kk_check_agent(const struct kk_packet *pkt, __u8 family,
					struct kk_flow *flow)
{
	const struct kk_in6 *client = kk_dest(family, flow);

	if (kk_parse_l4(pkt, family, flow))
		return KK_REASON_MALFORMED;
	if (flow->protocol == KK_TCP && !kk_tcp_answers(flow))
		return KK_REASON_UNSOLICITED;
	if (kk_is_martian(family, client))
		return KK_REASON_MARTIAN;
	if (kk_hops(family, flow) <= 1)
		return KK_REASON_TTL;
	return KK_REASON_OUTBOUND;
}

#endif
