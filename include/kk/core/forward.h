/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The forwarding core: parse, match, decide, rewrite; the same in every host. Stateless: what
 * happens to a packet depends on it, the settings and the tables alone, but for later fragments,
 * which go where their first one went, and for flows of listeners with KK_LISTENER_SNAT. IPv4 and IPv6
 * with TCP, UDP and the ICMP errors about them. A checksum that was wrong stays wrong: whoever receives
 * the packet notices.
 *
 * The family is a constant wherever kk_forward() is used: what follows is compiled for each.
 */
#ifndef KK_CORE_FORWARD_H
#define KK_CORE_FORWARD_H

#include <kk/core/env.h>
#include <kk/core/fragment.h>
#include <kk/core/icmp.h>
#include <kk/core/match.h>
#include <kk/core/next.h>
#include <kk/core/other.h>
#include <kk/core/reasons.h>
#include <kk/core/rewrite.h>
#include <kk/core/snat.h>
#include <kk/core/toobig.h>
#include <kk/core/translated.h>

/*
 * To the public address, neither TCP nor UDP: an error about what a published port sent to the
 * internet goes to the Agent. The gateway itself sends nothing from a published port. Routers have
 * private addresses, which may be the IPv4 pool's: the Agent does not get to see such a one, but the
 * public address in its place.
 */
KK_INLINE enum kk_reason kk_decide_inbound_error(const struct kk_packet *pkt, __u8 family,
						 const volatile struct kk_settings *set, __u32 slot,
						 struct kk_flow *flow, struct kk_next *next)
{
	const struct kk_in6 *router = kk_source(family, flow);
	struct kk_scratch *s = kk_env_scratch(pkt);
	struct kk_quote *quote;
	__u64 to;

	if (!s)
		return KK_REASON_HOST;
	quote = &s->quote;
	if (kk_is_fragment(flow))
		return KK_REASON_FRAGMENT;
	if (kk_parse_quote(pkt, family, flow, quote))
		return KK_REASON_NOT_OURS;
	if (!kk_same_address(family, kk_source(family, quote), kk_dest(family, flow)) ||
	    kk_in_pool(set, family, kk_dest(family, quote)))
		return KK_REASON_NOT_OURS;
	to = kk_match_listener(pkt, slot, quote->protocol, quote->port.source);
	if (!to)
		return KK_REASON_NOT_OURS;
	if (kk_is_bad_peer(set, family, router))
		return KK_REASON_MARTIAN;
	if (kk_hops(family, flow) <= 1)
		return KK_REASON_TTL;
	to = kk_pick_member(pkt, to, kk_dest(family, quote), quote->port.dest, quote->port.source,
			    quote->protocol);
	if (KK_RARELY(to & KK_LISTENER_SNAT)) {
		if (kk_snat_inbound_error(pkt, family, slot, quote, to))
			return KK_REASON_NOT_OURS;
	} else if (kk_in_pool(set, family, router)) {
		if (family == KK_IP6)
			return KK_REASON_POOL_SOURCE;
		kk_replace_ip4(&flow->ip4, &flow->ip4.source, flow->ip4.dest);
	}
	*next = kk_to_agent(set, family, to);
	next->both = (to & KK_LISTENER_SNAT) != 0;
	return KK_REASON_INBOUND_ERROR;
}

/* A later fragment to a public address. */
KK_INLINE enum kk_reason kk_decide_inbound_fragment(const struct kk_packet *pkt, __u8 family,
						    const volatile struct kk_settings *set,
						    struct kk_flow *flow, struct kk_next *next)
{
	const struct kk_fragment *first;
	enum kk_reason reason;
	__u64 to = kk_recall(pkt, family, flow, &first);

	if (!to)
		return KK_REASON_FRAGMENT;
	reason = kk_check_client(set, family, flow);
	if (reason != KK_REASON_INBOUND)
		return reason;
	to = kk_pick_member(pkt, to, kk_source(family, flow), first->peer_port, first->port,
			    first->protocol);
	*next = kk_to_agent(set, family, to);
	next->port = 0;
	if (KK_RARELY(to & KK_LISTENER_SNAT)) {
		if (kk_snat_inbound_fragment(pkt, family, next->address.word[3]))
			return KK_REASON_HOST;
		next->both = 1;
	}
	return KK_REASON_INBOUND_FRAGMENT;
}

