/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The forwarding core: parse, match, decide, rewrite; the same in every host. Stateless: what
 * happens to a packet depends on it, the settings and the tables alone, but for later fragments,
 * which go where their first one went. IPv4 with TCP, UDP and the ICMP errors about them. A header
 * checksum that was wrong stays wrong: whoever receives the packet notices.
 */
#ifndef KK_CORE_FORWARD_H
#define KK_CORE_FORWARD_H

#include <kk/core/env.h>
#include <kk/core/match.h>
#include <kk/core/parse.h>
#include <kk/core/quote.h>
#include <kk/core/reasons.h>
#include <kk/core/rewrite.h>
#include <kk/core/toobig.h>

/* Where a packet goes: filled when the decision is to forward it. */
struct kk_next {
	__be32 address;
	__be16 port; /* 0: a later fragment has none */
	__u32 service;
};

/* To the Agent of a listener; @word is not 0. */
KK_INLINE struct kk_next kk_to_agent(const volatile struct kk_settings *set, __u64 word)
{
	return (struct kk_next){.address = kk_agent_address(set, word),
				.port = KK_BE16(kk_listener_port(word)),
				.service = kk_listener_service(word)};
}

/* From the public address and port of an origin. */
KK_INLINE struct kk_next kk_from_public(const volatile struct kk_settings *set,
					const struct kk_origin *from)
{
	return (struct kk_next){.address = kk_address4(set, from->slot),
				.port = from->port,
				.service = from->service};
}

/* What a packet to a published port has to be besides. */
KK_INLINE enum kk_reason kk_check_client(const volatile struct kk_settings *set,
					 const struct kk_flow *flow)
{
	if (kk_is_martian(flow->ip.source) || kk_find_address4(set, flow->ip.source) >= 0)
		return KK_REASON_MARTIAN;
	if (kk_in_pool(set, flow->ip.source))
		return KK_REASON_POOL_SOURCE;
	if (flow->ip.ttl <= 1)
		return KK_REASON_TTL;
	return KK_REASON_INBOUND;
}

/*
 * To the public address, neither TCP nor UDP: an error about what a published port sent to the
 * internet goes to the Agent. The gateway itself sends nothing from a published port. Routers have
 * private addresses, which may be the pool's: the Agent does not get to see such a one, but the
 * public address in its place.
 */
KK_INLINE enum kk_reason kk_decide_inbound_error(const struct kk_packet *pkt,
						 const volatile struct kk_settings *set, __u32 slot,
						 struct kk_flow *flow, struct kk_quote *quote,
						 struct kk_next *next)
{
	__u64 to;

	if (kk_is_fragment(flow))
		return KK_REASON_FRAGMENT;
	if (kk_parse_quote(pkt, flow, quote) || quote->ip.source != flow->ip.dest ||
	    kk_in_pool(set, quote->ip.dest))
		return KK_REASON_NOT_OURS;
	to = kk_match_listener(pkt, slot, quote->ip.protocol, quote->port.source);
	if (!to)
		return KK_REASON_NOT_OURS;
	if (kk_is_martian(flow->ip.source) || kk_find_address4(set, flow->ip.source) >= 0)
		return KK_REASON_MARTIAN;
	if (flow->ip.ttl <= 1)
		return KK_REASON_TTL;
	if (kk_in_pool(set, flow->ip.source))
		kk_replace_ip4(&flow->ip, &flow->ip.source, flow->ip.dest);
	*next = kk_to_agent(set, to);
	return KK_REASON_INBOUND_ERROR;
}

/* An IPv4 address as an IPv6 one. */
KK_INLINE struct kk_in6 kk_mapped(__be32 address)
{
	return (struct kk_in6){.word = {0, 0, KK_BE32(0xffff), address}};
}

KK_INLINE struct kk_fragment_key kk_fragment_key(const struct kk_flow *flow)
{
	return (struct kk_fragment_key){.source = kk_mapped(flow->ip.source),
					.dest = kk_mapped(flow->ip.dest),
					.id = flow->ip.id,
					.protocol = flow->ip.protocol};
}

/* Later fragments of this packet belong to public port @port of the address with @slot. */
KK_INLINE int kk_remember(const struct kk_packet *pkt, const struct kk_flow *flow, __u32 slot,
			  __be16 port, __be16 peer_port)
{
	const struct kk_fragment_key key = kk_fragment_key(flow);
	const struct kk_fragment value = {
		.port = port, .peer_port = peer_port, .slot = (__u16)slot};

	return kk_env_fragment_put(pkt, &key, &value);
}

/* The listener that the first fragment of this packet belonged to, as it is now; 0: none. */
KK_INLINE __u64 kk_recall(const struct kk_packet *pkt, const struct kk_flow *flow,
			  struct kk_fragment *ret)
{
	const struct kk_fragment_key key = kk_fragment_key(flow);

	*ret = kk_env_fragment(pkt, &key);
	if (!ret->port)
		return 0;
	return kk_match_listener(pkt, ret->slot % KK_SLOTS_MAX, flow->ip.protocol, ret->port);
}

