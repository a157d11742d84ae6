/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Which addresses are whose, and which listener a packet belongs to. The last word of an Agent's address is
 * its IPv4 address in both families.
 */
#ifndef KK_CORE_MATCH_H
#define KK_CORE_MATCH_H

#include <kk/core/hash.h>
#include <kk/core/ip.h>
#include <kk/core/martian.h>

KK_INLINE int kk_in_pool4(const volatile struct kk_settings *set, __be32 address)
{
	return (address & set->pool_mask) == set->pool;
}

/* Below the prefix of the Agents; its first word is never zero. */
KK_INLINE int kk_in_pool6(const volatile struct kk_settings *set, const struct kk_in6 *address)
{
	return set->pool6.word[0] && address->word[0] == set->pool6.word[0] &&
	       address->word[1] == set->pool6.word[1] && address->word[2] == set->pool6.word[2];
}

KK_INLINE int kk_in_pool(const volatile struct kk_settings *set, __u8 family,
			 const struct kk_in6 *address)
{
	return family == KK_IP6 ? kk_in_pool6(set, address) : kk_in_pool4(set, address->word[3]);
}

/* Of the pool in all its bits: the prefix alone would let IPv6 claim what is no Agent's. */
KK_INLINE int kk_is_agent(const volatile struct kk_settings *set, __u8 family,
			  const struct kk_in6 *address)
{
	return kk_in_pool4(set, address->word[3]) &&
	       (family == KK_IP4 || kk_in_pool6(set, address));
}

KK_INLINE int kk_is_martian(__u8 family, const struct kk_in6 *address)
{
	return family == KK_IP6 ? kk_is_martian6(address) : kk_is_martian4(address->word[3]);
}

/* Whether @address is this gateway's in the /24 of the Agent @agent. */
KK_INLINE int kk_is_gateway(const volatile struct kk_settings *set, __u8 family, __be32 agent,
			    const struct kk_in6 *address)
{
	return set->host && address->word[3] == ((agent & KK_AGENT_MASK) | set->host) &&
	       (family == KK_IP4 || kk_in_pool6(set, address));
}

/* Both in the /24 of one Agent. */
KK_INLINE int kk_same_agent(__be32 a, __be32 b)
{
	return ((a ^ b) & KK_AGENT_MASK) == 0;
}

/* The managed address with @slot; its last word, and of IPv6 its first, is 0 where there is none. */
KK_INLINE struct kk_in6 kk_public_address(const volatile struct kk_settings *set, __u8 family,
					  __u32 slot)
{
	const volatile struct kk_in6 *in6;

	slot = slot / 2 % KK_ADDRESSES_MAX;
	if (family == KK_IP4)
		return kk_mapped(set->address4[slot]);
	in6 = &set->address6[slot];
	return (struct kk_in6){{in6->word[0], in6->word[1], in6->word[2], in6->word[3]}};
}

KK_INLINE int kk_is_none(__u8 family, const struct kk_in6 *address)
{
	return !address->word[family == KK_IP6 ? 0 : 3];
}

/* The slot of a managed address, or -1. */
KK_INLINE int kk_find_address(const volatile struct kk_settings *set, __u8 family,
			      const struct kk_in6 *address)
{
	KK_UNROLL
	for (__u32 i = 0; i < KK_ADDRESSES_MAX; i++) {
		const struct kk_in6 managed = kk_public_address(set, family, kk_slot(family, i));

		if (kk_is_none(family, &managed))
			break;
		if (kk_same_address(family, &managed, address))
			return (int)kk_slot(family, i);
	}
	return -1;
}

/* The Agent's address in a listener's word. */
KK_INLINE struct kk_in6 kk_agent_address(const volatile struct kk_settings *set, __u8 family,
					 __u64 word)
{
	__be32 agent = set->pool | KK_BE32(kk_listener_agent(word));

	if (family == KK_IP4)
		return kk_mapped(agent);
	return (struct kk_in6){{set->pool6.word[0], set->pool6.word[1], set->pool6.word[2], agent}};
}

/* The listener at a port of the public address with @slot; 0: nothing is published there. */
KK_INLINE __u64 kk_match_listener(const struct kk_packet *pkt, __u32 slot, __u8 protocol,
				  __be16 port)
{
	return kk_env_listener(pkt, kk_listener_index(slot, protocol, KK_HOST16(port)));
}

/*
 * Listener @word with the Agent that a flow goes to in place of the group, where it leads to one. @public_port
 * is the listener's own.
 */
KK_INLINE __u64 kk_pick_member(const struct kk_packet *pkt, __u64 word, const struct kk_in6 *client,
			       __be16 client_port, __be16 public_port, __u8 protocol)
{
	const volatile struct kk_settings *set = kk_env_settings(pkt);
	__u32 group = kk_listener_agent(word), hash;

	if (!KK_RARELY(word & KK_LISTENER_GROUP))
		return word;
	hash = kk_flow_hash(set->flow_key, client, client_port, public_port, protocol);
	word &= ~(KK_LISTENER_GROUP | 0xffffffULL);
	return word | kk_env_group(pkt, group * KK_MAGLEV_SIZE + kk_maglev_index(hash));
}

/*
 * The listener at an Agent's port of the first address, if it leads to that port of this Agent alone: then it is the port that
 * stands for the Agent's; 0: it is not.
 */
KK_INLINE __u64 kk_match_same(const struct kk_packet *pkt, __u8 family, __u8 protocol, __be32 agent,
			      __be16 port)
{
	__u32 offset = kk_pool_offset(agent, kk_env_settings(pkt)->pool_mask);
	__u64 same = kk_match_listener(pkt, kk_slot(family, 0), protocol, port);

	/* Agent, port and no group, in one comparison. */
	if ((same ^ kk_listener_word(offset, KK_HOST16(port), 0, 0)) & KK_LISTENER_TO_MASK)
		return 0;
	return same;
}

/* The public port that stands for one of an Agent's; port 0: it is not published. */
KK_INLINE struct kk_origin kk_match_origin(const struct kk_packet *pkt, __u8 family, __u8 protocol,
					   __be32 agent, __be16 port)
{
	struct kk_origin_key key = {
		.address = agent,
		.port = port,
		.protocol = protocol,
		.family = family,
	};
	__u64 same = kk_match_same(pkt, family, protocol, agent, port);

	if (same)
		return (struct kk_origin){.port = port,
					  .slot = (__u16)kk_slot(family, 0),
					  .service = kk_listener_service(same)};
	return kk_env_origin(pkt, &key);
}

/*
 * Without any state: can this be the answer to a connection that the other side opened? A segment
 * that opens one has SYN and no ACK; every other one has ACK or RST (RFC 9293 section 3.10.7).
 */
KK_INLINE int kk_tcp_answers(const struct kk_flow *flow)
{
	if (flow->tcp_flags & KK_TCP_ACK)
		return 1;
	return (flow->tcp_flags & (KK_TCP_RST | KK_TCP_SYN)) == KK_TCP_RST;
}

/* What a listener that drains does not take: of UDP it cannot be told what goes on. */
KK_INLINE int kk_begins(const struct kk_flow *flow)
{
	if (flow->protocol != KK_TCP)
		return 1;
	return (flow->tcp_flags & (KK_TCP_SYN | KK_TCP_ACK)) == KK_TCP_SYN;
}

#endif
