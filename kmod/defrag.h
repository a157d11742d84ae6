/* SPDX-License-Identifier: GPL-2.0 */
/* Fragments of what may be ours are put together before the core sees them. */
#ifndef KK_KMOD_DEFRAG_H
#define KK_KMOD_DEFRAG_H

#include <linux/skbuff.h>

#include "kmod/tables.h"

enum kk_defrag {
	KK_DEFRAG_WHOLE,  /* it is no fragment */
	KK_DEFRAG_JOINED, /* it is all of them in one packet now, kk_defrag_longest() the longest */
	KK_DEFRAG_STOLEN, /* waits for the others */
	KK_DEFRAG_PASS,	  /* a fragment that is not ours */
};

enum kk_defrag kk_defrag(struct net *net, const struct kk_tables *tables, struct sk_buff *skb,
			 enum kk_direction direction);

/* Bytes of the longest fragment of a packet that was put together. */
u32 kk_defrag_longest(const struct sk_buff *skb);

#endif
