/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Later fragments follow their first one, by the table of fragmented packets. */
#ifndef KK_CORE_FRAGMENT_H
#define KK_CORE_FRAGMENT_H

#include <kk/core/match.h>

KK_INLINE struct kk_fragment_key kk_fragment_key(__u8 family, const struct kk_flow *flow)
{
	return (struct kk_fragment_key){.source = *kk_source(family, flow),
					.dest = *kk_dest(family, flow),
					.id = flow->id,
					.protocol = family == KK_IP4 ? flow->protocol : 0};
}

/* Later fragments of this packet belong to public port @port of the address with @slot. */
KK_INLINE int kk_remember(const struct kk_packet *pkt, __u8 family, const struct kk_flow *flow,
			  __u32 slot, __be16 port, __be16 peer_port)
{
	const struct kk_fragment_key key = kk_fragment_key(family, flow);
	const struct kk_fragment value = {.port = port,
					  .peer_port = peer_port,
					  .slot = (__u8)slot,
					  .protocol = flow->protocol};

	return kk_env_fragment_put(pkt, &key, &value);
}

/* The listener that the first fragment of this packet belonged to, as it is now; 0: none. */
KK_INLINE __u64 kk_recall(const struct kk_packet *pkt, __u8 family, const struct kk_flow *flow,
			  struct kk_fragment *ret)
{
	const struct kk_fragment_key key = kk_fragment_key(family, flow);

	if (family == KK_IP4 && !kk_has_ports(flow->protocol))
		return 0;
	*ret = kk_env_fragment(pkt, &key);
	if (!ret->port)
		return 0;
	return kk_match_listener(pkt, ret->slot % KK_SLOTS_MAX, ret->protocol, ret->port);
}

#endif
