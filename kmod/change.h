/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A change of a set of tables, which packets may be reading: step by step, each written down, so that all of it can
 * be taken back; what is left behind goes once the last step is made. Under the lock of the namespace.
 */
#ifndef KK_KMOD_CHANGE_H
#define KK_KMOD_CHANGE_H

#include "kmod/tables.h"

/* A port range of one service. */
struct kk_range {
	u8 slot, protocol;
	bool gone;	/* to be removed: what follows n does not matter */
	u16 port, n;	/* the first, and how many */
	u32 agent;	/* its address less the pool's; a group's number with KK_LISTENER_GROUP */
	u16 agent_port; /* the first */
	u32 service;	/* id */
	u64 flags;	/* KK_LISTENER_DRAINING, _SNAT, _GROUP */
	const struct nlattr *attr; /* what a complaint is about */
};

struct kk_step;

struct kk_change {
	struct kk_tables *tables;
	struct netlink_ext_ack *extack;
	struct kk_step *steps;
	u32 n_steps, room;
	struct kk_rule_change *rules; /* made at the end */
	u32 n_rules, rules_room;
	u32 ports;
	bool guards;		       /* some were set or removed */
	u64 *words_gone[KK_SLOTS_MAX]; /* of addresses, given up; packets may still read them */
};

void kk_change_init(struct kk_change *change, struct kk_tables *tables,
		    struct netlink_ext_ack *extack);
/*
 * Steps. -EEXIST: the Agent's port is another listener's. -ENOENT: what is to be removed is not there. -EBUSY: the
 * group is in use. A group or guard is the change's from then on, whatever comes of it.
 */
int kk_change_range(struct kk_change *change, const struct kk_range *range);
int kk_change_group(struct kk_change *change, struct kk_group *group, const struct nlattr *attr);
int kk_change_group_gone(struct kk_change *change, u32 id, const struct nlattr *attr);
int kk_change_guard(struct kk_change *change, struct kk_guard *guard);
int kk_change_guard_gone(struct kk_change *change, u32 service, const struct nlattr *attr);
int kk_change_rule(struct kk_change *change, const struct kk_rule_change *rule);
/* The end, to be called in any case: all of it if @r is 0, else nothing. What came of it. */
int kk_change_end(struct kk_change *change, int r);

#endif