/* A later fragment to a public address. */
KK_INLINE enum kk_reason kk_decide_inbound_fragment(const struct kk_packet *pkt,
						    const volatile struct kk_settings *set,
						    struct kk_flow *flow, struct kk_next *next)
{
	struct kk_fragment first;
	enum kk_reason reason;
	__u64 to;

	if (!kk_has_ports(&flow->ip))
		return KK_REASON_FRAGMENT;
	to = kk_recall(pkt, flow, &first);
	if (!to)
		return KK_REASON_FRAGMENT;
	reason = kk_check_client(set, flow);
	if (reason != KK_REASON_INBOUND)
		return reason;
	*next = kk_to_agent(set, to);
	next->port = 0;
	return KK_REASON_INBOUND_FRAGMENT;
}

/* From the public interface. What is not for a published port is the stack's, broken or not. */
KK_INLINE enum kk_reason kk_decide_inbound(const struct kk_packet *pkt, struct kk_flow *flow,
					   struct kk_quote *quote, struct kk_next *next)
{
	const volatile struct kk_settings *set = kk_env_settings(pkt);
	enum kk_parsed parsed = kk_parse_ip4(pkt, flow);
	enum kk_reason reason;
	__u64 to;
	int slot;

	if (parsed == KK_PARSED_NOT_IP4)
		return KK_REASON_NOT_OURS;
	slot = kk_find_address4(set, flow->ip.dest);
	if (slot < 0)
		return kk_in_pool(set, flow->ip.dest) ? KK_REASON_POOL_DESTINATION
						      : KK_REASON_NOT_OURS;
	if (parsed == KK_PARSED_BAD)
		return KK_REASON_NOT_OURS;
	if (kk_is_later_fragment(flow))
		return kk_decide_inbound_fragment(pkt, set, flow, next);
	if (!kk_has_ports(&flow->ip))
		return kk_decide_inbound_error(pkt, set, (__u32)slot, flow, quote, next);
	if (kk_parse_ports(pkt, flow))
		return KK_REASON_NOT_OURS;
	to = kk_match_listener(pkt, (__u32)slot, flow->ip.protocol, flow->port.dest);
	if (!to)
		return KK_REASON_NOT_OURS;

	if (kk_parse_l4(pkt, flow))
		return KK_REASON_MALFORMED;
	reason = kk_check_client(set, flow);
	if (reason != KK_REASON_INBOUND)
		return reason;
	if (kk_is_too_big(pkt, set, flow))
		return KK_REASON_TOO_BIG;
	if (kk_is_fragment(flow) &&
	    kk_remember(pkt, flow, (__u32)slot, flow->port.dest, flow->port.source))
		return KK_REASON_HOST;
	*next = kk_to_agent(set, to);
	return KK_REASON_INBOUND;
}

/* From an Agent to a gateway's address in its /24: only what the gateway asked for. */
KK_INLINE enum kk_reason kk_decide_answer(const struct kk_packet *pkt, struct kk_flow *flow)
{
	switch (flow->ip.protocol) {
	case KK_ICMP:
		return kk_icmp_answers(pkt, flow) ? KK_REASON_ANSWER : KK_REASON_UNSOLICITED;
	case KK_TCP:
		if (kk_parse_tcp(pkt, flow))
			return KK_REASON_MALFORMED;
		return kk_tcp_answers(flow) ? KK_REASON_ANSWER : KK_REASON_UNSOLICITED;
	default:
		return KK_REASON_UNSOLICITED;
	}
}

/*
 * From an Agent to the internet, neither TCP nor UDP: an error about what came from there to one of
 * its own published ports, sent to whom that came from.
 */
KK_INLINE enum kk_reason kk_decide_outbound_error(const struct kk_packet *pkt,
						  const volatile struct kk_settings *set,
						  struct kk_flow *flow, struct kk_quote *quote,
						  struct kk_next *next)
{
	struct kk_origin from;

	if (kk_is_fragment(flow))
		return KK_REASON_AGENT_FRAGMENT;
	if (kk_parse_quote(pkt, flow, quote) || quote->ip.source != flow->ip.dest ||
	    !kk_same_agent(quote->ip.dest, flow->ip.source))
		return KK_REASON_NOT_PUBLISHED;
	from = kk_match_origin(pkt, quote->ip.protocol, quote->ip.dest, quote->port.dest);
	if (!from.port || !kk_address4(set, from.slot))
		return KK_REASON_NOT_PUBLISHED;
	if (kk_is_martian(flow->ip.dest))
		return KK_REASON_MARTIAN;
	if (flow->ip.ttl <= 1)
		return KK_REASON_TTL;
	*next = kk_from_public(set, &from);
	return KK_REASON_OUTBOUND_ERROR;
}

/* A later fragment from an Agent to the internet. */
KK_INLINE enum kk_reason kk_decide_outbound_fragment(const struct kk_packet *pkt,
						     const volatile struct kk_settings *set,
						     struct kk_flow *flow, struct kk_next *next)
{
	struct kk_fragment first;
	__be32 address;
	__u64 from;

