// SPDX-License-Identifier: GPL-2.0
#include "kmod/nexthop.h"

#include <net/arp.h>
#include <net/ip.h>
#include <net/ip_fib.h>
#include <net/l3mdev.h>

#include "kmod/compat.h"

/* As it is; what came in pieces leaves in such. */
static bool fits(const struct sk_buff *skb, unsigned int mtu)
{
	if (unlikely(IPCB(skb)->frag_max_size))
		return false;
	return skb->len <= mtu || (skb_is_gso(skb) && skb_gso_validate_network_len(skb, mtu));
}

/* The address of the neighbour that @skb goes to by its route; 0: there is none, or it needs more than a neighbour. */
static __be32 next_hop(struct net *net, const struct sk_buff *skb)
{
	struct flowi4 fl = {
		.daddr = ip_hdr(skb)->daddr,
		.saddr = ip_hdr(skb)->saddr,
		.flowi4_iif = LOOPBACK_IFINDEX,
		.flowi4_oif = skb->dev->ifindex,
		.flowi4_mark = skb->mark,
		.flowi4_scope = RT_SCOPE_UNIVERSE,
	};
	struct fib_result res;

	if (fib_lookup(net, &fl, &res, FIB_LOOKUP_NOREF) || res.type != RTN_UNICAST ||
	    res.nhc->nhc_dev != skb->dev || res.nhc->nhc_lwtstate ||
	    res.fi->fib_metrics->metrics[RTAX_MTU - 1])
		return 0;
	switch (res.nhc->nhc_gw_family) {
	case 0:
		return fl.daddr;
	case AF_INET:
		return res.nhc->nhc_gw.ipv4;
	default:
		return 0;
	}
}

bool kk_nexthop_output(struct net *net, struct sk_buff *skb)
{
	struct net_device *dev = skb->dev;
	struct neighbour *neighbour;
	bool sent = false;
	__be32 to;

	if (unlikely(!(dev->flags & IFF_UP) || netif_is_l3_slave(dev) ||
		     skb_headroom(skb) < LL_RESERVED_SPACE(dev) || !fits(skb, READ_ONCE(dev->mtu))))
		return false;
	rcu_read_lock_bh();
	to = next_hop(net, skb);
	neighbour = to ? __ipv4_neigh_lookup_noref(dev, (__force u32)to) : NULL;
	if (likely(neighbour && READ_ONCE(neighbour->nud_state) & NUD_VALID)) {
		neigh_output(neighbour, skb, false);
		sent = true;
	}
	rcu_read_unlock_bh();
	return sent;
}
