// SPDX-License-Identifier: GPL-2.0
/* One request that changes tables, nest by nest. */
#include "kmod/netlink.h"

#include <net/netlink.h>

static int apply(struct kk_net *kn, struct kk_change *change, const struct nlattr *attr)
{
	switch (nla_type(attr)) {
	case KK_A_GONE:
	case KK_A_LISTENER:
		return kk_change_listener_attr(kn, change, attr);
	case KK_A_GROUP_GONE:
	case KK_A_GROUP:
		return kk_change_group_attr(kn, change, attr);
	case KK_A_RULE_GONE:
	case KK_A_RULE:
		return kk_change_rule_attr(kn, change, attr);
	case KK_A_GUARD_GONE:
	case KK_A_GUARD:
		return kk_change_guard_attr(kn, change, attr);
	default:
		return 0; /* the flag */
	}
}

int kk_do_table_change(struct sk_buff *skb, struct genl_info *info)
{
	struct kk_net *kn = kk_net_of(genl_info_net(info));
	struct kk_tables *tables;
	struct kk_change change;
	struct nlattr *attr;
	int left, r = 0, n = 0;

	mutex_lock(&kn->lock);
	tables = kk_netlink_tables(kn, info);
	if (IS_ERR(tables)) {
		r = PTR_ERR(tables);
		goto out;
	}
	kk_change_init(&change, tables, info->extack);
	nlmsg_for_each_attr(attr, info->nlhdr, GENL_HDRLEN, left)
	{
		n += nla_type(attr) != KK_A_PENDING;
		r = apply(kn, &change, attr);
		if (r)
			break;
	}
	if (!n)
		r = kk_missing(info->extack, NULL, KK_A_LISTENER, "nothing is named");
	r = kk_change_end(&change, r);
	kn->changes++;
out:
	mutex_unlock(&kn->lock);
	return r;
}
