/* SPDX-License-Identifier: GPL-2.0 */
/* What services ask of their clients, by the slot of a service. */
#ifndef KK_KMOD_GUARDS_H
#define KK_KMOD_GUARDS_H

#include <linux/xarray.h>

#include <kk/core/types.h>

struct kk_limit {
	u32 rate, burst; /* a second, 0: no limit; at once */
};

struct kk_guard {
	u32 service; /* id */
	struct kk_limit packets, connections;
	struct kk_policy policy; /* the same as the core has it */
	struct rcu_head rcu;
};

struct kk_guards {
	struct xarray by_slot;
};

/* Fills the policy from the rest, @list, @deny_others and @syn_rate. */
void kk_guard_fill(struct kk_guard *guard, u32 list, bool deny_others, u32 syn_rate);

void kk_guards_init(struct kk_guards *guards);
/* Once no packet reads them any more. */
void kk_guards_clean(struct kk_guards *guards);

/* On the way of a packet, or under the lock. NULL: the service asks nothing. */
static inline const struct kk_guard *kk_guards_at(const struct kk_guards *guards, u32 slot)
{
	return xa_load((struct xarray *)&guards->by_slot, slot);
}

#endif
