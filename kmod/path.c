// SPDX-License-Identifier: GPL-2.0
#include "kmod/path.h"

#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6.h>

#include "kmod/defrag.h"
#include "kmod/env.h"
#include "kmod/net.h"
#include "kmod/output.h"
#include <kk/core/forward.h>

#define CREATE_TRACE_POINTS
#include "kmod/trace.h"

static unsigned int forward(struct kk_net *kn, const struct kk_tables *tables, struct sk_buff *skb,
			    enum kk_direction direction, bool in_pieces)
{
	struct kk_scratch scratch;
	struct kk_packet pkt = {.skb = skb,
				.tables = tables,
				.net = kn,
				.in_pieces = in_pieces,
				.scratch = &scratch};
	enum kk_reason reason;
	enum kk_verdict verdict;

	/* A constant family in each call: the other one's half is left out. */
	reason = skb->protocol == htons(ETH_P_IP) ? kk_forward(&pkt, KK_IP4, direction)
						  : kk_forward(&pkt, KK_IP6, direction);
	verdict = kk_verdict(reason);
	trace_kk_forward(skb, direction, reason);
	switch (verdict) {
	case KK_PASS:
		return NF_ACCEPT;
	case KK_TO_TUNNEL:
		kk_output_tunnel(kn, tables, skb);
		return NF_STOLEN;
	case KK_TO_NIC:
		kk_output_nic(kn, tables, skb);
		return NF_STOLEN;
	default:
		kk_drop(skb);
		return NF_STOLEN;
	}
}

static unsigned int on_packet(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	struct kk_net *kn = kk_net_of(state->net);
	const struct kk_tables *tables = rcu_dereference(kn->tables);
	enum kk_direction direction;

	if (unlikely(!tables))
		return NF_ACCEPT;
	if (state->in == rcu_dereference(kn->place[KK_INBOUND].dev))
		direction = KK_INBOUND;
	else if (state->in == rcu_dereference(kn->place[KK_OUTBOUND].dev))
		direction = KK_OUTBOUND;
	else
		return NF_ACCEPT;
	switch (kk_defrag(state->net, tables, skb, direction)) {
	case KK_DEFRAG_WHOLE:
		return forward(kn, tables, skb, direction, false);
	case KK_DEFRAG_JOINED:
		return forward(kn, tables, skb, direction,
			       kk_defrag_longest(skb) <= tables->set.mtu || !tables->set.mtu);
	case KK_DEFRAG_STOLEN:
		return NF_STOLEN;
	default:
		return NF_ACCEPT;
	}
}

/* Before raw tables, defragmentation and conntrack, which never see what is forwarded. */
static const struct nf_hook_ops hooks[] = {
	{
		.hook = on_packet,
		.pf = NFPROTO_IPV4,
		.hooknum = NF_INET_PRE_ROUTING,
		.priority = NF_IP_PRI_RAW_BEFORE_DEFRAG - 1,
	},
	{
		.hook = on_packet,
		.pf = NFPROTO_IPV6,
		.hooknum = NF_INET_PRE_ROUTING,
		.priority = NF_IP6_PRI_RAW_BEFORE_DEFRAG - 1,
	},
};

int kk_path_register(struct net *net)
{
	return nf_register_net_hooks(net, hooks, ARRAY_SIZE(hooks));
}

void kk_path_unregister(struct net *net)
{
	nf_unregister_net_hooks(net, hooks, ARRAY_SIZE(hooks));
}
