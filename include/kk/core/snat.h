/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Flows of listeners with KK_LISTENER_SNAT, whose Agent is to see the gateway in the client's place: a plain
 * WireGuard peer, which accepts no other source and does not know which gateway a flow came from. A flow has a
 * port of the gateway's address in the Agent's /24 (RFC 4787, RFC 5382).
 *
 * There is one table, by what the Agent sees. From the client's side a flow is found by trying the few ports that
 * it can have, in an order that follows from its hash. What was not seen for its time gives its port away.
 */
#ifndef KK_CORE_SNAT_H
#define KK_CORE_SNAT_H

#include <kk/core/env.h>
#include <kk/core/match.h>

/* Below the ports that the gateway's own connections begin from (Linux: 32768 to 60999). */
#define KK_SNAT_PORT_FIRST 16384
#define KK_SNAT_PORTS	   16384 /* a power of 2 */
#define KK_SNAT_PROBES	   8	 /* ports that a flow can have */

#define KK_SNAT_SECOND	     1000000000ULL
#define KK_SNAT_UDP_TIME     (300 * KK_SNAT_SECOND)  /* RFC 4787 REQ-5 */
#define KK_SNAT_TCP_TIME     (7440 * KK_SNAT_SECOND) /* RFC 5382 REQ-5: 2 h 4 min */
#define KK_SNAT_CLOSING_TIME (240 * KK_SNAT_SECOND)  /* the same: 4 min */

KK_INLINE int kk_is_snat_port(__be16 port)
{
	return (KK_HOST16(port) & ~(KK_SNAT_PORTS - 1)) == KK_SNAT_PORT_FIRST;
}

KK_INLINE __u64 kk_snat_time(__u8 protocol, __u8 closing)
{
	return protocol != KK_TCP ? KK_SNAT_UDP_TIME
	       : closing	  ? KK_SNAT_CLOSING_TIME
				  : KK_SNAT_TCP_TIME;
}

/* A host that can be told other times has this, in ns. */
#ifndef KK_ENV_SNAT_TIME
#define KK_ENV_SNAT_TIME(pkt, protocol, closing) kk_snat_time(protocol, closing)
#endif

KK_INLINE int kk_snat_is_over(const struct kk_snat_flow *flow, __u64 time, __u64 now)
{
	return (__s64)(now - flow->seen) > (__s64)time;
}

KK_INLINE int kk_snat_same(const struct kk_snat_flow *a, const struct kk_snat_flow *b)
{
	return kk_same_address(KK_IP6, &a->client, &b->client) &&
	       a->client_port == b->client_port && a->public_port == b->public_port &&
	       a->slot == b->slot;
}

/* A packet of the flow was seen; @tcp_flags are 0 of UDP. */
KK_INLINE void kk_snat_seen(struct kk_snat_flow *flow, __u64 now, __u8 tcp_flags)
{
	flow->seen = now;
	if (tcp_flags & (KK_TCP_FIN | KK_TCP_RST))
		flow->closing = 1;
	else if (tcp_flags & KK_TCP_SYN)
		flow->closing = 0;
}

/* Port number @i of a flow: steps are odd, so that no port comes twice. */
KK_INLINE __be16 kk_snat_port(__u32 hash, __u32 i)
{
	return KK_BE16(KK_SNAT_PORT_FIRST +
		       ((hash + i * ((hash >> 14) | 1)) & (KK_SNAT_PORTS - 1)));
}

/* The flow's entry, whose port @key names afterwards; NULL: there is none. */
KK_NOINLINE struct kk_snat_flow *kk_snat_find(const struct kk_packet *pkt, struct kk_snat_key *key,
					      const struct kk_snat_flow *wanted, __u32 hash)
{
	for (__u32 i = 0; i < KK_SNAT_PROBES; i++) {
		struct kk_snat_flow *found;

		key->port = kk_snat_port(hash, i);
		found = kk_env_snat(pkt, key);
		if (found && kk_snat_same(found, wanted))
			return found;
	}
	return NULL;
}

/*
 * Of CPUs that want the port of a flow which is over, the one that sets its clock has it. Whoever comes upon the
 * entry before it is rewritten takes it for the other flow's, which is seen just now.
 */
KK_INLINE int kk_snat_take_over(struct kk_snat_flow *found, __u64 time,
				const struct kk_snat_flow *wanted)
{
	__u64 seen = found->seen;

	if (!kk_snat_is_over(found, time, wanted->seen) ||
	    __sync_val_compare_and_swap(&found->seen, seen, wanted->seen) != seen)
		return 0;
	*found = *wanted;
	return 1;
}

/* Makes the entry of a flow that has none. NULL: all of its ports are others'. */
KK_NOINLINE struct kk_snat_flow *kk_snat_make(const struct kk_packet *pkt, struct kk_snat_key *key,
					      const struct kk_snat_flow *wanted, __u32 hash)
{
	for (__u32 i = 0; i < KK_SNAT_PROBES; i++) {
		struct kk_snat_flow *found;

		key->port = kk_snat_port(hash, i);
		found = kk_env_snat(pkt, key);
		if (found &&
		    kk_snat_take_over(found, KK_ENV_SNAT_TIME(pkt, key->protocol, found->closing),
				      wanted))
			return found;
		if (!found)
			found = kk_env_snat_put(pkt, key, wanted);
		if (found && kk_snat_same(found, wanted))
			return found;
	}
	return NULL;
}

