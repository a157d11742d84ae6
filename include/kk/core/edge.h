/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What is decided at the edge, before the host has spent anything on a packet from outside: whether it may go on at
 * all. It goes on untouched, or it dies here under its reason, or it is answered or relayed. Only packets to managed
 * addresses are looked at. Whom the lists, bans and limits shut out they shut out of published ports; what a socket
 * of the gateway's own wants is never theirs, nor that of the closed ports: so no port of the gateway's, and none
 * that it is managed by, can be shut here.
 */
#ifndef KK_CORE_EDGE_H
#define KK_CORE_EDGE_H

#include <kk/core/challenge.h>
#include <kk/core/edge_env.h>
#include <kk/core/forward.h>
#include <kk/core/guard.h>
#include <kk/core/relay.h>

/* The packet goes on, untouched and not counted. */
#define KK_EDGE_ON KK_REASON_MAX

#define KK_TCP_FIN 0x01

/*
 * Segments that no TCP sends: neither SYN nor RST nor ACK (RFC 9293 section 3.10.7: every other one has ACK), SYN with
 * RST or FIN, and from port 0 (RFC 6335 section 6: reserved).
 */
KK_INLINE int kk_tcp_is_malformed(const struct kk_flow *flow)
{
	__u8 flags = flow->tcp_flags;

	if (!(flags & (KK_TCP_SYN | KK_TCP_RST | KK_TCP_ACK)) || !flow->port.source)
		return 1;
	return (flags & KK_TCP_SYN) && (flags & (KK_TCP_RST | KK_TCP_FIN));
}

KK_INLINE int kk_opens(const struct kk_flow *flow)
{
	return flow->protocol == KK_TCP &&
	       (flow->tcp_flags & (KK_TCP_SYN | KK_TCP_ACK)) == KK_TCP_SYN;
}

/*
 * Fragments behind the first: one that would end beyond 64 KiB (RFC 791 section 3.1, RFC 8200 section 4.5), and one that
 * would replace TCP's flags (RFC 3128).
 */
KK_INLINE int kk_fragment_is_malformed(__u8 family, const struct kk_flow *flow)
{
	__u32 offset = KK_HOST16(flow->fragment) & KK_IP4_OFFSET;

	if (flow->protocol == KK_TCP && offset == 1)
		return 1;
	return offset * 8 + flow->len - (family == KK_IP6 ? flow->l4 : 0) > 65535;
}

/*
 * The transport header. That a datagram over IPv6 has a checksum is asked of published ports when they are forwarded to:
 * a tunnel of the gateway's own may do without (RFC 6936).
 */
KK_INLINE int kk_transport_is_malformed(const struct kk_packet *pkt, struct kk_flow *flow)
{
	if (kk_parse_ports(pkt, flow))
		return 1;
	if (flow->protocol == KK_UDP)
		return kk_parse_udp(pkt, KK_IP4, flow);
	return kk_parse_tcp(pkt, flow) || kk_tcp_is_malformed(flow);
}

/* SYNs a second to the service of @word beyond which sources prove themselves; 0: never. */
KK_INLINE __u32 kk_syn_rate(const struct kk_packet *pkt, __u64 word)
{
	const struct kk_policy *policy;

	if (word & KK_LISTENER_GUARDED) {
		policy = kk_env_policy(pkt, kk_service_of(pkt, word).policy);
		if (policy && policy->syn_rate)
			return policy->syn_rate;
	}
	return kk_env_edge(pkt)->syn_rate;
}

/* A SYN to listener @word. */
KK_INLINE enum kk_reason kk_edge_syn(struct kk_packet *pkt, __u8 family, const struct kk_flow *flow,
				     __u64 word)
{
	const struct kk_in6 source = kk_subscriber(kk_source(family, flow));
	struct kk_flood *flood = kk_env_flood(pkt, kk_listener_service(word));
	__u32 rate = kk_syn_rate(pkt, word);
	__u64 now = kk_env_lately(pkt);

	if (!flood || !rate || !KK_RARELY(kk_flood_count(flood, now, rate)))
		return KK_EDGE_ON;
	if (kk_env_verified(pkt, &source) > now)
		return KK_EDGE_ON;
	/* Whom nobody would answer is not sent anything. */
	if (kk_check_client(kk_env_settings(pkt), family, flow) != KK_REASON_INBOUND)
		return KK_EDGE_ON;
	return kk_answer_challenge(pkt, family, flow, now) ? KK_REASON_HOST
							   : KK_REASON_SYN_CHALLENGE;
}

/* A reset to listener @word: an answer to a challenge, or one of a connection, which goes on. */
KK_INLINE enum kk_reason kk_edge_reset(struct kk_packet *pkt, __u8 family,
				       const struct kk_flow *flow, __u64 word)
{
	const struct kk_in6 source = kk_subscriber(kk_source(family, flow));
	struct kk_flood *flood = kk_env_flood(pkt, kk_listener_service(word));
	__u32 rate = kk_syn_rate(pkt, word);
	__u64 now = kk_env_lately(pkt);

	if (!flood || !rate || !kk_flood_is_on(flood, now, rate) ||
	    !kk_is_proof(pkt, family, flow, now))
		return KK_EDGE_ON;
	kk_env_verify(pkt, &source, now + KK_VERIFIED_NS);
	return KK_REASON_SYN_PROOF;
}

