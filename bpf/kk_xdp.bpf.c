// SPDX-License-Identifier: GPL-2.0
/*
 * The edge at XDP: what may not pass dies here, before there is a packet to the kernel; the rest goes on to tc, where it is
 * forwarded. Also for packets in several buffers (jumbo frames).
 */
#define KK_HOST_XDP

#include "bpf/env.h"
#include "bpf/env_edge.h"
#include "bpf/xdp_frame.h"
#include <kk/core/edge.h>

/* KK_EDGE_*: what is left to tc is not in it. */
const volatile __u32 kk_edge_part = KK_EDGE_CHECKS | KK_EDGE_RELAY;

SEC("xdp.frags")
int kk_xdp(struct xdp_md *xdp)
{
	struct kk_packet pkt = {.xdp = xdp};
	enum kk_reason reason;

	if (!kk_frame_is_ours(&pkt))
		return XDP_PASS;
	reason = kk_edge(&pkt, kk_edge_part);
	if (reason == KK_EDGE_ON)
		return XDP_PASS;
	if (kk_verdict(reason) != KK_BACK)
		return XDP_DROP;
	return pkt.out == xdp->ingress_ifindex ? XDP_TX : (int)bpf_redirect(pkt.out, 0);
}

char kk_license[] SEC("license") = "GPL";
