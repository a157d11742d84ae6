// SPDX-License-Identifier: GPL-2.0
#include "kmod/guards.h"

#include <linux/slab.h>
#include <linux/time64.h>

static void limit_of(const struct kk_limit *limit, u32 *interval, u64 *slack)
{
	*interval = limit->rate ? (NSEC_PER_SEC + limit->rate / 2) / limit->rate : 0;
	*slack = limit->rate ? (u64)(limit->burst - 1) * *interval : 0;
}

void kk_guard_fill(struct kk_guard *guard, u32 list, bool deny_others, u32 syn_rate)
{
	struct kk_policy *policy = &guard->policy;

	policy->list = list;
	policy->flags = deny_others ? KK_POLICY_DENY : 0;
	policy->syn_rate = syn_rate;
	limit_of(&guard->packets, &policy->packet_interval, &policy->packet_slack);
	limit_of(&guard->connections, &policy->connection_interval, &policy->connection_slack);
}

void kk_guards_init(struct kk_guards *guards)
{
	xa_init(&guards->by_slot);
}

void kk_guards_clean(struct kk_guards *guards)
{
	struct kk_guard *guard;
	unsigned long slot;

	xa_for_each(&guards->by_slot, slot, guard) kfree(guard);
	xa_destroy(&guards->by_slot);
}
