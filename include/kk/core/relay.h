/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Datagrams of two nodes that cannot reach each other, passed on between them as they are: both send to a port of ours
 * that was given to their session. What cannot be done with it: both ends have to be entered, with address and port;
 * nothing is sent to an end that nothing came from; one datagram goes out for one that came in, as long as it was; an
 * entry ends by itself.
 */
#ifndef KK_CORE_RELAY_H
#define KK_CORE_RELAY_H

#include <kk/core/csum.h>
#include <kk/core/edge_env.h>
#include <kk/core/parse.h>
#include <kk/core/rewrite.h>

#define KK_UDP_CHECK 6 /* offset in the header */

KK_INLINE int kk_relay_lives(const struct kk_relay *relay, __u64 now)
{
	return relay && *(const volatile __u64 *)&relay->until > now;
}

/* @peer as it was entered; its port and the one of ours, in one. */
KK_INLINE int kk_relay_ports(struct kk_packet *pkt, const struct kk_flow *flow,
			     const struct kk_relay *from)
{
	__be16 ports[2] = {from->at, from->peer_port};

	if (kk_env_csum(pkt, flow->l4 + KK_UDP_CHECK, KK_RAW(flow->port.source), KK_RAW(ports[0]),
			2, KK_CSUM_ZERO_IS_NONE) ||
	    kk_env_csum(pkt, flow->l4 + KK_UDP_CHECK, KK_RAW(flow->port.dest), KK_RAW(ports[1]), 2,
			KK_CSUM_ZERO_IS_NONE))
		return -1;
	return kk_env_store(pkt, flow->l4, ports, sizeof(ports));
}

/*
 * From the managed address that it came to, to the other end. The destination becomes the source: in the sums only the
 * source is replaced, by the peer.
 */
KK_INLINE int kk_relay_rewrite4(struct kk_packet *pkt, struct kk_flow *flow,
				const struct kk_relay *from)
{
	__be32 source = flow->ip4.source, peer = from->peer.word[3];

	if (kk_env_csum(pkt, flow->l4 + KK_UDP_CHECK, KK_RAW(source), KK_RAW(peer), sizeof(peer),
			KK_CSUM_PSEUDO | KK_CSUM_ZERO_IS_NONE) ||
	    kk_relay_ports(pkt, flow, from))
		return -1;
	flow->ip4.source = flow->ip4.dest;
	flow->ip4.dest = source;
	return kk_rewrite_ip4(pkt, &flow->ip4, &flow->ip4.dest, peer);
}

#define KK_IP6_SOURCE 8 /* offset in the header */

KK_INLINE int kk_relay_rewrite6(struct kk_packet *pkt, struct kk_flow *flow,
				const struct kk_relay *from)
{
	const struct kk_in6 peer = from->peer, ours = flow->ip6.dest;

	if (kk_env_csum6(pkt, flow->l4 + KK_UDP_CHECK, kk_csum_diff6(&flow->ip6.source, &peer),
			 KK_CSUM_ZERO_IS_NONE) ||
	    kk_relay_ports(pkt, flow, from) ||
	    kk_env_store(pkt, KK_IP6_SOURCE, &ours, sizeof(ours)))
		return -1;
	return kk_rewrite_ip6(pkt, &flow->ip6, &flow->ip6.dest, &peer);
}

/* Of a datagram from an end that was entered, to where the other one is. */
KK_INLINE enum kk_reason kk_relay_on(struct kk_packet *pkt, __u8 family, struct kk_flow *flow,
				     struct kk_relay *from, const struct kk_relay *to)
{
	if (kk_hops(family, flow) <= 1)
		return KK_REASON_TTL;
	if (family == KK_IP6 ? kk_relay_rewrite6(pkt, flow, from)
			     : kk_relay_rewrite4(pkt, flow, from))
		return KK_REASON_HOST;
	if (kk_env_to(pkt, to))
		return KK_REASON_HOST;
	__sync_fetch_and_add(&from->packets, 1);
	__sync_fetch_and_add(&from->bytes, flow->len);
	return KK_REASON_RELAYED;
}

/* The sender's entry, NULL if it has none; @ret_to that of the other end, if it can be sent to. */
KK_INLINE struct kk_relay *kk_match_relay(const struct kk_packet *pkt,
					  const struct kk_relay_key *key, __u64 now,
					  const struct kk_relay **ret_to)
{
	struct kk_relay *from = kk_env_relay(pkt, key), *to;
	struct kk_relay_key other;

	if (!kk_relay_lives(from, now))
		return NULL;
	kk_env_hear(pkt, from);
	other = (struct kk_relay_key){
		.address = from->peer, .port = from->peer_port, .at = from->at};
	to = kk_env_relay(pkt, &other);
	*ret_to = kk_relay_lives(to, now) && to->ifindex ? to : NULL;
	return from;
}

#endif