/* From the public interface. What is not for a published port is the stack's, broken or not. */
KK_INLINE enum kk_reason kk_decide_inbound(const struct kk_packet *pkt, __u8 family,
					   struct kk_flow *flow, struct kk_next *next)
{
	const volatile struct kk_settings *set = kk_env_settings(pkt);
	enum kk_parsed parsed = kk_parse_ip(pkt, family, flow);
	enum kk_reason reason;
	const struct kk_in6 *dest;
	__u64 to;
	int slot;

	if (parsed == KK_PARSED_OTHER)
		return KK_REASON_NOT_OURS;
	dest = kk_dest(family, flow);
	slot = kk_find_address(set, family, dest);
	if (slot < 0)
		return kk_in_pool(set, family, dest) ? KK_REASON_POOL_DESTINATION
						     : KK_REASON_NOT_OURS;
	if (parsed == KK_PARSED_BAD)
		return KK_REASON_NOT_OURS;
	if (kk_is_later_fragment(flow))
		return kk_decide_inbound_fragment(pkt, family, set, flow, next);
	if (!kk_has_ports(flow->protocol))
		return kk_decide_inbound_error(pkt, family, set, (__u32)slot, flow, next);
	if (kk_parse_ports(pkt, flow))
		return KK_REASON_NOT_OURS;
	to = kk_match_listener(pkt, (__u32)slot, flow->protocol, flow->port.dest);
	if (!to)
		return KK_REASON_NOT_OURS;

	if (kk_parse_l4(pkt, family, flow))
		return KK_REASON_MALFORMED;
	if (KK_RARELY(to & KK_LISTENER_DRAINING) && kk_begins(flow) && !(to & KK_LISTENER_SNAT))
		return KK_REASON_NOT_OURS;
	reason = kk_check_client(set, family, flow);
	if (reason != KK_REASON_INBOUND)
		return reason;
	if (kk_is_too_big(pkt, family, set, flow))
		return KK_REASON_TOO_BIG;
	to = kk_pick_member(pkt, to, kk_source(family, flow), flow->port.source, flow->port.dest,
			    flow->protocol);
	if (KK_RARELY(to & KK_LISTENER_SNAT)) {
		reason = kk_snat_inbound(pkt, family, (__u32)slot, flow, to);
		if (reason != KK_REASON_INBOUND)
			return reason;
	}
	if (kk_is_fragment(flow) &&
	    kk_remember(pkt, family, flow, (__u32)slot, flow->port.dest, flow->port.source, NULL))
		return KK_REASON_HOST;
	*next = kk_to_agent(set, family, to);
	next->both = (to & KK_LISTENER_SNAT) != 0;
	return KK_REASON_INBOUND;
}

/* From an Agent to a gateway's address in its /24: only what the gateway asked for. */
KK_INLINE enum kk_reason kk_decide_answer(const struct kk_packet *pkt, __u8 family,
					  struct kk_flow *flow)
{
	if (kk_is_fragment(flow))
		return KK_REASON_AGENT_FRAGMENT;
	if (flow->protocol == kk_icmp_protocol(family))
		return kk_icmp_answers(pkt, family, flow) ? KK_REASON_ANSWER
							  : KK_REASON_UNSOLICITED;
	if (flow->protocol != KK_TCP)
		return KK_REASON_UNSOLICITED;
	if (kk_parse_tcp(pkt, flow))
		return KK_REASON_MALFORMED;
	return kk_tcp_answers(flow) ? KK_REASON_ANSWER : KK_REASON_UNSOLICITED;
}

/*
 * From an Agent to the internet, neither TCP nor UDP: an error about what came from there to one of
 * its own published ports, sent to whom that came from.
 */
KK_INLINE enum kk_reason kk_decide_outbound_error(const struct kk_packet *pkt, __u8 family,
						  const volatile struct kk_settings *set,
						  struct kk_flow *flow, struct kk_next *next)
{
	const struct kk_in6 *agent = kk_source(family, flow), *client = kk_dest(family, flow);
	const struct kk_in6 *receiver;
	struct kk_scratch *s = kk_env_scratch(pkt);
	struct kk_quote *quote;
	struct kk_origin from;