/* The gateway's own address in the /24 of an Agent. */
KK_INLINE struct kk_in6 kk_gateway_address(const volatile struct kk_settings *set, __u8 family,
					   __be32 agent)
{
	__be32 address = (agent & KK_AGENT_MASK) | set->host;

	if (family == KK_IP4)
		return kk_mapped(address);
	return (struct kk_in6){
		{set->pool6.word[0], set->pool6.word[1], set->pool6.word[2], address}};
}

/* What is known of a flow from the client's side, before its port is. Ports are those of a packet to the public one. */
KK_INLINE void kk_snat_wish(const struct kk_packet *pkt, __u8 family, __u32 slot, __u64 word,
			    const struct kk_in6 *client, __be16 client_port, __be16 public_port,
			    __u8 protocol, struct kk_scratch *s)
{
	const volatile struct kk_settings *set = kk_env_settings(pkt);

	s->key.agent = set->pool | KK_BE32(kk_listener_agent(word));
	s->key.agent_port = KK_BE16(kk_listener_port(word));
	s->key.port = 0;
	s->key.protocol = protocol;
	s->key.family = family;
	s->key.zero = 0;
	s->flow.client = *client;
	s->flow.client_port = client_port;
	s->flow.public_port = public_port;
	s->flow.slot = (__u8)slot;
	s->flow.closing = 0;
	s->flow.zero = 0;
	s->flow.seen = kk_env_lately(pkt);
	s->hash = kk_flow_hash(set->flow_key, client, client_port, public_port, protocol);
}

/* What the Agent sees of the flow in the client's place. */
KK_INLINE void kk_snat_other(const struct kk_packet *pkt, __u8 family, struct kk_scratch *s)
{
	s->other.address = kk_gateway_address(kk_env_settings(pkt), family, s->key.agent);
	s->other.port = s->key.port;
}

/*
 * A packet to listener @word, which names its Agent by now. KK_REASON_INBOUND, with the scratch's .other
 * filled, or why the packet does not go there.
 */
KK_INLINE enum kk_reason kk_snat_inbound(const struct kk_packet *pkt, __u8 family, __u32 slot,
					 const struct kk_flow *flow, __u64 word)
{
	struct kk_scratch *s = kk_env_scratch(pkt);
	struct kk_snat_flow *found;

	if (!s)
		return KK_REASON_HOST;
	kk_snat_wish(pkt, family, slot, word, kk_source(family, flow), flow->port.source,
		     flow->port.dest, flow->protocol, s);
	found = kk_snat_find(pkt, &s->key, &s->flow, s->hash);
	if (!found && (word & KK_LISTENER_DRAINING))
		return KK_REASON_NOT_OURS;
	if (!found && !kk_begins(flow))
		return KK_REASON_NO_FLOW;
	if (!found)
		found = kk_snat_make(pkt, &s->key, &s->flow, s->hash);
	if (!found)
		return KK_REASON_SNAT_EXHAUSTED;
	kk_snat_seen(found, s->flow.seen, flow->tcp_flags);
	kk_snat_other(pkt, family, s);
	return KK_REASON_INBOUND;
}

/* A later fragment to @agent, which has no port; -1: there is no scratch. */
KK_INLINE int kk_snat_inbound_fragment(const struct kk_packet *pkt, __u8 family, __be32 agent)
{
	struct kk_scratch *s = kk_env_scratch(pkt);

	if (!s)
		return -1;
	s->other.address = kk_gateway_address(kk_env_settings(pkt), family, agent);
	s->other.port = 0;
	return 0;
}

/* An error about what the listener's Agent sent; -1: there is no such flow. */
KK_INLINE int kk_snat_inbound_error(const struct kk_packet *pkt, __u8 family, __u32 slot,
				    const struct kk_quote *quote, __u64 word)
{
	struct kk_scratch *s = kk_env_scratch(pkt);

	if (!s)
		return -1;
	kk_snat_wish(pkt, family, slot, word, kk_dest(family, quote), quote->port.dest,
		     quote->port.source, quote->protocol, s);
	if (!kk_snat_find(pkt, &s->key, &s->flow, s->hash))
		return -1;
	kk_snat_other(pkt, family, s);
	return 0;
}

/*
 * The flow that an Agent's end has with @port of the gateway: fills @s with its public end and, as .other, the
 * client's. -1: none, or its listener has gone. @tcp_flags as in kk_snat_seen(); -1: the packet is none of
 * the flow's own.
 */
KK_INLINE int kk_snat_outbound(const struct kk_packet *pkt, __u8 family, __u8 protocol,
			       __be32 agent, __be16 agent_port, __be16 port, int tcp_flags,
			       struct kk_scratch *s)
{
	const volatile struct kk_settings *set = kk_env_settings(pkt);
	struct kk_snat_flow *found;
	__u64 word;

	if (!kk_is_snat_port(port))
		return -1;
	s->key.agent = agent;
	s->key.agent_port = agent_port;
	s->key.port = port;
	s->key.protocol = protocol;
	s->key.family = family;
	s->key.zero = 0;
	found = kk_env_snat(pkt, &s->key);
	if (!found)
		return -1;
	s->slot = found->slot % KK_SLOTS_MAX;
	s->public_port = found->public_port;
	s->public = kk_public_address(set, family, s->slot);
	word = kk_match_listener(pkt, s->slot, protocol, s->public_port);
	s->service = kk_listener_service(word);
	if (!(word & KK_LISTENER_SNAT) || kk_is_none(family, &s->public))
		return -1;
	s->other.address = found->client;
	s->other.port = found->client_port;
	if (tcp_flags >= 0)
		kk_snat_seen(found, kk_env_lately(pkt), (__u8)tcp_flags);
	return 0;
}

#endif
