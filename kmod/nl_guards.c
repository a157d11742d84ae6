// SPDX-License-Identifier: GPL-2.0
/* Guards of services set, removed and listed. */
#include "kmod/netlink.h"

#include <linux/slab.h>
#include <net/netlink.h>
#include <net/sock.h>

#include "kmod/compat.h"
#include "kmod/module.h"

static int read_limit(const struct nlattr *rate, const struct nlattr *burst, struct kk_limit *limit,
		      struct netlink_ext_ack *extack)
{
	if (burst && !rate)
		return kk_refuse(extack, burst, "a burst without a rate");
	if (rate)
		*limit = (struct kk_limit){.rate = nla_get_u32(rate),
					   .burst = burst ? nla_get_u32(burst) : 1};
	return 0;
}

static u32 number_of(const struct nlattr *attr)
{
	return attr ? nla_get_u32(attr) : 0;
}

static int set_guard(struct kk_net *kn, struct kk_change *change, struct nlattr *const *attrs)
{
	struct kk_guard *guard = kzalloc(sizeof(*guard), KK_GFP);
	int r;

	if (!guard)
		return -ENOMEM;
	guard->service = nla_get_u32(attrs[KK_GUARD_A_SERVICE]);
	r = read_limit(attrs[KK_GUARD_A_PACKET_RATE], attrs[KK_GUARD_A_PACKET_BURST],
		       &guard->packets, change->extack);
	if (!r)
		r = read_limit(attrs[KK_GUARD_A_CONNECTION_RATE],
			       attrs[KK_GUARD_A_CONNECTION_BURST], &guard->connections,
			       change->extack);
	if (!r && (guard->packets.rate || guard->connections.rate))
		r = kk_sources_init(&kn->sources);
	if (r) {
		kfree(guard);
		return r;
	}
	kk_guard_fill(guard, number_of(attrs[KK_GUARD_A_LIST]),
		      number_of(attrs[KK_GUARD_A_FLAGS]) & KK_GUARD_F_DENY_OTHERS,
		      number_of(attrs[KK_GUARD_A_SYN_RATE]));
	return kk_change_guard(change, guard);
}

int kk_change_guard_attr(struct kk_net *kn, struct kk_change *change, const struct nlattr *nest)
{
	struct nlattr *attrs[KK_GUARD_A_MAX + 1];
	int r;

	r = nla_parse_nested(attrs, KK_GUARD_A_MAX, nest, NULL, change->extack);
	if (r)
		return r;
	if (!attrs[KK_GUARD_A_SERVICE])
		return kk_missing(change->extack, nest, KK_GUARD_A_SERVICE,
				  "the service is missing");
	if (nla_type(nest) == KK_A_GUARD)
		return set_guard(kn, change, attrs);
	for (int i = KK_GUARD_A_LIST; i <= KK_GUARD_A_MAX; i++)
		if (attrs[i])
			return kk_refuse(change->extack, attrs[i],
					 "a guard is removed by its service alone");
	return kk_change_guard_gone(change, nla_get_u32(attrs[KK_GUARD_A_SERVICE]), nest);
}

static int put_limit(struct sk_buff *skb, int rate, int burst, const struct kk_limit *limit)
{
	if (!limit->rate)
		return 0;
	return nla_put_u32(skb, rate, limit->rate) ?: nla_put_u32(skb, burst, limit->burst);
}

static int put_guard(struct sk_buff *skb, struct netlink_callback *cb, const struct kk_guard *guard)
{
	void *header = kk_netlink_dump(skb, cb, KK_CMD_GUARD_GET);
	const struct kk_policy *policy = &guard->policy;
	struct nlattr *nest;

	if (!header)
		return -EMSGSIZE;
	nest = nla_nest_start(skb, KK_A_GUARD);
	if (!nest || nla_put_u32(skb, KK_GUARD_A_SERVICE, guard->service) ||
	    (policy->list && nla_put_u32(skb, KK_GUARD_A_LIST, policy->list)) ||
	    nla_put_u32(skb, KK_GUARD_A_FLAGS,
			policy->flags & KK_POLICY_DENY ? KK_GUARD_F_DENY_OTHERS : 0) ||
	    put_limit(skb, KK_GUARD_A_PACKET_RATE, KK_GUARD_A_PACKET_BURST, &guard->packets) ||
	    put_limit(skb, KK_GUARD_A_CONNECTION_RATE, KK_GUARD_A_CONNECTION_BURST,
		      &guard->connections) ||
	    (policy->syn_rate && nla_put_u32(skb, KK_GUARD_A_SYN_RATE, policy->syn_rate))) {
		genlmsg_cancel(skb, header);
		return -EMSGSIZE;
	}
	nla_nest_end(skb, nest);
	genlmsg_end(skb, header);
	return 0;
}

static int read_filter(struct netlink_callback *cb, u32 *service)
{
	struct nlattr *nest = kk_dump_attrs(cb)[KK_A_GUARD], *attrs[KK_GUARD_A_MAX + 1];
	int r;

	*service = 0;
	if (!nest)
		return 0;
	r = nla_parse_nested(attrs, KK_GUARD_A_MAX, nest, NULL, cb->extack);
	if (r)
		return r;
	for (int i = KK_GUARD_A_LIST; i <= KK_GUARD_A_MAX; i++)
		if (attrs[i])
			return kk_refuse(cb->extack, attrs[i],
					 "a dump of guards is filtered by service");
	*service = number_of(attrs[KK_GUARD_A_SERVICE]);
	return 0;
}

int kk_dump_guards(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct kk_net *kn = kk_net_of(sock_net(cb->skb->sk));
	const struct kk_tables *tables;
	unsigned long slot = cb->args[0];
	struct kk_guard *guard = NULL;
	u32 service;
	int r;

	r = read_filter(cb, &service);
	if (r)
		return r;
	mutex_lock(&kn->lock);
	tables = kk_net_tables(kn);
	cb->seq = kn->changes;
	if (tables)
		xa_for_each_start(&tables->listeners->guards.by_slot, slot, guard, slot)
		{
			if ((!service || service == guard->service) && put_guard(skb, cb, guard))
				break;
		}
	/* Behind the last guard the loop leaves its number. */
	cb->args[0] = guard ? slot : KK_SERVICES_MAX;
	mutex_unlock(&kn->lock);
	return skb->len;
}
