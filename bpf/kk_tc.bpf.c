// SPDX-License-Identifier: GPL-2.0
/*
 * The forwarding core at tc, direct action: ingress of the public interface (Ethernet) and ingress
 * of the tunnel (layer 3). Routing and neighbours are looked up here, so that ip_forward may stay
 * off.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "bpf/env.h"
#include "bpf/env_edge.h"
#include <kk/core/edge.h>
#include <kk/core/plain.h>

/* Untouched packets are left to the filters behind ours, if there are any. */
#define KK_TC_PASS TC_ACT_UNSPEC

#define KK_VLAN_ID 0x0fff /* IEEE 802.1Q: the rest of the tag is priority */

KK_INLINE int kk_act(enum kk_reason reason)
{
	switch (kk_verdict(reason)) {
	case KK_PASS:
		return KK_TC_PASS;
	case KK_TO_TUNNEL:
		return bpf_redirect(kk_tunnel_ifindex, 0); /* takes the Ethernet header off */
	case KK_TO_NIC:
		return bpf_redirect_neigh(kk_public_ifindex, NULL, 0, 0);
	default:
		return TC_ACT_SHOT;
	}
}

/*
 * What of the edge is done here (KK_EDGE_*), because XDP does not do it. Changed by user space while the program
 * runs.
 */
volatile __u32 kk_edge_here = KK_EDGE_CHECKS | KK_EDGE_RELAY;

/* Whether packets are forwarded here. If not, they go on, behind the edge, to the kernel module. Changed like that. */
volatile __u32 kk_forward_here = 1;

#define KK_TC_ON (-2) /* no TC_ACT_* */

KK_INLINE int kk_edge_act(struct __sk_buff *skb, __u8 family)
{
	struct kk_packet pkt = {.skb = skb, .link = ETH_HLEN};
	const __u32 part = skb->vlan_present ? KK_EDGE_CHECKS | KK_EDGE_RELAY : kk_edge_here;
	enum kk_reason reason = kk_edge(&pkt, family, part);

	if (reason == KK_EDGE_ON)
		return KK_TC_ON;
	return kk_verdict(reason) == KK_BACK ? (int)bpf_redirect(pkt.out, 0) : TC_ACT_SHOT;
}

__noinline int kk_edge4(struct __sk_buff *skb)
{
	return kk_edge_act(skb, KK_IP4);
}

__noinline int kk_edge6(struct __sk_buff *skb)
{
	return kk_edge_act(skb, KK_IP6);
}

/*
 * IPv6 apart: to the verifier a function that is called costs what it costs once, whatever state its callers are
 * in. IPv4 is spared the call.
 */
__noinline int kk_public4(struct __sk_buff *skb)
{
	struct kk_packet pkt = {.skb = skb, .link = ETH_HLEN};

	return kk_act(kk_forward(&pkt, KK_IP4, KK_INBOUND));
}

__noinline int kk_public6(struct __sk_buff *skb)
{
	struct kk_packet pkt = {.skb = skb, .link = ETH_HLEN};

	return kk_act(kk_forward(&pkt, KK_IP6, KK_INBOUND));
}

__noinline int kk_tunnel4(struct __sk_buff *skb)
{
	struct kk_packet pkt = {.skb = skb};

	return kk_act(kk_forward(&pkt, KK_IP4, KK_OUTBOUND));
}

__noinline int kk_tunnel6(struct __sk_buff *skb)
{
	struct kk_packet pkt = {.skb = skb};

	return kk_act(kk_forward(&pkt, KK_IP6, KK_OUTBOUND));
}

/*
 * A tagged frame belongs to a VLAN device above this one, but for VLAN 0, which is a priority and no
 * VLAN; a flooded one belongs to another machine.
 */
KK_INLINE int kk_is_for_us(const struct __sk_buff *skb)
{
	return !(skb->vlan_present && (skb->vlan_tci & KK_VLAN_ID)) && skb->pkt_type == PACKET_HOST;
}

/* XDP leaves frames with a tag in them alone, so what is ours of those is looked at here. */
KK_INLINE int kk_edge_is_here(const struct __sk_buff *skb)
{
	return kk_edge_here || skb->vlan_present;
}

SEC("tc")
int kk_tc_public(struct __sk_buff *skb)
{
	struct kk_packet pkt = {.skb = skb, .link = ETH_HLEN};
	enum kk_reason reason;
	int act = KK_TC_ON;

	if (kk_is_for_us(skb)) {
		if (skb->protocol == KK_BE16(ETH_P_IP)) {
			if (kk_edge_is_here(skb))
				act = kk_edge4(skb);
			if (act != KK_TC_ON)
				return act;
			if (!kk_forward_here)
				return KK_TC_PASS;
			reason = kk_plain(&pkt, KK_INBOUND, 0);
			return reason == KK_NOT_PLAIN ? kk_public4(skb) : kk_act(reason);
		}
		if (skb->protocol == KK_BE16(ETH_P_IPV6)) {
			if (kk_edge_is_here(skb))
				act = kk_edge6(skb);
			if (act != KK_TC_ON)
				return act;
			return kk_forward_here ? kk_public6(skb) : KK_TC_PASS;
		}
	}
	kk_env_count(&pkt, KK_REASON_NOT_OURS, kk_env_len(&pkt));
	return KK_TC_PASS;
}

SEC("tc")
int kk_tc_tunnel(struct __sk_buff *skb)
{
	struct kk_packet pkt = {.skb = skb};
	enum kk_reason reason;
	__u8 version = 0;

	if (!kk_forward_here)
		return KK_TC_PASS;
	reason = kk_plain(&pkt, KK_OUTBOUND, 0);
	if (reason != KK_NOT_PLAIN)
		return kk_act(reason);
	if (kk_env_load(&pkt, 0, &version, sizeof(version)) == 0 && version >> 4 == KK_IP6)
		return kk_tunnel6(skb);
	return kk_tunnel4(skb);
}

char kk_license[] SEC("license") = "GPL";
