/* SPDX-License-Identifier: GPL-2.0 */
/* The last step of a forwarded packet: own route and neighbour, whatever ip_forward and rp_filter say. */
#ifndef KK_KMOD_OUTPUT_H
#define KK_KMOD_OUTPUT_H

#include <linux/skbuff.h>

#include "kmod/net.h"

/* Both take the packet. */
void kk_output_tunnel(struct kk_net *kn, const struct kk_tables *tables, struct sk_buff *skb);
void kk_output_nic(struct kk_net *kn, const struct kk_tables *tables, struct sk_buff *skb);
void kk_drop(struct sk_buff *skb);

#endif
