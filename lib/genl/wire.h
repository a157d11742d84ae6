/* SPDX-License-Identifier: MIT */
/* Settings, listeners and what else tables hold as attributes of the family. Private to lib/genl. */
#ifndef KK_GENL_WIRE_H
#define KK_GENL_WIRE_H

#include "bpf/lists.h"
#include "genl/module.h"

/* The most bytes that settings take in a request. */
#define KK_WIRE_SETTINGS_ROOM 768

/*
 * All of these return 0 or -EMSGSIZE, the message then being as full as it was or fuller; a listener's address
 * must be one of the settings': -EINVAL.
 */
int kk_wire_put_settings(struct nl_msg *msg, const struct kk_module_settings *settings);
/* With the @n - 1 that follow it, port by port on both sides. */
int kk_wire_put_listener(struct nl_msg *msg, const struct kk_settings *set,
			 const struct kk_listener *listener, uint16_t n);
/* Of those that are to be removed. */
int kk_wire_put_gone(struct nl_msg *msg, const struct kk_settings *set,
		     const struct kk_listener *listener, uint16_t n);

int kk_wire_put_group(struct nl_msg *msg, const struct kk_group *group);
int kk_wire_put_group_gone(struct nl_msg *msg, const struct kk_group *group);
int kk_wire_put_guard(struct nl_msg *msg, const struct kk_guard *guard);
int kk_wire_put_guard_gone(struct nl_msg *msg, const struct kk_guard *guard);
int kk_wire_put_rule(struct nl_msg *msg, const struct kk_list_record *rule);
int kk_wire_put_rule_gone(struct nl_msg *msg, const struct kk_list_record *rule);
/* KK_A_BAN or KK_A_BAN_GONE as @type says. */
int kk_wire_put_ban(struct nl_msg *msg, int type, const struct kk_ban_entry *ban);

/* Requests that are nothing but a number; @what is what failed. module.c has both. */
int kk_module_plain(const struct kk_module *module, uint8_t cmd, const char *what,
		    struct kk_err *err);
/* Requests that are nothing but settings. */
int kk_module_send_settings(const struct kk_module *module, uint8_t cmd,
			    const struct kk_module_settings *settings, struct kk_err *err);

/* The slot of a public address, or -1. */
int kk_wire_slot(const struct kk_settings *set, const struct kk_address *address);

/* The attributes of an answer, by enum kk_attr, or -EBADMSG, as all of these. */
int kk_wire_parse(struct nlmsghdr *hdr, struct nlattr **attrs);
int kk_wire_get_settings(struct nlattr *nest, struct kk_module_settings *ret);
/* A range of ports as one listener and, in *@n, how many follow it. */
int kk_wire_get_listener(struct nlattr *nest, const struct kk_settings *set,
			 struct kk_listener *ret, uint16_t *n);
/* @members has room for KK_MAGLEV_MEMBERS_MAX. */
int kk_wire_get_group(struct nlattr *nest, struct kk_group *ret, struct kk_member *members);
int kk_wire_get_guard(struct nlattr *nest, struct kk_guard *ret);
int kk_wire_get_rule(struct nlattr *nest, struct kk_list_record *ret);
int kk_wire_get_ban(struct nlattr *nest, struct kk_ban_entry *ret);
int kk_wire_get_flow(struct nlattr *nest, struct kk_module_flow *ret);
/* By its name; KK_REASON_MAX: there is none. */
enum kk_reason kk_wire_reason(const struct nlattr *attr);
/* 4 or 16 bytes; family 0: neither. */
struct kk_address kk_wire_address(const struct nlattr *attr);

#endif
