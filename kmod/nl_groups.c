// SPDX-License-Identifier: GPL-2.0
/* Groups set, removed and listed. */
#include "kmod/netlink.h"

#include <linux/slab.h>
#include <net/netlink.h>
#include <net/sock.h>

#include "kmod/compat.h"

struct members {
	u32 n;
	u32 agents[KK_MAGLEV_MEMBERS_MAX];
	u8 healthy[KK_MAGLEV_MEMBERS_MAX];
};

static int read_members(const struct kk_settings *set, const struct nlattr *attr,
			struct members *ret, struct netlink_ext_ack *extack)
{
	const __be32 *addresses = nla_data(attr);

	ret->n = nla_len(attr) / sizeof(*addresses);
	if (!ret->n || nla_len(attr) % sizeof(*addresses))
		return kk_refuse(extack, attr, "members are addresses of 4 bytes, 1 to 128");
	for (u32 i = 0; i < ret->n; i++) {
		__be32 address = get_unaligned(&addresses[i]);

		if ((address & set->pool_mask) != set->pool)
			return kk_refuse(extack, attr, "a member's address is not in the pool");
		ret->agents[i] = kk_pool_offset(address, set->pool_mask);
		ret->healthy[i] = true;
	}
	return 0;
}

static int read_unhealthy(const struct kk_settings *set, const struct nlattr *attr,
			  struct members *members, struct netlink_ext_ack *extack)
{
	const __be32 *addresses = nla_data(attr);
	u32 n = nla_len(attr) / sizeof(*addresses), m;

	if (nla_len(attr) % sizeof(*addresses))
		return kk_refuse(extack, attr, "members are addresses of 4 bytes");
	for (u32 i = 0; i < n; i++) {
		__be32 address = get_unaligned(&addresses[i]);

		for (m = 0; m < members->n; m++)
			if ((set->pool | KK_BE32(members->agents[m])) == address)
				break;
		if (m == members->n)
			return kk_refuse(extack, attr, "that is no member of the group");
		members->healthy[m] = false;
	}
	return 0;
}

static int set_group(struct kk_change *change, struct nlattr *const *attrs,
		     const struct nlattr *nest, struct members *members)
{
	const struct kk_settings *set = &change->tables->set;
	struct netlink_ext_ack *extack = change->extack;
	struct kk_group *group;
	int r;

	if (!attrs[KK_GROUP_A_MEMBERS])
		return kk_missing(extack, nest, KK_GROUP_A_MEMBERS, "the members are missing");
	r = read_members(set, attrs[KK_GROUP_A_MEMBERS], members, extack);
	if (!r && attrs[KK_GROUP_A_UNHEALTHY])
		r = read_unhealthy(set, attrs[KK_GROUP_A_UNHEALTHY], members, extack);
	if (r)
		return r;
	group = kk_group_make(nla_get_u32(attrs[KK_GROUP_A_ID]), members->agents, members->healthy,
			      members->n);
	if (PTR_ERR_OR_ZERO(group) == -EEXIST)
		kk_refuse(extack, attrs[KK_GROUP_A_MEMBERS], "the group has an agent twice");
	return IS_ERR(group) ? PTR_ERR(group) : kk_change_group(change, group, nest);
}

int kk_change_group_attr(struct kk_net *kn, struct kk_change *change, const struct nlattr *nest)
{
	struct nlattr *attrs[KK_GROUP_A_MAX + 1];
	struct members *members;
	int r;

	r = nla_parse_nested(attrs, KK_GROUP_A_MAX, nest, NULL, change->extack);
	if (r)
		return r;
	if (!attrs[KK_GROUP_A_ID])
		return kk_missing(change->extack, nest, KK_GROUP_A_ID, "the group's id is missing");
	if (nla_type(nest) == KK_A_GROUP_GONE) {
		if (attrs[KK_GROUP_A_MEMBERS] || attrs[KK_GROUP_A_UNHEALTHY])
			return kk_refuse(change->extack, nest,
					 "a group is removed by its id alone");
		return kk_change_group_gone(change, nla_get_u32(attrs[KK_GROUP_A_ID]), nest);
	}
	members = kmalloc(sizeof(*members), GFP_KERNEL);
	if (!members)
		return -ENOMEM;
	r = set_group(change, attrs, nest, members);
	kfree(members);
	return r;
}

static int put_members(struct sk_buff *skb, const struct kk_settings *set,
		       const struct kk_group *group, int type, bool all)
{
	__be32 *addresses;
	struct nlattr *attr;
	u32 n = 0;

	for (u32 i = 0; i < group->n; i++)
		n += all || !group->healthy[i];
	if (!n)
		return 0;
	attr = nla_reserve(skb, type, n * sizeof(*addresses));
	if (!attr)
		return -EMSGSIZE;
	addresses = nla_data(attr);
	for (u32 i = 0; i < group->n; i++)
		if (all || !group->healthy[i])
			*addresses++ = set->pool | KK_BE32(group->agents[i]);
	return 0;
}

static int put_group(struct sk_buff *skb, struct netlink_callback *cb,
		     const struct kk_settings *set, const struct kk_group *group)
{
	void *header = kk_netlink_dump(skb, cb, KK_CMD_GROUP_GET);
	struct nlattr *nest;

	if (!header)
		return -EMSGSIZE;
	nest = nla_nest_start(skb, KK_A_GROUP);
	if (!nest || nla_put_u32(skb, KK_GROUP_A_ID, group->id) ||
	    put_members(skb, set, group, KK_GROUP_A_MEMBERS, true) ||
	    put_members(skb, set, group, KK_GROUP_A_UNHEALTHY, false)) {
		genlmsg_cancel(skb, header);
		return -EMSGSIZE;
	}
	nla_nest_end(skb, nest);
	genlmsg_end(skb, header);
	return 0;
}

static int read_filter(struct netlink_callback *cb, u32 *id)
{
	struct nlattr *nest = kk_dump_attrs(cb)[KK_A_GROUP], *attrs[KK_GROUP_A_MAX + 1];
	int r;

	*id = 0;
	if (!nest)
		return 0;
	r = nla_parse_nested(attrs, KK_GROUP_A_MAX, nest, NULL, cb->extack);
	if (r)
		return r;
	if (attrs[KK_GROUP_A_MEMBERS] || attrs[KK_GROUP_A_UNHEALTHY])
		return kk_refuse(cb->extack, nest, "a dump of groups is filtered by id");
	if (attrs[KK_GROUP_A_ID])
		*id = nla_get_u32(attrs[KK_GROUP_A_ID]);
	return 0;
}

int kk_dump_groups(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct kk_net *kn = kk_net_of(sock_net(cb->skb->sk));
	const struct kk_tables *tables;
	const struct kk_group *group;
	u32 id;
	int r;

	r = read_filter(cb, &id);
	if (r)
		return r;
	mutex_lock(&kn->lock);
	tables = kk_net_tables(kn);
	cb->seq = kn->changes;
	for (; tables && cb->args[0] < KK_GROUPS_MAX; cb->args[0]++) {
		group = kk_groups_at(&tables->listeners->groups, cb->args[0]);
		if (group && (!id || id == group->id) && put_group(skb, cb, &tables->set, group))
			break;
	}
	mutex_unlock(&kn->lock);
	return skb->len;
}
