/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The forwarding core: parse, match, decide, rewrite; the same in every host. Stateless: what
 * happens to a packet depends on it, the settings and the tables alone. IPv4 with TCP, UDP and the
 * ICMP errors about them. A header checksum that was wrong stays wrong: whoever receives the packet
 * notices.
 */
#ifndef KK_CORE_FORWARD_H
#define KK_CORE_FORWARD_H

#include <kk/core/env.h>
#include <kk/core/match.h>
#include <kk/core/parse.h>
#include <kk/core/quote.h>
#include <kk/core/reasons.h>
#include <kk/core/rewrite.h>

/* Where a packet goes: filled when the decision is to forward it. */
struct kk_next {
	__be32 address;
	__be16 port;
	__u16 service;
};

/* What a packet to a published port has to be besides. */
KK_INLINE enum kk_reason kk_check_client(const struct kk_settings *set, const struct kk_flow *flow)
{
	if (kk_is_martian(flow->ip.source) || flow->ip.source == set->address)
		return KK_REASON_MARTIAN;
	if (kk_in_pool(set, flow->ip.source))
		return KK_REASON_POOL_SOURCE;
	if (flow->ip.ttl <= 1)
		return KK_REASON_TTL;
	return KK_REASON_INBOUND;
}

/*
 * To the public address, neither TCP nor UDP: an error about what a published port sent to the
 * internet goes to the Agent. The gateway itself sends nothing from a published port.
 */
KK_INLINE enum kk_reason kk_decide_inbound_error(const struct kk_packet *pkt,
						 const struct kk_settings *set,
						 struct kk_flow *flow, struct kk_quote *quote,
						 struct kk_next *next)
{
	enum kk_reason reason;
	union kk_destination to;

	if (kk_parse_quote(pkt, flow, quote) || quote->ip.source != set->address ||
	    kk_in_pool(set, quote->ip.dest))
		return KK_REASON_NOT_OURS;
	to = kk_match_destination(pkt, quote->ip.protocol, quote->port.source);
	if (!to.service)
		return KK_REASON_NOT_OURS;
	reason = kk_check_client(set, flow);
	if (reason != KK_REASON_INBOUND)
		return reason;
	*next = (struct kk_next){.address = to.address, .port = to.port, .service = to.service};
	return KK_REASON_INBOUND_ERROR;
}

/* From the public interface. What is not for a published port is the stack's, broken or not. */
KK_INLINE enum kk_reason kk_decide_inbound(const struct kk_packet *pkt, struct kk_flow *flow,
					   struct kk_quote *quote, struct kk_next *next)
{
	const struct kk_settings set = kk_env_settings(pkt);
	enum kk_parsed parsed = kk_parse_ip4(pkt, flow);
	union kk_destination to;
	enum kk_reason reason;

	if (parsed == KK_PARSED_NOT_IP4)
		return KK_REASON_NOT_OURS;
	if (flow->ip.dest != set.address)
		return kk_in_pool(&set, flow->ip.dest) ? KK_REASON_POOL_DESTINATION
						       : KK_REASON_NOT_OURS;
	if (parsed == KK_PARSED_BAD)
		return KK_REASON_NOT_OURS;
	if (kk_is_fragment(flow))
		return KK_REASON_FRAGMENT;
	if (!kk_has_ports(&flow->ip))
		return kk_decide_inbound_error(pkt, &set, flow, quote, next);
	if (kk_parse_ports(pkt, flow))
		return KK_REASON_NOT_OURS;
	to = kk_match_destination(pkt, flow->ip.protocol, flow->port.dest);
	if (!to.service)
		return KK_REASON_NOT_OURS;

	if (kk_parse_l4(pkt, flow))
		return KK_REASON_MALFORMED;
	reason = kk_check_client(&set, flow);
	if (reason != KK_REASON_INBOUND)
		return reason;
	*next = (struct kk_next){.address = to.address, .port = to.port, .service = to.service};
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
						  const struct kk_settings *set,
						  struct kk_flow *flow, struct kk_quote *quote,
						  struct kk_next *next)
{
	struct kk_origin from;

