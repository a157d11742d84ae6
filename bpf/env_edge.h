/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The edge's environment: what XDP and tc have in common, behind bpf/env.h of the one or the other. The Ethernet header of
 * a packet from outside is in front of its network header in both.
 */
#ifndef KK_BPF_ENV_EDGE_H
#define KK_BPF_ENV_EDGE_H

#include <kk/core/edge_env.h>

#include "bpf/edge_maps.h"
#include "bpf/socket.h"

KK_INLINE const volatile struct kk_edge_settings *kk_env_edge(const struct kk_packet *pkt)
{
	return &kk_edge_settings;
}

KK_INLINE int kk_env_wanted(const struct kk_packet *pkt, __u8 family, __u8 protocol,
			    const struct kk_in6 *source, const struct kk_in6 *dest,
			    __be16 source_port, __be16 dest_port)
{
	return kk_socket_wants(kk_context(pkt), family, protocol, source, dest, source_port,
			       dest_port);
}

KK_INLINE struct kk_flood *kk_env_flood(const struct kk_packet *pkt, __u32 service)
{
	return bpf_map_lookup_elem(&kk_floods, &service);
}

KK_INLINE __u64 kk_env_verified(const struct kk_packet *pkt, const struct kk_in6 *source)
{
	const __u64 *until = bpf_map_lookup_elem(&kk_verified, source);

	return until ? *until : 0;
}

KK_INLINE void kk_env_verify(const struct kk_packet *pkt, const struct kk_in6 *source, __u64 until)
{
	bpf_map_update_elem(&kk_verified, source, &until, BPF_ANY);
}

KK_INLINE struct kk_relay *kk_env_relay(const struct kk_packet *pkt, const struct kk_relay_key *key)
{
	return bpf_map_lookup_elem(&kk_relays, key);
}

/* Another frame of the same end may change them meanwhile: at worst one frame goes astray. */
KK_INLINE void kk_env_hear(const struct kk_packet *pkt, struct kk_relay *from)
{
	__u32 macs[3];

	if (kk_load_macs(pkt, macs))
		return;
	for (int i = 0; i < 3; i++)
		if (from->macs[i] != macs[i])
			from->macs[i] = macs[i];
	if (from->ifindex != kk_came_by(pkt))
		from->ifindex = kk_came_by(pkt);
}

/* The two addresses change places. */
KK_INLINE int kk_send_back(struct kk_packet *pkt, const __u32 macs[3], __u32 ifindex)
{
	const __u32 back[3] = {macs[1] >> 16 | macs[2] << 16, macs[2] >> 16 | macs[0] << 16,
			       macs[0] >> 16 | macs[1] << 16};

	pkt->out = ifindex;
	return kk_store_macs(pkt, back);
}

KK_INLINE int kk_env_back(struct kk_packet *pkt)
{
	__u32 macs[3];

	return kk_load_macs(pkt, macs) || kk_send_back(pkt, macs, kk_came_by(pkt));
}

KK_INLINE int kk_env_to(struct kk_packet *pkt, const struct kk_relay *to)
{
	return kk_send_back(pkt, to->macs, to->ifindex);
}

#endif
