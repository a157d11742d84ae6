/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Which addresses are whose, and which listener a packet belongs to. */
#ifndef KK_CORE_MATCH_H
#define KK_CORE_MATCH_H

#include <kk/core/parse.h>

KK_INLINE int kk_in_pool(const volatile struct kk_settings *set, __be32 address)
{
	return (address & set->pool_mask) == set->pool;
}

/*
 * No unicast address of the internet: this network, loopback, link-local (there clouds serve a
 * machine's secrets), multicast and beyond (RFC 6890). The stack would have refused them, but it
 * does not see them.
 */
KK_INLINE int kk_is_martian(__be32 address)
{
	__u32 a = KK_HOST32(address);

	return a >> 24 == 0 || a >> 24 == 127 || a >> 16 == 0xa9fe || a >= 0xe0000000;
}

/* The address that this gateway has in the /24 of the Agent with address @agent. */
KK_INLINE int kk_is_gateway(const volatile struct kk_settings *set, __be32 agent, __be32 address)
{
	return set->host && address == ((agent & KK_AGENT_MASK) | set->host);
}

/* Both in the /24 of one Agent. */
KK_INLINE int kk_same_agent(__be32 a, __be32 b)
{
	return ((a ^ b) & KK_AGENT_MASK) == 0;
}

KK_INLINE int kk_has_ports(const struct kk_ip4 *ip)
{
	return ip->protocol == KK_TCP || ip->protocol == KK_UDP;
}

/* The slot of a managed address, or -1. */
KK_INLINE int kk_find_address4(const volatile struct kk_settings *set, __be32 address)
{
	KK_UNROLL
	for (__u32 i = 0; i < KK_ADDRESSES_MAX; i++) {
		__be32 managed = set->address4[i];

		if (!managed)
			break;
		if (managed == address)
			return (int)kk_slot(KK_IP4, i);
	}
	return -1;
}

/* The managed address with @slot; 0: there is none. */
KK_INLINE __be32 kk_address4(const volatile struct kk_settings *set, __u32 slot)
{
	return set->address4[slot / 2 % KK_ADDRESSES_MAX];
}

/* The Agent's address in a listener's word. */
KK_INLINE __be32 kk_agent_address(const volatile struct kk_settings *set, __u64 word)
{
	return set->pool | KK_BE32(kk_listener_agent(word));
}

/* The listener at a port of the public address with @slot; 0: nothing is published there. */
KK_INLINE __u64 kk_match_listener(const struct kk_packet *pkt, __u32 slot, __u8 protocol,
				  __be16 port)
{
	return kk_env_listener(pkt, kk_listener_index(slot, protocol, KK_HOST16(port)));
}

/* The public port that stands for one of an Agent's; port 0: it is not published. */
KK_INLINE struct kk_origin kk_match_origin(const struct kk_packet *pkt, __u8 protocol,
					   __be32 address, __be16 port)
{
	const volatile struct kk_settings *set = kk_env_settings(pkt);
	struct kk_origin_key key = {
		.address = address,
		.port = port,
		.protocol = protocol,
		.family = KK_IP4,
	};
	__u32 offset = kk_pool_offset(address, set->pool_mask);
	__u64 same = kk_match_listener(pkt, kk_slot(KK_IP4, 0), protocol, port);

	/* Agent, port and no group, in one comparison. */
	if (same &&
	    !((same ^ kk_listener_word(offset, KK_HOST16(port), 0, 0)) & KK_LISTENER_TO_MASK))
		return (struct kk_origin){.port = port,
					  .slot = kk_slot(KK_IP4, 0),
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

/*
 * Echo reply; destination unreachable (path MTU among them) and time exceeded about what the gateway
 * sent to this Agent, which is what they quote: RFC 792. The gateway's stack would take an error
 * about anything, and so the path MTU to anybody from it.
 */
KK_INLINE int kk_icmp_answers(const struct kk_packet *pkt, const struct kk_flow *flow)
{
	struct kk_ip4 quoted;
	__u8 header[8];

	if (kk_load_l4(pkt, flow, 0, header, sizeof(header)))
		return 0;
	if (header[0] == 0)
		return 1;
	if (header[0] != 3 && header[0] != 11)
		return 0;
	if (kk_load_l4(pkt, flow, sizeof(header), &quoted, sizeof(quoted)))
		return 0;
	return quoted.source == flow->ip.dest && quoted.dest == flow->ip.source;
}

#endif