	if (!s)
		return KK_REASON_HOST;
	quote = &s->quote;
	if (kk_is_fragment(flow))
		return KK_REASON_AGENT_FRAGMENT;
	if (kk_parse_quote(pkt, family, flow, quote))
		return KK_REASON_NOT_PUBLISHED;
	receiver = kk_dest(family, quote);
	if (!kk_same_address(family, kk_source(family, quote), client) ||
	    !kk_is_agent(set, family, receiver) ||
	    !kk_same_agent(receiver->word[3], agent->word[3]))
		return KK_REASON_NOT_PUBLISHED;
	from = kk_match_origin(pkt, family, quote->protocol, receiver->word[3], quote->port.dest);
	if (kk_from_public(set, family, &from, next))
		return KK_REASON_NOT_PUBLISHED;
	if (kk_is_martian(family, client))
		return KK_REASON_MARTIAN;
	if (kk_hops(family, flow) <= 1)
		return KK_REASON_TTL;
	next->service = from.service;
	return KK_REASON_OUTBOUND_ERROR;
}

/*
 * Whether listener @word still leads to Agent @agent. A group's listener does where the member's answers
 * come from there: its flows may have gone to another since.
 */
KK_INLINE int kk_leads_to(const struct kk_packet *pkt, __u8 family, __u64 word,
			  const struct kk_in6 *agent, const struct kk_fragment *first)
{
	struct kk_origin from;
	struct kk_in6 now;

	if (!KK_RARELY(word & KK_LISTENER_GROUP)) {
		now = kk_agent_address(kk_env_settings(pkt), family, word);
		return kk_same_address(family, &now, agent);
	}
	from = kk_match_origin(pkt, family, first->protocol, agent->word[3],
			       KK_BE16(kk_listener_port(word)));
	return from.port == first->port && from.slot == first->slot;
}

/* A later fragment from an Agent to the internet. */
KK_INLINE enum kk_reason kk_decide_outbound_fragment(const struct kk_packet *pkt, __u8 family,
						     const volatile struct kk_settings *set,
						     struct kk_flow *flow, struct kk_next *next)
{
	const struct kk_fragment *first;
	struct kk_in6 public;
	__u64 from = kk_recall(pkt, family, flow, &first);

	if (!from)
		return KK_REASON_AGENT_FRAGMENT;
	public = kk_public_address(set, family, first->slot);
	if (kk_is_none(family, &public) ||
	    !kk_leads_to(pkt, family, from, kk_source(family, flow), first))
		return KK_REASON_AGENT_FRAGMENT;
	if (kk_hops(family, flow) <= 1)
		return KK_REASON_TTL;
	*next = (struct kk_next){.address = public, .service = kk_listener_service(from)};
	return KK_REASON_OUTBOUND_FRAGMENT;
}

/*
 * From the tunnel. Nothing goes on but the answers of published ports and answers to this gateway.
 */
KK_INLINE enum kk_reason kk_decide_outbound(const struct kk_packet *pkt, __u8 family,
					    struct kk_flow *flow, struct kk_next *next)
{
	const volatile struct kk_settings *set = kk_env_settings(pkt);
	enum kk_parsed parsed = kk_parse_ip(pkt, family, flow);
	const struct kk_in6 *source, *dest;
	struct kk_origin from;
	enum kk_reason reason;

	if (parsed == KK_PARSED_OTHER)
		return KK_REASON_NOT_IP;
	if (parsed == KK_PARSED_BAD)
		return KK_REASON_MALFORMED;
	source = kk_source(family, flow);
	dest = kk_dest(family, flow);
	if (!kk_is_agent(set, family, source))
		return KK_REASON_SPOOFED;
	if (kk_is_gateway(set, family, source->word[3], dest) && source->word[3] != dest->word[3]) {
		reason = kk_decide_translated(pkt, family, set, flow, next);
		return reason == KK_REASON_ANSWER ? kk_decide_answer(pkt, family, flow) : reason;
	}
	if (kk_in_pool(set, family, dest) || kk_find_address(set, family, dest) >= 0)
		return KK_REASON_ISOLATED;
	if (kk_is_later_fragment(flow))
		return kk_decide_outbound_fragment(pkt, family, set, flow, next);
	if (!kk_has_ports(flow->protocol))
		return kk_decide_outbound_error(pkt, family, set, flow, next);
	if (kk_parse_ports(pkt, flow))
		return KK_REASON_MALFORMED;
	from = kk_match_origin(pkt, family, flow->protocol, source->word[3], flow->port.source);
	if (kk_from_public(set, family, &from, next))
		return KK_REASON_NOT_PUBLISHED;

