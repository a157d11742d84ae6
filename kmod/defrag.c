// SPDX-License-Identifier: GPL-2.0
#include "kmod/defrag.h"

#include <net/ip.h>
#include <net/ipv6.h>
#include <net/ipv6_frag.h>
#include <net/netfilter/ipv6/nf_defrag_ipv6.h>

/* Fragments are kept apart by who wants them: the last conntrack zone, which nobody uses, is ours. */
#define KK_DEFRAG_USER4 (IP_DEFRAG_CONNTRACK_IN + USHRT_MAX)
#define KK_DEFRAG_USER6 (IP6_DEFRAG_CONNTRACK_IN + USHRT_MAX)

static bool is_managed4(const struct kk_settings *set, __be32 address)
{
	for (int i = 0; i < KK_ADDRESSES_MAX && set->address4[i]; i++)
		if (set->address4[i] == address)
			return true;
	return false;
}

static enum kk_defrag defrag4(struct net *net, const struct kk_tables *tables, struct sk_buff *skb,
			      enum kk_direction direction)
{
	if (!ip_is_fragment(ip_hdr(skb)))
		return KK_DEFRAG_WHOLE;
	if (direction == KK_INBOUND && !is_managed4(&tables->set, ip_hdr(skb)->daddr))
		return KK_DEFRAG_PASS;
	if (ip_defrag(net, skb, KK_DEFRAG_USER4))
		return KK_DEFRAG_STOLEN;
	skb->ignore_df = 1; /* it came in pieces, and may leave so */
	return KK_DEFRAG_JOINED;
}

static bool is_managed6(const struct kk_settings *set, const struct in6_addr *address)
{
	static const struct kk_in6 none;

	for (int i = 0; i < KK_ADDRESSES_MAX; i++) {
		if (!memcmp(&set->address6[i], &none, sizeof(none)))
			return false;
		if (!memcmp(&set->address6[i], address, sizeof(*address)))
			return true;
	}
	return false;
}

static enum kk_defrag defrag6(struct net *net, const struct kk_tables *tables, struct sk_buff *skb,
			      enum kk_direction direction)
{
	unsigned int offset = 0;
	int flags = 0;

	if (ipv6_find_hdr(skb, &offset, NEXTHDR_FRAGMENT, NULL, &flags) < 0)
		return KK_DEFRAG_WHOLE;
	if (direction == KK_INBOUND && !is_managed6(&tables->set, &ipv6_hdr(skb)->daddr))
		return KK_DEFRAG_PASS;
	switch (nf_ct_frag6_gather(net, skb, KK_DEFRAG_USER6)) {
	case 0:
		return KK_DEFRAG_JOINED;
	case -EINPROGRESS:
		return KK_DEFRAG_STOLEN;
	default:
		return KK_DEFRAG_PASS; /* it cannot be a fragment: the stack tells its sender */
	}
}

enum kk_defrag kk_defrag(struct net *net, const struct kk_tables *tables, struct sk_buff *skb,
			 enum kk_direction direction)
{
	return skb->protocol == htons(ETH_P_IP) ? defrag4(net, tables, skb, direction)
						: defrag6(net, tables, skb, direction);
}

u32 kk_defrag_longest(const struct sk_buff *skb)
{
	return skb->protocol == htons(ETH_P_IP) ? IPCB(skb)->frag_max_size
						: IP6CB(skb)->frag_max_size;
}
