/* SPDX-License-Identifier: GPL-2.0 */
/* Frames at XDP: Ethernet and IP, and how long they are. */
#ifndef KK_BPF_XDP_FRAME_H
#define KK_BPF_XDP_FRAME_H

#include "bpf/env.h"

/*
 * Bytes of the frame that can be read directly; those in further buffers are counted only where the IP header says that
 * there are more, which saves the call.
 */
KK_INLINE __u32 kk_frame_len(const struct kk_packet *pkt)
{
	const void *data = KK_XDP_FIELD(pkt->xdp, data), *end = KK_XDP_FIELD(pkt->xdp, data_end);
	__u32 linear = (__u32)(end - data), total;
	const struct kk_ip4 *ip = data + ETH_HLEN;

	if ((const void *)(ip + 1) > end)
		return linear;
	/* IPv6's payload length is where IPv4 has its id. */
	total = ip->version_ihl >> 4 == 4 ? KK_HOST16(ip->total) : KK_HOST16(ip->id) + 40u;
	if (KK_RARELY(total + ETH_HLEN > linear))
		return (__u32)bpf_xdp_get_buff_len(pkt->xdp);
	return linear;
}

/*
 * Readies an untagged frame with IP in it and returns its family; 0 for all others. A tagged one belongs to a VLAN device
 * above this one, or is left to tc, where the tag has been taken off.
 */
KK_INLINE __u8 kk_frame(struct kk_packet *pkt)
{
	const void *data = KK_XDP_FIELD(pkt->xdp, data), *end = KK_XDP_FIELD(pkt->xdp, data_end);
	const struct ethhdr *ethernet = data;
	__be16 protocol;

	if ((const void *)(ethernet + 1) > end)
		return 0;
	protocol = ethernet->h_proto;
	if (protocol != KK_BE16(ETH_P_IP) && protocol != KK_BE16(ETH_P_IPV6))
		return 0;
	pkt->link = ETH_HLEN;
	pkt->len = kk_frame_len(pkt) - ETH_HLEN;
	return protocol == KK_BE16(ETH_P_IP) ? KK_IP4 : KK_IP6;
}

#endif
