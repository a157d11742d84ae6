/* SPDX-License-Identifier: GPL-2.0 */
/* Several Agents behind one listener: who they are, and which of them a flow goes to. */
#ifndef KK_KMOD_GROUPS_H
#define KK_KMOD_GROUPS_H

#include <linux/rcupdate.h>

#include <kk/core/maglev.h>
#include <kk/core/types.h>

/* Never changed once packets can see it, but for users. */
struct kk_group {
	struct rcu_head rcu; /* first: kfree_rcu() wants it within a page */
	u32 id, number;
	u32 users; /* listeners that lead to it */
	u32 n;
	u32 agents[KK_MAGLEV_MEMBERS_MAX]; /* addresses less the pool's, sorted */
	u8 healthy[KK_MAGLEV_MEMBERS_MAX];
	u32 elements[KK_MAGLEV_SIZE]; /* of agents */
};

struct kk_groups {
	u32 n;
	struct kk_group __rcu *by_number[KK_GROUPS_MAX];
};

/*
 * A group of @n @agents in any order, the table of which is filled. -EEXIST: one is there twice. -ENOMEM. It is
 * put into force by the change that it belongs to (change.h).
 */
struct kk_group *kk_group_make(u32 id, const u32 *agents, const u8 *healthy, u32 n);
bool kk_group_has(const struct kk_group *group, u32 agent);

/* Under the lock of the namespace, or RCU. NULL: there is none. */
struct kk_group *kk_groups_at(const struct kk_groups *groups, u32 number);
struct kk_group *kk_groups_find(const struct kk_groups *groups, u32 id);
/* A number that no group has; negative: there is none. */
int kk_groups_free_number(const struct kk_groups *groups);
/* Once no packet reads them any more. */
void kk_groups_clean(struct kk_groups *groups);

/* On the way of a packet. Agent 0 where the group has just gone: nobody's address. */
static inline u32 kk_groups_element(const struct kk_groups *groups, u32 index)
{
	const struct kk_group *group;

	if (unlikely(index >= KK_GROUPS_MAX * KK_MAGLEV_SIZE))
		return 0;
	group = rcu_dereference(groups->by_number[index / KK_MAGLEV_SIZE]);
	return likely(group) ? group->elements[index % KK_MAGLEV_SIZE] : 0;
}

#endif
