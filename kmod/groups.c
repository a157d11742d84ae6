// SPDX-License-Identifier: GPL-2.0
#include "kmod/groups.h"

#include <linux/bsearch.h>
#include <linux/err.h>
#include <linux/slab.h>
#include <linux/sort.h>

#include "kmod/module.h"

static int compare_agents(const void *a, const void *b)
{
	u32 x = *(const u32 *)a, y = *(const u32 *)b;

	return (x > y) - (x < y);
}

static int fill(struct kk_group *group, const u32 *agents, const u8 *healthy, u32 n)
{
	struct kk_maglev_work *work;

	group->n = n;
	memcpy(group->agents, agents, n * sizeof(*agents));
	sort(group->agents, n, sizeof(*agents), compare_agents, NULL);
	for (u32 i = 1; i < n; i++)
		if (group->agents[i] == group->agents[i - 1])
			return -EEXIST;
	for (u32 i = 0; i < n; i++) {
		const u32 *place =
			bsearch(&agents[i], group->agents, n, sizeof(*agents), compare_agents);

		group->healthy[place - group->agents] = healthy[i];
	}
	work = kmalloc(sizeof(*work), KK_GFP);
	if (!work)
		return -ENOMEM;
	kk_maglev_make(work, group->agents, group->healthy, n, group->elements);
	kfree(work);
	return 0;
}

struct kk_group *kk_group_make(u32 id, const u32 *agents, const u8 *healthy, u32 n)
{
	struct kk_group *group = kzalloc(sizeof(*group), KK_GFP);
	int r;

	if (!group)
		return ERR_PTR(-ENOMEM);
	group->id = id;
	r = fill(group, agents, healthy, n);
	if (!r)
		return group;
	kfree(group);
	return ERR_PTR(r);
}

bool kk_group_has(const struct kk_group *group, u32 agent)
{
	return bsearch(&agent, group->agents, group->n, sizeof(agent), compare_agents);
}

struct kk_group *kk_groups_at(const struct kk_groups *groups, u32 number)
{
	return number < KK_GROUPS_MAX ? rcu_dereference_raw(groups->by_number[number]) : NULL;
}

struct kk_group *kk_groups_find(const struct kk_groups *groups, u32 id)
{
	for (u32 i = 0; i < KK_GROUPS_MAX; i++) {
		struct kk_group *group = kk_groups_at(groups, i);

		if (group && group->id == id)
			return group;
	}
	return NULL;
}

int kk_groups_free_number(const struct kk_groups *groups)
{
	for (u32 i = 0; i < KK_GROUPS_MAX; i++)
		if (!kk_groups_at(groups, i))
			return i;
	return -ENOSPC;
}

void kk_groups_clean(struct kk_groups *groups)
{
	for (u32 i = 0; i < KK_GROUPS_MAX; i++)
		kfree(kk_groups_at(groups, i));
}
