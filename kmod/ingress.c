// SPDX-License-Identifier: GPL-2.0
#include "kmod/ingress.h"

#include <linux/if_vlan.h>
#include <linux/netfilter.h>
#include <linux/rtnetlink.h>
#include <net/ip.h>

#include "kmod/output.h"
#include "kmod/plain.h"
#include "kmod/trace.h"

/* What the stack would see to before it lets go of a packet. */
static __always_inline bool is_candidate(const struct sk_buff *skb)
{
	return skb->protocol == htons(ETH_P_IP) && skb->pkt_type == PACKET_HOST &&
	       !skb_vlan_tag_present(skb) && !skb_shared(skb);
}

/* The shortest frames of Ethernet may be longer than what is in them: they are cut as ip_rcv() does it. */
static __always_inline void cut_padding(struct sk_buff *skb)
{
	unsigned int len;

	if (likely(skb->len > ETH_ZLEN - ETH_HLEN || skb_headlen(skb) < sizeof(struct iphdr)))
		return;
	len = ntohs(ip_hdr(skb)->tot_len);
	if (len >= sizeof(struct iphdr) && len < skb->len)
		pskb_trim_rcsum(skb, len); /* to no avail: it is not plain then */
}

static __always_inline unsigned int forward(struct kk_net *kn, struct sk_buff *skb,
					    enum kk_direction direction)
{
	const struct kk_tables *tables = rcu_dereference(kn->tables);
	struct kk_work work;
	struct kk_packet pkt = {.skb = skb, .tables = tables, .net = kn, .work = &work};
	enum kk_reason reason;

	if (unlikely(!tables || !is_candidate(skb)))
		return NF_ACCEPT;
	if (direction == KK_INBOUND)
		cut_padding(skb);
	work.flow = NULL; /* nothing else of it is asked for */
	reason = kk_decide_plain(&pkt, direction);
	if (reason == KK_NOT_PLAIN)
		return NF_ACCEPT;

	trace_kk_forward(skb, direction, reason);
	memset(IPCB(skb), 0, sizeof(*IPCB(skb)));
	skb_set_transport_header(skb, sizeof(struct iphdr));
	skb_orphan(skb);
	if (likely(reason == KK_REASON_INBOUND))
		kk_output_tunnel(kn, tables, skb);
	else if (likely(reason == KK_REASON_OUTBOUND))
		kk_output_nic(kn, tables, skb);
	else
		kk_drop(skb);
	return NF_STOLEN;
}

static unsigned int on_inbound(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	return forward(priv, skb, KK_INBOUND);
}

static unsigned int on_outbound(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	return forward(priv, skb, KK_OUTBOUND);
}

static struct net_device *place_dev(const struct kk_net *kn, enum kk_direction direction)
{
	return rtnl_dereference(kn->place[direction].dev);
}

/* After all others there: a filter of the administrator's, or tc, has had its turn. */
void kk_ingress_register(struct kk_net *kn, enum kk_direction direction)
{
	struct nf_hook_ops *ops = &kn->place[direction].ingress;
	int r;

	if (direction == KK_OUTBOUND && place_dev(kn, KK_INBOUND) == place_dev(kn, KK_OUTBOUND))
		return; /* as with the other hooks, everything there is inbound */
	*ops = (struct nf_hook_ops){
		.hook = direction == KK_INBOUND ? on_inbound : on_outbound,
		.dev = place_dev(kn, direction),
		.priv = kn,
		.pf = NFPROTO_NETDEV,
		.hooknum = NF_NETDEV_INGRESS,
		.priority = INT_MAX,
	};
	r = nf_register_net_hook(kn->net, ops);
	if (!r)
		return;
	netdev_notice(ops->dev, "no hook at its ingress (%d): plain packets take the long way\n",
		      r);
	ops->dev = NULL;
}

void kk_ingress_unregister(struct kk_net *kn, enum kk_direction direction)
{
	struct nf_hook_ops *ops = &kn->place[direction].ingress;

	if (ops->dev)
		nf_unregister_net_hook(kn->net, ops);
	ops->dev = NULL;
}
