/* SPDX-License-Identifier: GPL-2.0 */
/* The family: which operation is done where, and what they share. */
#ifndef KK_KMOD_NETLINK_H
#define KK_KMOD_NETLINK_H

#include <net/genetlink.h>

#include <uapi/kakuremichi.h>

#include "kmod/net.h"

int kk_netlink_register(void);
void kk_netlink_unregister(void);

extern struct genl_family kk_family;

/* To those in @net who listen; enum kk_event. May sleep. */
void kk_netlink_event(struct net *net, u32 event);

/*
 * The tables that a request is about: those in force, or with KK_A_PENDING those that its socket began. Under the
 * lock. An error pointer with the reason told.
 */
struct kk_tables *kk_netlink_tables(struct kk_net *kn, struct genl_info *info);

/* Starts the answer to a request of one; NULL: memory is short. */
struct sk_buff *kk_netlink_answer(struct genl_info *info, size_t room, void **header);

/* policy.c */
extern const struct nla_policy kk_policy_none[1];
extern const struct nla_policy kk_policy_settings[KK_A_MAX + 1];
extern const struct nla_policy kk_policy_listeners[KK_A_MAX + 1];
extern const struct nla_policy kk_policy_listener_filter[KK_A_MAX + 1];
extern const struct nla_policy kk_policy_service_filter[KK_A_MAX + 1];
extern const struct nla_policy kk_policy_packet[KK_A_MAX + 1];
extern const struct nla_policy kk_policy_listener[KK_LISTENER_A_MAX + 1];

/* The operations, by the file that does them. */
int kk_do_info_get(struct sk_buff *skb, struct genl_info *info); /* settings.c */
int kk_do_table_begin(struct sk_buff *skb, struct genl_info *info);
int kk_do_table_commit(struct sk_buff *skb, struct genl_info *info);
int kk_do_table_abort(struct sk_buff *skb, struct genl_info *info);
int kk_do_table_clear(struct sk_buff *skb, struct genl_info *info);
int kk_do_settings_set(struct sk_buff *skb, struct genl_info *info);
int kk_do_listener_change(struct sk_buff *skb, struct genl_info *info); /* listeners.c */
int kk_dump_listeners(struct sk_buff *skb, struct netlink_callback *cb);
int kk_dump_services(struct sk_buff *skb, struct netlink_callback *cb); /* counters.c */
int kk_dump_counters(struct sk_buff *skb, struct netlink_callback *cb);
int kk_do_counter_reset(struct sk_buff *skb, struct genl_info *info);
int kk_do_try(struct sk_buff *skb, struct genl_info *info); /* try.c */

#endif