/* To published port @word. */
KK_INLINE enum kk_reason kk_edge_published(struct kk_packet *pkt, __u8 family,
					   const struct kk_flow *flow, __u64 features, __u64 word)
{
	enum kk_reason reason = kk_check_gateway(pkt, features, word, kk_source(family, flow));

	if (reason != KK_REASON_INBOUND)
		return reason;
	/* Before limits are counted: nobody's are used up in his name. */
	if (KK_RARELY(flow->protocol == KK_TCP && !(flow->tcp_flags & KK_TCP_ACK)) &&
	    (features & KK_FEATURE_SYN_COOKIES)) {
		reason = kk_opens(flow) ? kk_edge_syn(pkt, family, flow, word)
					: kk_edge_reset(pkt, family, flow, word);
		if (reason != KK_EDGE_ON)
			return reason;
	}
	if (KK_RARELY(word & KK_LISTENER_GUARDED)) {
		reason = kk_check_service(pkt, word, kk_source(family, flow), kk_opens(flow));
		if (reason != KK_REASON_INBOUND)
			return reason;
	}
	return KK_EDGE_ON;
}

/*
 * Whether nobody takes this packet to a port that is not published. Of TCP only what opens a connection is judged:
 * the rest belongs to one, or gets a reset.
 */
KK_INLINE int kk_is_closed(const struct kk_packet *pkt, __u8 family, const struct kk_flow *flow)
{
	if (flow->protocol == KK_TCP) {
		if (!kk_opens(flow))
			return 0;
	} else if (KK_HOST16(flow->port.dest) >= kk_env_edge(pkt)->ephemeral) {
		return 0;
	}
	return !kk_env_wanted(pkt, family, flow->protocol, kk_source(family, flow),
			      kk_dest(family, flow), flow->port.source, flow->port.dest);
}

/* To a port that is not published. */
KK_INLINE enum kk_reason kk_edge_others(struct kk_packet *pkt, __u8 family, struct kk_flow *flow,
					__u64 features, __u32 part)
{
	if (KK_RARELY(features & KK_FEATURE_RELAY) && flow->protocol == KK_UDP &&
	    !kk_is_fragment(flow)) {
		const struct kk_relay_key key = {.address = *kk_source(family, flow),
						 .port = flow->port.source,
						 .at = flow->port.dest};
		const struct kk_relay *to;
		struct kk_relay *from = kk_match_relay(pkt, &key, kk_env_lately(pkt), &to);

		if (from && !(part & KK_EDGE_RELAY))
			return KK_EDGE_ON; /* another host of the core relays it */
		if (from)
			return to ? kk_relay_on(pkt, family, flow, from, to)
				  : KK_REASON_RELAY_UNHEARD;
	}
	if ((features & KK_FEATURE_CLOSED_PORTS) && (part & KK_EDGE_CHECKS) &&
	    kk_is_closed(pkt, family, flow))
		return KK_REASON_CLOSED_PORT;
	return KK_EDGE_ON;
}

KK_INLINE enum kk_reason kk_edge_decide(struct kk_packet *pkt, __u8 family, struct kk_flow *flow,
					__u32 part)
{
	enum kk_parsed parsed = kk_parse_ip(pkt, family, flow);
	int slot;
	__u64 word;

	if (parsed == KK_PARSED_OTHER)
		return KK_EDGE_ON;
	slot = kk_find_address(kk_env_settings(pkt), family, kk_dest(family, flow));
	if (slot < 0)
		return KK_EDGE_ON;
	if (parsed == KK_PARSED_BAD)
		return KK_REASON_MALFORMED;
	if (kk_is_later_fragment(flow))
		return kk_fragment_is_malformed(family, flow) ? KK_REASON_MALFORMED : KK_EDGE_ON;
	if (!kk_has_ports(flow->protocol))
		return KK_EDGE_ON;
	if (kk_transport_is_malformed(pkt, flow))
		return KK_REASON_MALFORMED;
	word = kk_match_listener(pkt, (__u32)slot, flow->protocol, flow->port.dest);
	if (!word)
		return kk_edge_others(pkt, family, flow, kk_env_features(pkt), part);
	return part & KK_EDGE_CHECKS
		       ? kk_edge_published(pkt, family, flow, kk_env_features(pkt), word)
		       : KK_EDGE_ON;
}

/*
 * Decides about a packet of @family, a constant, from outside, does of the edge what @part says (KK_EDGE_*), and counts it
 * unless it goes on: KK_EDGE_ON. kk_verdict() of any other result says what the host is to do.
 */
KK_INLINE enum kk_reason kk_edge(struct kk_packet *pkt, __u8 family, __u32 part)
{
	struct kk_flow flow = {0};
	enum kk_reason reason = kk_edge_decide(pkt, family, &flow, part);

	if (reason != KK_EDGE_ON)
		kk_env_count(pkt, reason, kk_env_len(pkt));
	return reason;
}

#endif
