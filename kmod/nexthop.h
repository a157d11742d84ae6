/* SPDX-License-Identifier: GPL-2.0 */
/* The route and neighbour step of IPv4 where both are plain to see: no reference is taken, and no other hook runs. */
#ifndef KK_KMOD_NEXTHOP_H
#define KK_KMOD_NEXTHOP_H

#include <linux/netdevice.h>
#include <linux/skbuff.h>

/*
 * Sends @skb, an IPv4 packet that has no route and no link header, out of its device. false, and nothing is done: it does not
 * fit, the neighbour is not known yet, or the route is of another kind; that is for the stack's output.
 */
bool kk_nexthop_output(struct net *net, struct sk_buff *skb);

#endif
