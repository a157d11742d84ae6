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
#include <kk/core/plain.h>

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

KK_INLINE int kk_run(struct xdp_md *xdp, __u8 family, enum kk_direction direction, int edge)
{
	struct kk_packet pkt = {.xdp = xdp};
	enum kk_reason reason = KK_EDGE_ON;

	if (kk_frame(&pkt) != family)
		return XDP_PASS;
	if (edge)
		reason = kk_edge(&pkt, family, KK_EDGE_CHECKS | KK_EDGE_RELAY);
	return kk_action(reason == KK_EDGE_ON ? kk_forward(&pkt, family, direction) : reason);
}

/* Each family apart, as at tc. */
#define KK_FAMILIES(name, direction, edge)                                                         \
	__noinline int name##4(struct xdp_md * xdp)                                                \
	{                                                                                          \
		return kk_run(xdp, KK_IP4, direction, edge);                                       \
	}                                                                                          \
	__noinline int name##6(struct xdp_md * xdp)                                                \
	{                                                                                          \
		return kk_run(xdp, KK_IP6, direction, edge);                                       \
	}                                                                                          \
	KK_INLINE int name(struct xdp_md *xdp)                                                     \
	{                                                                                          \
		struct kk_packet pkt = {.xdp = xdp};                                               \
                                                                                                   \
		return kk_frame(&pkt) == KK_IP6 ? name##6(xdp) : name##4(xdp);                     \
	}

KK_FAMILIES(kk_public, KK_INBOUND, 0)
KK_FAMILIES(kk_both, KK_INBOUND, 1)
KK_FAMILIES(kk_tunnel, KK_OUTBOUND, 0)

SEC("xdp.frags")
int kk_xdp_public(struct xdp_md *xdp)
{
	struct kk_packet pkt = {.xdp = xdp};
	enum kk_reason reason = kk_plain(&pkt, KK_INBOUND, 0);

	return reason == KK_NOT_PLAIN ? kk_public(xdp) : kk_action(reason);
}

/* Edge and forwarding in one: everything that happens to a packet from outside. */
SEC("xdp.frags")
int kk_xdp_both(struct xdp_md *xdp)
{
	struct kk_packet pkt = {.xdp = xdp};
	enum kk_reason reason = kk_plain(&pkt, KK_INBOUND, 1);

	return reason == KK_NOT_PLAIN ? kk_both(xdp) : kk_action(reason);
}

SEC("xdp.frags")
int kk_xdp_tunnel(struct xdp_md *xdp)
{
	struct kk_packet pkt = {.xdp = xdp};
	enum kk_reason reason = kk_plain(&pkt, KK_OUTBOUND, 0);

	return reason == KK_NOT_PLAIN ? kk_tunnel(xdp) : kk_action(reason);
}

char kk_license[] SEC("license") = "GPL";
