/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What comes from an Agent to the gateway's own address in its /24: of flows whose listener has KK_LISTENER_SNAT
 * (snat.h), to which it stands for the client. They go on to him, from the public port.
 */
#ifndef KK_CORE_TRANSLATED_H
#define KK_CORE_TRANSLATED_H

#include <kk/core/fragment.h>
#include <kk/core/icmp.h>
#include <kk/core/next.h>
#include <kk/core/snat.h>

/* To the client of the flow that @s is about. */
KK_INLINE struct kk_next kk_to_other(const struct kk_scratch *s)
{
	return (struct kk_next){
		.address = s->public, .port = s->public_port, .both = 1, .service = s->service};
}

/* A later fragment from an Agent to the gateway, of a flow that was translated. */
KK_INLINE enum kk_reason kk_decide_translated_fragment(const struct kk_packet *pkt, __u8 family,
						       const volatile struct kk_settings *set,
						       const struct kk_flow *flow,
						       struct kk_scratch *s, struct kk_next *next)
{
	const struct kk_fragment *first;
	__u64 from = kk_recall(pkt, family, flow, &first);

	if (!(from & KK_LISTENER_SNAT) || (!first->client.word[0] && !first->client.word[3]))
		return KK_REASON_AGENT_FRAGMENT;
	if (kk_hops(family, flow) <= 1)
		return KK_REASON_TTL;
	s->public = kk_public_address(set, family, first->slot);
	s->public_port = 0;
	s->service = kk_listener_service(from);
	s->other.address = first->client;
	s->other.port = 0;
	*next = kk_to_other(s);
	return KK_REASON_OUTBOUND_FRAGMENT;
}

/* An error from an Agent to the gateway; KK_REASON_ANSWER: about none of the translated flows. */
KK_INLINE enum kk_reason kk_decide_translated_error(const struct kk_packet *pkt, __u8 family,
						    const struct kk_flow *flow,
						    struct kk_scratch *s, struct kk_next *next)
{
	struct kk_quote *quote = &s->quote;
	const struct kk_in6 *receiver;

	if (kk_is_fragment(flow) || kk_parse_quote(pkt, family, flow, quote))
		return KK_REASON_ANSWER;
	receiver = kk_dest(family, quote);
	if (!kk_same_address(family, kk_source(family, quote), kk_dest(family, flow)) ||
	    !kk_is_agent(kk_env_settings(pkt), family, receiver) ||
	    !kk_same_agent(receiver->word[3], kk_source(family, flow)->word[3]) ||
	    kk_snat_outbound(pkt, family, quote->protocol, receiver->word[3], quote->port.dest,
			     quote->port.source, -1, s))
		return KK_REASON_ANSWER;
	if (kk_hops(family, flow) <= 1)
		return KK_REASON_TTL;
	*next = kk_to_other(s);
	return KK_REASON_OUTBOUND_ERROR;
}

/*
 * From an Agent to a gateway's address in its /24, maybe to a port that stands for a client. KK_REASON_ANSWER: it
 * is the gateway's own, if it is anything.
 */
KK_INLINE enum kk_reason kk_decide_translated(const struct kk_packet *pkt, __u8 family,
					      const volatile struct kk_settings *set,
					      struct kk_flow *flow, struct kk_next *next)
{
	struct kk_scratch *s = kk_env_scratch(pkt);
	enum kk_reason reason;

	if (!s)
		return KK_REASON_HOST;
	if (kk_is_later_fragment(flow))
		return kk_decide_translated_fragment(pkt, family, set, flow, s, next);
	if (!kk_has_ports(flow->protocol))
		return kk_decide_translated_error(pkt, family, flow, s, next);
	if (kk_parse_ports(pkt, flow) || !kk_is_snat_port(flow->port.dest))
		return KK_REASON_ANSWER;
	if (kk_parse_l4(pkt, family, flow))
		return KK_REASON_MALFORMED;
	if (kk_snat_outbound(pkt, family, flow->protocol, kk_source(family, flow)->word[3],
			     flow->port.source, flow->port.dest, flow->tcp_flags, s))
		return KK_REASON_ANSWER;
	reason = kk_check_agent(pkt, family, flow);
	if (reason != KK_REASON_OUTBOUND)
		return reason;
	if (kk_is_fragment(flow) && kk_remember(pkt, family, flow, s->slot, s->public_port,
						s->other.port, &s->other.address))
		return KK_REASON_HOST;
	*next = kk_to_other(s);
	return KK_REASON_OUTBOUND;
}

#endif
