// SPDX-License-Identifier: GPL-2.0
#include "kmod/netlink.h"

#include <linux/notifier.h>
#include <net/ipv6.h>

#define DO(operation, function, attributes, max)                                                   \
	{                                                                                          \
		.cmd = operation, .doit = function, .policy = attributes, .maxattr = max,          \
		.flags = GENL_UNS_ADMIN_PERM,                                                      \
	}
#define DUMP(operation, function, attributes, max)                                                 \
	{                                                                                          \
		.cmd = operation, .dumpit = function, .policy = attributes, .maxattr = max,        \
		.flags = GENL_UNS_ADMIN_PERM,                                                      \
	}
#define DUMP_WITH_END(operation, function, attributes, max, end)                                   \
	{                                                                                          \
		.cmd = operation, .dumpit = function, .done = end, .policy = attributes,           \
		.maxattr = max, .flags = GENL_UNS_ADMIN_PERM,                                      \
	}

static const struct genl_ops operations[] = {
	DO(KK_CMD_INFO_GET, kk_do_info_get, kk_policy_none, KK_A_PAD),
	DO(KK_CMD_TABLE_BEGIN, kk_do_table_begin, kk_policy_settings, KK_A_SETTINGS),
	DO(KK_CMD_TABLE_COMMIT, kk_do_table_commit, kk_policy_none, KK_A_PAD),
	DO(KK_CMD_TABLE_ABORT, kk_do_table_abort, kk_policy_none, KK_A_PAD),
	DO(KK_CMD_TABLE_CLEAR, kk_do_table_clear, kk_policy_none, KK_A_PAD),
	DO(KK_CMD_SETTINGS_SET, kk_do_settings_set, kk_policy_settings, KK_A_SETTINGS),
	DO(KK_CMD_TABLE_CHANGE, kk_do_table_change, kk_policy_change, KK_A_GUARD),
	DUMP(KK_CMD_LISTENER_GET, kk_dump_listeners, kk_policy_listener_filter, KK_A_LISTENER),
	DUMP(KK_CMD_GROUP_GET, kk_dump_groups, kk_policy_group_filter, KK_A_GROUP),
	DUMP(KK_CMD_RULE_GET, kk_dump_rules, kk_policy_rule_filter, KK_A_RULE),
	DUMP(KK_CMD_GUARD_GET, kk_dump_guards, kk_policy_guard_filter, KK_A_GUARD),
	DO(KK_CMD_BAN_CHANGE, kk_do_ban_change, kk_policy_bans, KK_A_BAN),
	DUMP(KK_CMD_BAN_GET, kk_dump_bans, kk_policy_ban_filter, KK_A_BAN),
	DUMP_WITH_END(KK_CMD_FLOW_GET, kk_dump_flows, kk_policy_flow_filter, KK_A_FLOW,
		      kk_dump_flows_done),
	DUMP(KK_CMD_SERVICE_GET, kk_dump_services, kk_policy_service_filter, KK_A_SERVICE),
	DUMP(KK_CMD_COUNTER_GET, kk_dump_counters, kk_policy_none, KK_A_PAD),
	DO(KK_CMD_COUNTER_RESET, kk_do_counter_reset, kk_policy_none, KK_A_PAD),
	DO(KK_CMD_TRY, kk_do_try, kk_policy_packet, KK_A_PACKET),
};

static const struct genl_multicast_group groups[] = {
	{.name = KK_GENL_MCGRP_EVENTS},
};

struct genl_family kk_family = {
	.name = KK_GENL_NAME,
	.version = KK_GENL_VERSION,
	.maxattr = KK_A_MAX,
	.netnsok = true,
	.parallel_ops = true,
	.module = THIS_MODULE,
	.ops = operations,
	.n_ops = ARRAY_SIZE(operations),
	.resv_start_op = KK_CMD_UNSPEC + 1, /* all is strict */
	.mcgrps = groups,
	.n_mcgrps = ARRAY_SIZE(groups),
};