	if (kk_parse_quote(pkt, flow, quote) || quote->ip.source != flow->ip.dest ||
	    !kk_same_agent(quote->ip.dest, flow->ip.source))
		return KK_REASON_NOT_PUBLISHED;
	from = kk_match_origin(pkt, quote->ip.protocol, quote->ip.dest, quote->port.dest);
	if (!from.port)
		return KK_REASON_NOT_PUBLISHED;
	if (kk_is_martian(flow->ip.dest))
		return KK_REASON_MARTIAN;
	if (flow->ip.ttl <= 1)
		return KK_REASON_TTL;
	*next = (struct kk_next){
		.address = set->address, .port = from.port, .service = from.service};
	return KK_REASON_OUTBOUND_ERROR;
}

/*
 * From the tunnel. Nothing goes on but the answers of published ports and answers to this gateway.
 */
KK_INLINE enum kk_reason kk_decide_outbound(const struct kk_packet *pkt, struct kk_flow *flow,
					    struct kk_quote *quote, struct kk_next *next)
{
	const struct kk_settings set = kk_env_settings(pkt);
	enum kk_parsed parsed = kk_parse_ip4(pkt, flow);
	struct kk_origin from;

	if (parsed == KK_PARSED_NOT_IP4)
		return KK_REASON_NOT_IP4;
	if (parsed == KK_PARSED_BAD)
		return KK_REASON_MALFORMED;
	if (!kk_in_pool(&set, flow->ip.source))
		return KK_REASON_SPOOFED;
	if (kk_is_fragment(flow))
		return KK_REASON_AGENT_FRAGMENT;
	if (kk_is_gateway(&set, flow->ip.source, flow->ip.dest) && flow->ip.source != flow->ip.dest)
		return kk_decide_answer(pkt, flow);
	if (kk_in_pool(&set, flow->ip.dest) || flow->ip.dest == set.address)
		return KK_REASON_ISOLATED;
	if (!kk_has_ports(&flow->ip))
		return kk_decide_outbound_error(pkt, &set, flow, quote, next);
	if (kk_parse_ports(pkt, flow))
		return KK_REASON_MALFORMED;
	from = kk_match_origin(pkt, flow->ip.protocol, flow->ip.source, flow->port.source);
	if (!from.port)
		return KK_REASON_NOT_PUBLISHED;

	if (kk_parse_l4(pkt, flow))
		return KK_REASON_MALFORMED;
	if (flow->ip.protocol == KK_TCP && !kk_tcp_answers(flow))
		return KK_REASON_UNSOLICITED;
	if (kk_is_martian(flow->ip.dest))
		return KK_REASON_MARTIAN;
	if (flow->ip.ttl <= 1)
		return KK_REASON_TTL;
	*next = (struct kk_next){
		.address = set.address, .port = from.port, .service = from.service};
	return KK_REASON_OUTBOUND;
}

/* Makes of @pkt what goes on to @next; @reason is why. */
KK_INLINE int kk_send_on(struct kk_packet *pkt, enum kk_direction direction, enum kk_reason reason,
			 struct kk_flow *flow, struct kk_quote *quote, const struct kk_next *next)
{
	int r;

	if (flow->len != kk_env_len(pkt) && kk_env_trim(pkt, flow->len))
		return -1;
	if (reason == KK_REASON_INBOUND_ERROR || reason == KK_REASON_OUTBOUND_ERROR)
		r = kk_rewrite_error(pkt, flow, quote, direction, next->address, next->port);
	else
		r = kk_rewrite(pkt, flow, direction, next->address, next->port);
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
	}
	kk_env_count(pkt, reason, kk_env_len(pkt));
	return reason;
}

#endif