	reason = kk_check_agent(pkt, family, flow);
	if (reason != KK_REASON_OUTBOUND)
		return reason;
	if (kk_is_fragment(flow) &&
	    kk_remember(pkt, family, flow, from.slot, from.port, flow->port.dest, NULL))
		return KK_REASON_HOST;
	next->service = from.service;
	return KK_REASON_OUTBOUND;
}

/* The other end, before the one that is always replaced. */
KK_INLINE int kk_rewrite_both(struct kk_packet *pkt, __u8 family, enum kk_direction direction,
			      enum kk_reason reason, struct kk_flow *flow)
{
	struct kk_scratch *s = kk_env_scratch(pkt);

	if (!s)
		return -1;
	if (reason == KK_REASON_INBOUND_ERROR || reason == KK_REASON_OUTBOUND_ERROR)
		return kk_rewrite_other_error(pkt, family, flow, &s->quote, direction, &s->other);
	if (!s->other.port)
		return kk_rewrite_other_fragment(pkt, family, flow, direction, &s->other);
	return kk_rewrite_other(pkt, family, flow, direction, &s->other);
}

/* Makes of @pkt what goes on to @next; @reason is why. */
KK_INLINE int kk_send_on(struct kk_packet *pkt, __u8 family, enum kk_direction direction,
			 enum kk_reason reason, struct kk_flow *flow, const struct kk_next *next)
{
	const volatile struct kk_settings *set = kk_env_settings(pkt);
	struct kk_scratch *s;
	int r;

	if (flow->len != kk_env_len(pkt) && kk_env_trim(pkt, flow->len))
		return -1;
	if (KK_RARELY(next->both) && kk_rewrite_both(pkt, family, direction, reason, flow))
		return -1;
	if (KK_RARELY(reason == KK_REASON_INBOUND_ERROR || reason == KK_REASON_OUTBOUND_ERROR)) {
		s = kk_env_scratch(pkt);
		r = s ? kk_rewrite_error(pkt, family, flow, &s->quote, direction, &next->address,
					 next->port)
		      : -1;
	} else if (KK_RARELY(!next->port)) {
		r = kk_rewrite_fragment(pkt, family, flow, direction, &next->address);
	} else {
		r = kk_rewrite(pkt, family, flow, direction, &next->address, next->port, set->mtu);
	}
	return r ? r : kk_env_link(pkt, family, direction);
}

KK_INLINE enum kk_reason kk_forward_in(struct kk_packet *pkt, __u8 family,
				       enum kk_direction direction, struct kk_flow *flow)
{
	struct kk_next next = {.service = 0};
	enum kk_reason reason = direction == KK_INBOUND
					? kk_decide_inbound(pkt, family, flow, &next)
					: kk_decide_outbound(pkt, family, flow, &next);

	if (next.service) {
		if (kk_send_on(pkt, family, direction, reason, flow, &next))
			reason = KK_REASON_HOST;
		else
			kk_env_count_service(pkt, next.service, direction, flow->len);
	} else if (reason == KK_REASON_TOO_BIG) {
		if (kk_answer_too_big(pkt, family, flow) || kk_env_link(pkt, family, direction))
			reason = KK_REASON_HOST;
	}
	kk_env_count(pkt, reason, kk_env_len(pkt));
	return reason;
}

/*
 * Decides about @pkt, rewrites it if it is to be forwarded, and counts it. kk_verdict() of the
 * result says what the host is to do. A packet that is not forwarded is unchanged, except for
 * KK_REASON_HOST. @family is that of the packet, as far as its first byte says (KK_IP4 for what is neither).
 */
KK_INLINE enum kk_reason kk_forward(struct kk_packet *pkt, __u8 family, enum kk_direction direction)
{
	struct kk_scratch *s;
	struct kk_flow flow;

	if (family == KK_IP4)
		return kk_forward_in(pkt, family, direction, &flow);
	s = kk_env_scratch(pkt);
	if (s)
		return kk_forward_in(pkt, family, direction, &s->of);
	kk_env_count(pkt, KK_REASON_HOST, kk_env_len(pkt));
	return KK_REASON_HOST;
}

#endif