	if (!kk_has_ports(&flow->ip))
		return KK_REASON_AGENT_FRAGMENT;
	from = kk_recall(pkt, flow, &first);
	address = kk_address4(set, first.slot);
	if (!from || !address || kk_agent_address(set, from) != flow->ip.source)
		return KK_REASON_AGENT_FRAGMENT;
	if (flow->ip.ttl <= 1)
		return KK_REASON_TTL;
	*next = (struct kk_next){.address = address, .service = kk_listener_service(from)};
	return KK_REASON_OUTBOUND_FRAGMENT;
}

/*
 * From the tunnel. Nothing goes on but the answers of published ports and answers to this gateway.
 */
KK_INLINE enum kk_reason kk_decide_outbound(const struct kk_packet *pkt, struct kk_flow *flow,
					    struct kk_quote *quote, struct kk_next *next)
{
	const volatile struct kk_settings *set = kk_env_settings(pkt);
	enum kk_parsed parsed = kk_parse_ip4(pkt, flow);
	struct kk_origin from;

	if (parsed == KK_PARSED_NOT_IP4)
		return KK_REASON_NOT_IP4;
	if (parsed == KK_PARSED_BAD)
		return KK_REASON_MALFORMED;
	if (!kk_in_pool(set, flow->ip.source))
		return KK_REASON_SPOOFED;
	if (kk_is_gateway(set, flow->ip.source, flow->ip.dest) && flow->ip.source != flow->ip.dest)
		return kk_is_fragment(flow) ? KK_REASON_AGENT_FRAGMENT
					    : kk_decide_answer(pkt, flow);
	if (kk_in_pool(set, flow->ip.dest) || kk_find_address4(set, flow->ip.dest) >= 0)
		return KK_REASON_ISOLATED;
	if (kk_is_later_fragment(flow))
		return kk_decide_outbound_fragment(pkt, set, flow, next);
	if (!kk_has_ports(&flow->ip))
		return kk_decide_outbound_error(pkt, set, flow, quote, next);
	if (kk_parse_ports(pkt, flow))
		return KK_REASON_MALFORMED;
	from = kk_match_origin(pkt, flow->ip.protocol, flow->ip.source, flow->port.source);
	if (!from.port || !kk_address4(set, from.slot))
		return KK_REASON_NOT_PUBLISHED;

	if (kk_parse_l4(pkt, flow))
		return KK_REASON_MALFORMED;
	if (flow->ip.protocol == KK_TCP && !kk_tcp_answers(flow))
		return KK_REASON_UNSOLICITED;
	if (kk_is_martian(flow->ip.dest))
		return KK_REASON_MARTIAN;
	if (flow->ip.ttl <= 1)
		return KK_REASON_TTL;
	if (kk_is_fragment(flow) && kk_remember(pkt, flow, from.slot, from.port, flow->port.dest))
		return KK_REASON_HOST;
	*next = kk_from_public(set, &from);
	return KK_REASON_OUTBOUND;
}

/* Makes of @pkt what goes on to @next; @reason is why. */
KK_INLINE int kk_send_on(struct kk_packet *pkt, enum kk_direction direction, enum kk_reason reason,
			 struct kk_flow *flow, struct kk_quote *quote, const struct kk_next *next)
{
	const volatile struct kk_settings *set = kk_env_settings(pkt);
	int r;

	if (flow->len != kk_env_len(pkt) && kk_env_trim(pkt, flow->len))
		return -1;
	if (KK_RARELY(reason == KK_REASON_INBOUND_ERROR || reason == KK_REASON_OUTBOUND_ERROR))
		r = kk_rewrite_error(pkt, flow, quote, direction, next->address, next->port);
	else if (KK_RARELY(!next->port))
		r = kk_rewrite_ip4(pkt, &flow->ip, kk_replaced(&flow->ip, direction),
				   next->address);
	else
		r = kk_rewrite(pkt, flow, direction, next->address, next->port, set->mtu);
	return r ? r : kk_env_link(pkt, direction);
}

/*
 * Decides about @pkt, rewrites it if it is to be forwarded, and counts it. kk_verdict() of the
 * result says what the host is to do. A packet that is not forwarded is unchanged, except for
 * KK_REASON_HOST.
 */
KK_INLINE enum kk_reason kk_forward(struct kk_packet *pkt, enum kk_direction direction)
{
	struct kk_flow flow = {0};
	struct kk_quote quote = {0};
	struct kk_next next = {0};
	enum kk_reason reason = direction == KK_INBOUND
					? kk_decide_inbound(pkt, &flow, &quote, &next)
					: kk_decide_outbound(pkt, &flow, &quote, &next);

	if (next.service) {
		if (kk_send_on(pkt, direction, reason, &flow, &quote, &next))
			reason = KK_REASON_HOST;
		else
			kk_env_count_service(pkt, next.service, direction, flow.len);
	} else if (reason == KK_REASON_TOO_BIG) {
		if (kk_answer_too_big(pkt, kk_env_settings(pkt), &flow) ||
		    kk_env_link(pkt, direction))
			reason = KK_REASON_HOST;
	}
	kk_env_count(pkt, reason, kk_env_len(pkt));
	return reason;
}

#endif