struct kk_tables *kk_netlink_tables(struct kk_net *kn, struct genl_info *info)
{
	struct kk_tables *tables;

	lockdep_assert_held(&kn->lock);
	if (!info->attrs[KK_A_PENDING]) {
		tables = kk_net_tables(kn);
		if (tables)
			return tables;
		NL_SET_ERR_MSG(info->extack, "there are no tables in this namespace");
		return ERR_PTR(-ENOENT);
	}
	if (kn->pending.tables && kn->pending.portid == info->snd_portid)
		return kn->pending.tables;
	NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[KK_A_PENDING],
			    "this socket has begun no set of tables");
	return ERR_PTR(-ENOENT);
}

struct sk_buff *kk_netlink_answer(struct genl_info *info, size_t room, void **header)
{
	struct sk_buff *msg = genlmsg_new(room, GFP_KERNEL);

	if (!msg)
		return NULL;
	*header = genlmsg_put_reply(msg, info, &kk_family, 0, info->genlhdr->cmd);
	if (*header)
		return msg;
	nlmsg_free(msg);
	return NULL;
}

void *kk_netlink_dump(struct sk_buff *skb, struct netlink_callback *cb, u8 cmd)
{
	void *header = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, &kk_family,
				   NLM_F_MULTI, cmd);

	if (header)
		genl_dump_check_consistent(cb, header);
	return header;
}

int kk_missing(struct netlink_ext_ack *extack, const struct nlattr *nest, u16 attr,
	       const char *message)
{
	NL_SET_ERR_ATTR_MISS(extack, nest, attr);
	extack->_msg = message;
	return -EINVAL;
}

int kk_refuse(struct netlink_ext_ack *extack, const struct nlattr *attr, const char *message)
{
	NL_SET_BAD_ATTR(extack, attr);
	extack->_msg = message;
	return -EINVAL;
}

int kk_read_address(const struct nlattr *attr, struct kk_in6 *ret, struct netlink_ext_ack *extack)
{
	*ret = (struct kk_in6){.word = {0, 0, KK_BE32(0xffff), 0}};
	switch (nla_len(attr)) {
	case sizeof(__be32):
		ret->word[3] = nla_get_in_addr(attr);
		return KK_IP4;
	case sizeof(*ret):
		memcpy(ret, nla_data(attr), sizeof(*ret));
		if (ret->word[0] || ret->word[1] || ret->word[2] != KK_BE32(0xffff))
			return KK_IP6;
		return kk_refuse(extack, attr, "that is an IPv4 address, of 4 bytes");
	default:
		return kk_refuse(extack, attr, "an address has 4 bytes or 16");
	}
}

int kk_put_address(struct sk_buff *msg, int attr, const struct kk_in6 *address)
{
	bool v4 = ipv6_addr_v4mapped((const struct in6_addr *)address);

	return v4 ? nla_put_in_addr(msg, attr, address->word[3])
		  : nla_put(msg, attr, sizeof(*address), address);
}

/* A set of tables goes with the socket that began it. This chain may sleep. */
static int on_release(struct notifier_block *block, unsigned long event, void *data)
{
	const struct netlink_notify *notify = data;
	struct kk_net *kn;

	if (event != NETLINK_URELEASE || notify->protocol != NETLINK_GENERIC)
		return NOTIFY_DONE;
	kn = kk_net_of(notify->net);
	mutex_lock(&kn->lock);
	if (kn->pending.tables && kn->pending.portid == notify->portid)
		kk_net_abort(kn);
	mutex_unlock(&kn->lock);
	return NOTIFY_DONE;
}

static struct notifier_block on_releases = {.notifier_call = on_release};

int kk_netlink_register(void)
{
	int r = netlink_register_notifier(&on_releases);

	if (r)
		return r;
	r = genl_register_family(&kk_family);
	if (r)
		netlink_unregister_notifier(&on_releases);
	return r;
}

void kk_netlink_unregister(void)
{
	genl_unregister_family(&kk_family);
	netlink_unregister_notifier(&on_releases);
}
