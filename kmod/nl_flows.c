// SPDX-License-Identifier: GPL-2.0
/* Translated flows listed. */
#include "kmod/netlink.h"

#include <linux/slab.h>
#include <net/netlink.h>
#include <net/sock.h>

#include "kmod/compat.h"

static u32 idle_of(const struct kk_flow_entry *entry)
{
	s64 idle = ktime_get_ns() - READ_ONCE(entry->flow.seen);

	return idle > 0 ? div_u64(idle, NSEC_PER_SEC) : 0;
}

static int put_counts(struct sk_buff *skb, const struct kk_flow_entry *entry)
{
	return nla_put_u64_64bit(skb, KK_FLOW_A_IN_PACKETS,
				 atomic64_read(&entry->packets[KK_INBOUND]), KK_FLOW_A_PAD) ||
	       nla_put_u64_64bit(skb, KK_FLOW_A_IN_BYTES, atomic64_read(&entry->bytes[KK_INBOUND]),
				 KK_FLOW_A_PAD) ||
	       nla_put_u64_64bit(skb, KK_FLOW_A_OUT_PACKETS,
				 atomic64_read(&entry->packets[KK_OUTBOUND]), KK_FLOW_A_PAD) ||
	       nla_put_u64_64bit(skb, KK_FLOW_A_OUT_BYTES,
				 atomic64_read(&entry->bytes[KK_OUTBOUND]), KK_FLOW_A_PAD);
}

static int put_flow(struct sk_buff *skb, struct netlink_callback *cb,
		    const struct kk_flow_entry *entry)
{
	const struct kk_snat_flow flow = entry->flow;
	const struct kk_snat_key *key = &entry->key;
	struct nlattr *nest;
	void *header;

	header = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, &kk_family,
			     NLM_F_MULTI, KK_CMD_FLOW_GET);
	if (!header)
		return -EMSGSIZE;
	nest = nla_nest_start(skb, KK_A_FLOW);
	if (!nest || nla_put_in_addr(skb, KK_FLOW_A_AGENT, key->agent) ||
	    nla_put_u16(skb, KK_FLOW_A_AGENT_PORT, KK_HOST16(key->agent_port)) ||
	    nla_put_u16(skb, KK_FLOW_A_PORT, KK_HOST16(key->port)) ||
	    nla_put_u8(skb, KK_FLOW_A_PROTOCOL, key->protocol) ||
	    kk_put_address(skb, KK_FLOW_A_CLIENT, &flow.client) ||
	    nla_put_u16(skb, KK_FLOW_A_CLIENT_PORT, KK_HOST16(flow.client_port)) ||
	    nla_put_u8(skb, KK_FLOW_A_SLOT, flow.slot) ||
	    nla_put_u16(skb, KK_FLOW_A_PUBLIC_PORT, KK_HOST16(flow.public_port)) ||
	    nla_put_u32(skb, KK_FLOW_A_IDLE, idle_of(entry)) || put_counts(skb, entry)) {
		genlmsg_cancel(skb, header);
		return -EMSGSIZE;
	}
	nla_nest_end(skb, nest);
	genlmsg_end(skb, header);
	return 0;
}

static int read_filter(struct netlink_callback *cb, __be32 *agent)
{
	struct nlattr *nest = kk_dump_attrs(cb)[KK_A_FLOW], *attrs[KK_FLOW_A_MAX + 1];
	int r;

	*agent = 0;
	if (!nest)
		return 0;
	r = nla_parse_nested(attrs, KK_FLOW_A_MAX, nest, NULL, cb->extack);
	if (!r && attrs[KK_FLOW_A_AGENT])
		*agent = nla_get_in_addr(attrs[KK_FLOW_A_AGENT]);
	return r;
}

/* Where a dump is in the table, kept from one message to the next. */
struct walk {
	struct rhashtable_iter iter;
	bool done;
};

static struct walk *walk_of(struct netlink_callback *cb, struct kk_net *kn)
{
	struct walk *walk = (struct walk *)cb->args[0];

	if (walk)
		return walk;
	walk = kzalloc(sizeof(*walk), GFP_KERNEL);
	if (!walk)
		return NULL;
	rhashtable_walk_enter(&kn->flows.table, &walk->iter);
	cb->args[0] = (long)walk;
	return walk;
}

int kk_dump_flows_done(struct netlink_callback *cb)
{
	struct walk *walk = (struct walk *)cb->args[0];

	if (walk)
		rhashtable_walk_exit(&walk->iter);
	kfree(walk);
	return 0;
}

/* The table may change meanwhile: then a flow may come twice. */
int kk_dump_flows(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct kk_net *kn = kk_net_of(sock_net(cb->skb->sk));
	struct kk_flow_entry *entry;
	struct walk *walk;
	__be32 agent;
	int r;

	r = read_filter(cb, &agent);
	if (r || !smp_load_acquire(&kn->flows.ready))
		return r ?: skb->len;
	walk = walk_of(cb, kn);
	if (!walk)
		return -ENOMEM;
	if (walk->done)
		return skb->len;
	rhashtable_walk_start(&walk->iter);
	/* First the one that did not fit into the message before. */
	entry = rhashtable_walk_peek(&walk->iter);
	for (; entry; entry = rhashtable_walk_next(&walk->iter)) {
		if (IS_ERR(entry) || (agent && agent != entry->key.agent))
			continue;
		if (put_flow(skb, cb, entry))
			break;
	}
	walk->done = !entry;
	rhashtable_walk_stop(&walk->iter);
	return skb->len;
}
