// SPDX-License-Identifier: GPL-2.0
#include "kmod/path.h"

#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6.h>

#include "kmod/decide.h"
#include "kmod/defrag.h"
#include "kmod/net.h"
#include "kmod/output.h"

#define CREATE_TRACE_POINTS
#include "kmod/trace.h"

/* What others may want to know of. */
static void tell(struct kk_net *kn, enum kk_reason reason, const struct kk_work *work)
{
	if (work->flow && kk_flows_are_scarce(&kn->flows))
		kk_event_flows(kn, KK_EVENT_FLOWS_SCARCE);
	if (likely(kk_verdict(reason) != KK_DROP))
		return;
	if (reason == KK_REASON_LIMITED_PACKETS)
		kk_event_limited(kn, KK_EVENT_LIMITED_PACKETS, &work->source);
	else if (reason == KK_REASON_LIMITED_CONNECTIONS)
		kk_event_limited(kn, KK_EVENT_LIMITED_CONNECTIONS, &work->source);
	else if (reason == KK_REASON_SNAT_EXHAUSTED)
		kk_event_flows(kn, KK_EVENT_FLOWS_FULL);
}

static unsigned int forward(struct kk_net *kn, const struct kk_tables *tables, struct sk_buff *skb,
			    enum kk_direction direction, bool in_pieces)
{
	struct kk_work work;
	struct kk_packet pkt = {
		.skb = skb, .tables = tables, .net = kn, .in_pieces = in_pieces, .work = &work};
	enum kk_reason reason;

	work.flow = NULL; /* the rest is filled before it is read */
	reason = skb->protocol == htons(ETH_P_IP) ? kk_decide(&pkt, KK_IP4, direction)
						  : kk_decide(&pkt, KK_IP6, direction);
	trace_kk_forward(skb, direction, reason);
	tell(kn, reason, &work);
	switch (kk_verdict(reason)) {
	case KK_PASS:
		return NF_ACCEPT;
	case KK_TO_TUNNEL:
		kk_output_tunnel(kn, tables, skb);
		return NF_STOLEN;
	case KK_TO_NIC:
	case KK_BACK:
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
