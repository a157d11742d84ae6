/* SPDX-License-Identifier: GPL-2.0 */
/* The family: which operation is done where, and what they share. */
#ifndef KK_KMOD_NETLINK_H
#define KK_KMOD_NETLINK_H

#include <net/genetlink.h>

#include <uapi/kakuremichi.h>

#include "kmod/change.h"
#include "kmod/net.h"

int kk_netlink_register(void);
void kk_netlink_unregister(void);

extern struct genl_family kk_family;

/*
 * The tables that a request is about: those in force, or with KK_A_PENDING those that its socket began. Under the
 * lock. An error pointer with the reason told. Only for operations whose requests may have KK_A_PENDING: the attributes of
 * others end before it.
 */
struct kk_tables *kk_netlink_tables(struct kk_net *kn, struct genl_info *info);

/* -EINVAL, with what is wrong and where. */
int kk_refuse(struct netlink_ext_ack *extack, const struct nlattr *attr, const char *message);
int kk_missing(struct netlink_ext_ack *extack, const struct nlattr *nest, u16 attr,
	       const char *message);

/* An address of 4 or 16 bytes, the former as ::ffff:a.b.c.d; its family, or an error. */
int kk_read_address(const struct nlattr *attr, struct kk_in6 *ret, struct netlink_ext_ack *extack);
int kk_put_address(struct sk_buff *msg, int attr, const struct kk_in6 *address);

/* Starts the answer to a request of one; NULL: memory is short. */
struct sk_buff *kk_netlink_answer(struct genl_info *info, size_t room, void **header);

/* Starts a message of a dump; NULL: there is no room for it. */
void *kk_netlink_dump(struct sk_buff *skb, struct netlink_callback *cb, u8 cmd);

/* policy.c */
/* Of operations without attributes. Not of none at all: the kernel would take the family's number of them then. */
extern const struct nla_policy kk_policy_none[KK_A_PAD + 1];
extern const struct nla_policy kk_policy_settings[KK_A_MAX + 1];
extern const struct nla_policy kk_policy_change[KK_A_MAX + 1];
extern const struct nla_policy kk_policy_bans[KK_A_MAX + 1];
extern const struct nla_policy kk_policy_listener_filter[KK_A_MAX + 1];
extern const struct nla_policy kk_policy_group_filter[KK_A_MAX + 1];
extern const struct nla_policy kk_policy_rule_filter[KK_A_MAX + 1];
extern const struct nla_policy kk_policy_guard_filter[KK_A_MAX + 1];
extern const struct nla_policy kk_policy_ban_filter[KK_A_MAX + 1];
extern const struct nla_policy kk_policy_flow_filter[KK_A_MAX + 1];
extern const struct nla_policy kk_policy_service_filter[KK_A_MAX + 1];
extern const struct nla_policy kk_policy_packet[KK_A_MAX + 1];

/* The operations, by the file that does them. */
int kk_do_info_get(struct sk_buff *skb, struct genl_info *info); /* settings.c */
int kk_do_table_begin(struct sk_buff *skb, struct genl_info *info);
int kk_do_table_commit(struct sk_buff *skb, struct genl_info *info);
int kk_do_table_abort(struct sk_buff *skb, struct genl_info *info);
int kk_do_table_clear(struct sk_buff *skb, struct genl_info *info);
int kk_do_settings_set(struct sk_buff *skb, struct genl_info *info);
int kk_do_table_change(struct sk_buff *skb, struct genl_info *info);	 /* nl_change.c */
int kk_dump_listeners(struct sk_buff *skb, struct netlink_callback *cb); /* listeners.c */
int kk_dump_groups(struct sk_buff *skb, struct netlink_callback *cb);	 /* nl_groups.c */
int kk_dump_rules(struct sk_buff *skb, struct netlink_callback *cb);	 /* nl_lists.c */
int kk_dump_guards(struct sk_buff *skb, struct netlink_callback *cb);	 /* nl_guards.c */
int kk_do_ban_change(struct sk_buff *skb, struct genl_info *info);	 /* nl_bans.c */
int kk_dump_bans(struct sk_buff *skb, struct netlink_callback *cb);
int kk_dump_flows(struct sk_buff *skb, struct netlink_callback *cb); /* nl_flows.c */
int kk_dump_flows_done(struct netlink_callback *cb);
int kk_dump_services(struct sk_buff *skb, struct netlink_callback *cb); /* counters.c */
int kk_dump_counters(struct sk_buff *skb, struct netlink_callback *cb);
int kk_do_counter_reset(struct sk_buff *skb, struct genl_info *info);
int kk_do_try(struct sk_buff *skb, struct genl_info *info); /* try.c */

/* One nest of KK_CMD_TABLE_CHANGE each, read and made a step of @change. */
int kk_change_listener_attr(struct kk_net *kn, struct kk_change *change, const struct nlattr *nest);
int kk_change_group_attr(struct kk_net *kn, struct kk_change *change, const struct nlattr *nest);
int kk_change_rule_attr(struct kk_net *kn, struct kk_change *change, const struct nlattr *nest);
int kk_change_guard_attr(struct kk_net *kn, struct kk_change *change, const struct nlattr *nest);

#endif
