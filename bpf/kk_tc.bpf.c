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

/* Untouched packets are left to the filters behind ours, if there are any. */
#define KK_TC_PASS TC_ACT_UNSPEC

#define KK_VLAN_ID 0x0fff /* IEEE 802.1Q: the rest of the tag is priority */

/*
 * What of the edge is done here (KK_EDGE_*), because XDP does not do it. Changed by user space while the program
 * runs.
 */
volatile __u32 kk_edge_here = KK_EDGE_CHECKS | KK_EDGE_RELAY;

SEC("tc")
int kk_tc_public(struct __sk_buff *skb)
{
	struct kk_packet pkt = {.skb = skb, .link = ETH_HLEN};

	/*
	 * A tagged frame belongs to a VLAN device above this one, but for VLAN 0, which is a
	 * priority and no VLAN; a flooded one belongs to another machine.
	 */
	if (skb->protocol != KK_BE16(ETH_P_IP) ||
	    (skb->vlan_present && (skb->vlan_tci & KK_VLAN_ID)) || skb->pkt_type != PACKET_HOST) {
		kk_env_count(&pkt, KK_REASON_NOT_OURS, kk_env_len(&pkt));
		return KK_TC_PASS;
	}
	if (kk_edge_here) {
		enum kk_reason reason = kk_edge(&pkt, kk_edge_here);

		if (reason != KK_EDGE_ON)
			return kk_verdict(reason) == KK_BACK ? (int)bpf_redirect(pkt.out, 0)
							     : TC_ACT_SHOT;
	}
	switch (kk_verdict(kk_forward(&pkt, KK_INBOUND))) {
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

SEC("tc")
int kk_tc_tunnel(struct __sk_buff *skb)
{
	struct kk_packet pkt = {.skb = skb};

	switch (kk_verdict(kk_forward(&pkt, KK_OUTBOUND))) {
	case KK_PASS:
		return KK_TC_PASS;
	case KK_TO_NIC:
		return bpf_redirect_neigh(kk_public_ifindex, NULL, 0, 0);
	default:
		return TC_ACT_SHOT;
	}
}

char kk_license[] SEC("license") = "GPL";
