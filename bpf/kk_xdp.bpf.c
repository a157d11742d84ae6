// SPDX-License-Identifier: GPL-2.0
/*
 * The edge at XDP: what may not pass dies here, before there is a packet to the kernel; the rest goes on to tc, where it is
 * forwarded.
 */
#define KK_HOST_XDP

#include "bpf/env.h"
#include "bpf/env_edge.h"
#include "bpf/xdp_frame.h"
#include <kk/core/edge.h>
#include <kk/core/plain_edge.h>

/* KK_EDGE_*: what is left to tc is not in it. */
const volatile __u32 kk_edge_part = KK_EDGE_CHECKS | KK_EDGE_RELAY;

KK_INLINE int kk_act(struct kk_packet *pkt, __u8 family)
{
	enum kk_reason reason = kk_edge(pkt, family, kk_edge_part);

	if (reason == KK_EDGE_ON)
		return XDP_PASS;
	if (kk_verdict(reason) != KK_BACK)
		return XDP_DROP;
	return pkt->out == kk_came_by(pkt) ? XDP_TX : (int)bpf_redirect(pkt->out, 0);
}

/* Apart, as at tc: IPv4 keeps its registers. */
__noinline int kk_xdp6(struct xdp_md *xdp)
{
	struct kk_packet pkt = {.xdp = xdp};

	return kk_frame(&pkt) ? kk_act(&pkt, KK_IP6) : XDP_PASS;
}

SEC("xdp")
int kk_xdp(struct xdp_md *xdp)
{
	struct kk_packet plain = {.xdp = xdp}, pkt = {.xdp = xdp};
	enum kk_reason reason;

	if ((kk_edge_part & KK_EDGE_CHECKS) && kk_plain_edge(&plain, &reason))
		return reason == KK_EDGE_ON ? XDP_PASS : XDP_DROP;
	switch (kk_frame(&pkt)) {
	case KK_IP4:
		return kk_act(&pkt, KK_IP4);
	case KK_IP6:
		return kk_xdp6(xdp);
	default:
		return XDP_PASS;
	}
}

char kk_license[] SEC("license") = "GPL";
