/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Later fragments follow their first one, by the table of fragmented packets. */
#ifndef KK_CORE_FRAGMENT_H
#define KK_CORE_FRAGMENT_H

#include <kk/core/match.h>

/* What the fragments of a packet have in common. */
KK_INLINE void kk_fragment_key(__u8 family, const struct kk_flow *flow, struct kk_scratch *s)
{
	s->fragment_key.source = *kk_source(family, flow);
	s->fragment_key.dest = *kk_dest(family, flow);
	s->fragment_key.id = flow->id;
	s->fragment_key.protocol = family == KK_IP4 ? flow->protocol : 0;
	__builtin_memset(s->fragment_key.zero, 0, sizeof(s->fragment_key.zero));
}

/*
 * Later fragments of this packet belong to public port @port of the address with @slot. @client is NULL unless the
 * packet does not name it.
 */
KK_INLINE int kk_remember(const struct kk_packet *pkt, __u8 family, const struct kk_flow *flow,
			  __u32 slot, __be16 port, __be16 peer_port, const struct kk_in6 *client)
{
	struct kk_scratch *s = kk_env_scratch(pkt);

	if (!s)
		return -1;
	kk_fragment_key(family, flow, s);
	s->fragment.port = port;
	s->fragment.peer_port = peer_port;
	s->fragment.slot = (__u8)slot;
	s->fragment.protocol = flow->protocol;
	s->fragment.zero = 0;
	if (client)
		s->fragment.client = *client;
	else
		__builtin_memset(&s->fragment.client, 0, sizeof(s->fragment.client));
	return kk_env_fragment_put(pkt, &s->fragment_key, &s->fragment);
}

/*
 * The listener that the first fragment of this packet belonged to, as it is now; 0: none. What was remembered is in
 * the scratch, to which @ret points afterwards.
 */
KK_INLINE __u64 kk_recall(const struct kk_packet *pkt, __u8 family, const struct kk_flow *flow,
			  const struct kk_fragment **ret)
{
	struct kk_scratch *s = kk_env_scratch(pkt);

	if (!s || (family == KK_IP4 && !kk_has_ports(flow->protocol)))
		return 0;
	kk_fragment_key(family, flow, s);
	s->fragment = kk_env_fragment(pkt, &s->fragment_key);
	*ret = &s->fragment;
	if (!s->fragment.port)
		return 0;
	return kk_match_listener(pkt, s->fragment.slot % KK_SLOTS_MAX, s->fragment.protocol,
				 s->fragment.port);
}

#endif
