// SPDX-License-Identifier: GPL-2.0
/*
 * The forwarding core at XDP, between devices that both have Ethernet headers. A gateway does not use it, because WireGuard
 * wants an skb: it shows that the core is the same there, and what it costs.
 */
#define KK_HOST_XDP

#include "bpf/env.h"
#include "bpf/env_edge.h"
#include "bpf/xdp_frame.h"
#include <kk/core/edge.h>

KK_INLINE int kk_action(enum kk_reason reason)
{
	switch (kk_verdict(reason)) {
	case KK_PASS:
		return XDP_PASS;
	case KK_TO_TUNNEL:
		return (int)bpf_redirect(kk_tunnel_ifindex, 0);
	case KK_TO_NIC:
	case KK_BACK:
		return XDP_TX;
	default:
		return XDP_DROP;
	}
}

SEC("xdp.frags")
int kk_xdp_public(struct xdp_md *xdp)
{
	struct kk_packet pkt = {.xdp = xdp};

	if (!kk_frame_is_ours(&pkt))
		return XDP_PASS;
	return kk_action(kk_forward(&pkt, KK_INBOUND));
}

SEC("xdp.frags")
int kk_xdp_tunnel(struct xdp_md *xdp)
{
	struct kk_packet pkt = {.xdp = xdp};

	if (!kk_frame_is_ours(&pkt))
		return XDP_PASS;
	return kk_action(kk_forward(&pkt, KK_OUTBOUND));
}

/* Edge and forwarding in one: everything that happens to a packet from outside. */
SEC("xdp.frags")
int kk_xdp_both(struct xdp_md *xdp)
{
	struct kk_packet pkt = {.xdp = xdp};
	enum kk_reason reason;

	if (!kk_frame_is_ours(&pkt))
		return XDP_PASS;
	reason = kk_edge(&pkt, KK_EDGE_CHECKS | KK_EDGE_RELAY);
	return kk_action(reason == KK_EDGE_ON ? kk_forward(&pkt, KK_INBOUND) : reason);
}

char kk_license[] SEC("license") = "GPL";
