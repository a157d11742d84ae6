// SPDX-License-Identifier: GPL-2.0
#include "kmod/output.h"

#include <linux/netfilter.h>
#include <net/addrconf.h>
#include <net/ip.h>
#include <net/ip6_fib.h>
#include <net/ip6_route.h>
#include <net/ipv6_stubs.h>
#include <net/netfilter/nf_conntrack.h>
#include <net/route.h>

#include "kmod/compat.h"
#include "kmod/nexthop.h"
#include "kmod/trace.h"

void kk_drop(struct sk_buff *skb)
{
	kfree_skb(skb);
}

/* What a packet remembers of how it came in is not to go out with it. */
static void forget(struct sk_buff *skb, struct net_device *dev)
{
	skb_dst_drop(skb);
	skb_clear_tstamp(skb);
	skb->pkt_type = PACKET_HOST;
	skb->dev = dev;
	nf_reset_ct(skb);
	nf_ct_set(skb, NULL, IP_CT_UNTRACKED);
}

static struct dst_entry *route4(struct net *net, const struct sk_buff *skb, int ifindex)
{
	struct flowi4 fl = {
		.daddr = ip_hdr(skb)->daddr,
		.saddr = ip_hdr(skb)->saddr,
		.flowi4_oif = ifindex,
		.flowi4_mark = skb->mark,
		.flowi4_flags = FLOWI_FLAG_ANYSRC,
	};
	struct rtable *rt = ip_route_output_key(net, &fl);

	return IS_ERR(rt) ? ERR_CAST(rt) : &rt->dst;
}

static struct dst_entry *route6(struct net *net, const struct sk_buff *skb, int ifindex)
{
	struct flowi6 fl = {
		.daddr = ipv6_hdr(skb)->daddr,
		.saddr = ipv6_hdr(skb)->saddr,
		.flowi6_oif = ifindex,
		.flowi6_mark = skb->mark,
		.flowi6_flags = FLOWI_FLAG_ANYSRC,
	};

	return ipv6_stub->ipv6_dst_lookup_flow(net, NULL, &fl, NULL);
}

/* By the stack's output, which finds the neighbour and cuts what is too long for the link. */
static void output_routed(struct net *net, struct sk_buff *skb, struct net_device *dev)
{
	bool v4 = skb->protocol == htons(ETH_P_IP);
	struct dst_entry *dst;

	forget(skb, dev);
	if (v4 && likely(kk_nexthop_output(net, skb)))
		return;
	dst = v4 ? route4(net, skb, dev->ifindex) : route6(net, skb, dev->ifindex);
	if (IS_ERR(dst)) {
		trace_kk_no_route(skb, PTR_ERR(dst));
		kk_drop(skb);
		return;
	}
	skb_dst_set(skb, dst);
	if (v4)
		IPCB(skb)->flags |= IPSKB_FORWARDED;
	else
		IP6CB(skb)->flags |= IP6SKB_FORWARDED;
	dst_output(net, NULL, skb);
}

void kk_output_nic(struct kk_net *kn, const struct kk_tables *tables, struct sk_buff *skb)
{
	struct net_device *dev = rcu_dereference(kn->place[KK_INBOUND].dev);

	if (likely(dev))
		output_routed(kn->net, skb, dev);
	else
		kk_drop(skb);
}

static unsigned int link_mtu(const struct dst_entry *dst)
{
	return READ_ONCE(dst->dev->mtu);
}

static struct dst_ops link_ops = {.family = AF_UNSPEC, .mtu = link_mtu};

static int send_piece(struct net *net, struct sock *sk, struct sk_buff *skb)
{
	forget(skb, skb_dst(skb)->dev);
	skb_reset_mac_header(skb);
	return dev_queue_xmit(skb);
}

/* In pieces, by a route that is nothing but the device: the host needs none to the Agents. */
static void output_in_pieces(struct net *net, struct sk_buff *skb, struct net_device *dev)
{
	union {
		struct dst_entry dst;
		struct rtable v4;
		struct rt6_info v6;
	} route;

	memset(&route, 0, sizeof(route));
	kk_dst_init(&route.dst, &link_ops);
	route.dst.dev = dev;
	skb_dst_drop(skb);
	skb_dst_set_noref(skb, &route.dst);
	skb->dev = dev;
	skb->ignore_df = 1;
	if (skb->protocol == htons(ETH_P_IP))
		ip_do_fragment(net, NULL, skb, send_piece);
	else
		ipv6_stub->ipv6_fragment(net, NULL, skb, send_piece);
}

/* A layer-3 device takes the packet as it is. */
void kk_output_tunnel(struct kk_net *kn, const struct kk_tables *tables, struct sk_buff *skb)
{
	struct net_device *dev = rcu_dereference(kn->place[KK_OUTBOUND].dev);

	if (unlikely(!dev || !(dev->flags & IFF_UP))) {
		kk_drop(skb);
		return;
	}
	if (unlikely(skb->len > READ_ONCE(dev->mtu) && !skb_is_gso(skb))) {
		output_in_pieces(kn->net, skb, dev);
		return;
	}
	forget(skb, dev);
	skb_reset_mac_header(skb);
	dev_queue_xmit(skb);
}
