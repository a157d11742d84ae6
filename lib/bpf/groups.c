// SPDX-License-Identifier: MIT
#include "bpf/groups.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/maglev.h"
#include "util/cleanup.h"

static int compare_plans(const void *a, const void *b)
{
	const struct kk_group_plan *x = a, *y = b;

	return (x->group->id > y->group->id) - (x->group->id < y->group->id);
}

static int fill(const struct kk_tables *tables, const struct kk_group *group,
		uint32_t table[KK_MAGLEV_SIZE], struct kk_err *err)
{
	struct kk_maglev_member members[KK_MAGLEV_MEMBERS_MAX];
	const struct kk_settings *set = &tables->settings;
	char text[INET_ADDRSTRLEN];

	if (group->n_members == 0 || group->n_members > KK_MAGLEV_MEMBERS_MAX)
		return kk_err_set(err, EINVAL, "group", "group %u has %zu members (1 to %d)",
				  group->id, group->n_members, KK_MAGLEV_MEMBERS_MAX);
	for (size_t i = 0; i < group->n_members; i++) {
		__be32 address = group->members[i].address.s_addr;

		if ((address & set->pool_mask) != set->pool)
			return kk_err_set(err, EINVAL, "agent",
					  "group %u: Agent address %s is not in the pool",
					  group->id,
					  inet_ntop(AF_INET, &address, text, sizeof(text)));
		members[i] = (struct kk_maglev_member){
			.agent = kk_pool_offset(address, set->pool_mask),
			.healthy = group->members[i].healthy,
		};
	}
	if (kk_maglev_fill(members, group->n_members, table) < 0)
		return kk_err_set(err, EEXIST, "agent", "group %u has an Agent twice", group->id);
	return 0;
}

int kk_groups_number(const struct kk_tables *tables, uint32_t id)
{
	for (int i = 0; i < KK_GROUPS_MAX; i++)
		if (tables->group_ids[i] == id)
			return i;
	return -1;
}

/*
 * Numbers that are free now are taken first, then those that the change frees. There are no more groups than
 * numbers, so each gets one.
 */
static void plan_numbers(struct kk_groups_plan *plan, const struct kk_tables *tables)
{
	bool taken[KK_GROUPS_MAX], placed[KK_GROUPS_MAX] = {false};

	memcpy(taken, plan->stays, sizeof(taken));
	for (size_t i = 0; i < plan->n; i++) {
		int number = kk_groups_number(tables, plan->items[i].group->id);

		placed[i] = number >= 0;
		if (!placed[i])
			continue;
		plan->items[i].number = (uint32_t)number;
		taken[number] = true;
	}
	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0, next = 0; i < plan->n; i++) {
			if (placed[i])
				continue;
			while (next < KK_GROUPS_MAX &&
			       (taken[next] || (pass == 0 && tables->group_ids[next])))
				next++;
			if (next == KK_GROUPS_MAX)
				break;
			plan->items[i].number = (uint32_t)next;
			taken[next] = placed[i] = true;
		}
}

static bool is_named(const struct kk_group *groups, size_t n, __u64 id)
{
	for (size_t i = 0; i < n; i++)
		if (groups[i].id == id)
			return true;
	return false;
}

void kk_groups_plan_stays(struct kk_groups_plan *ret, const struct kk_tables *tables,
			  const struct kk_group *from, size_t n_from, const struct kk_group *to,
			  size_t n_to)
{
	for (size_t i = 0; i < KK_GROUPS_MAX; i++)
		ret->stays[i] = tables->group_ids[i] &&
				!is_named(from, n_from, tables->group_ids[i]) &&
				!is_named(to, n_to, tables->group_ids[i]);
}

static size_t count_stays(const struct kk_groups_plan *plan)
{
	size_t n = 0;

	for (size_t i = 0; i < KK_GROUPS_MAX; i++)
		n += plan->stays[i];
	return n;
}

int kk_groups_plan(struct kk_groups_plan *ret, const struct kk_tables *tables,
		   const struct kk_group *groups, size_t n, struct kk_err *err)
{
	const size_t all = n + count_stays(ret);

	if (all > KK_GROUPS_MAX)
		return kk_err_set(err, ENOSPC, "groups",
				  "%zu groups are more than the %d that a gateway carries", all,
				  KK_GROUPS_MAX);
	ret->items = calloc(n ? n : 1, sizeof(*ret->items));
	if (!ret->items)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	for (size_t i = 0; i < n; i++) {
		int r = fill(tables, &groups[i], ret->items[i].table, err);

		if (r == 0 && groups[i].id == 0)
			r = kk_err_set(err, EINVAL, "group", "0 is no group's id");
		if (r < 0)
			return r;
		ret->items[i].group = &groups[i];
	}
	ret->n = n;
	qsort(ret->items, n, sizeof(*ret->items), compare_plans);
	for (size_t i = 1; i < n; i++)
		if (compare_plans(&ret->items[i - 1], &ret->items[i]) == 0)
			return kk_err_set(err, EEXIST, "group", "group %u is there twice",
					  ret->items[i].group->id);
	plan_numbers(ret, tables);
	return 0;
}

const struct kk_group_plan *kk_groups_find(const struct kk_groups_plan *plan, uint32_t id)
{
	const struct kk_group group = {.id = id};
	const struct kk_group_plan key = {.group = &group};

	return bsearch(&key, plan->items, plan->n, sizeof(*plan->items), compare_plans);
}

static void write_table(struct kk_tables *tables, uint32_t number,
			const uint32_t table[KK_MAGLEV_SIZE])
{
	for (size_t i = 0; i < KK_MAGLEV_SIZE; i++)
		kk_tables_store(&tables->groups[number * KK_MAGLEV_SIZE + i], table[i]);
}

void kk_groups_write(struct kk_tables *tables, const struct kk_groups_plan *plan)
{
	for (size_t i = 0; i < plan->n; i++) {
		write_table(tables, plan->items[i].number, plan->items[i].table);
		kk_tables_store(&tables->group_ids[plan->items[i].number],
				plan->items[i].group->id);
	}
}

void kk_groups_retire(struct kk_tables *tables, const struct kk_groups_plan *plan)
{
	for (size_t i = 0; i < KK_GROUPS_MAX; i++)
		if (tables->group_ids[i] && !plan->stays[i] &&
		    !kk_groups_find(plan, (uint32_t)tables->group_ids[i]))
			kk_tables_store(&tables->group_ids[i], 0);
}

void kk_groups_clean(struct kk_groups_plan *plan)
{
	free(plan->items);
}

static bool is_member(const struct kk_tables *tables, const struct kk_group *group, uint32_t agent)
{
	for (size_t i = 0; i < group->n_members; i++)
		if (kk_pool_offset(group->members[i].address.s_addr, tables->settings.pool_mask) ==
		    agent)
			return true;
	return false;
}

int kk_groups_set_one(struct kk_tables *tables, const struct kk_group *group, struct kk_err *err)
{
	uint32_t table[KK_MAGLEV_SIZE];
	int number = group->id ? kk_groups_number(tables, group->id) : -1, r;

	if (number < 0)
		return kk_err_set(err, ENOENT, "group", "there is no group %u", group->id);
	r = fill(tables, group, table, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < KK_MAGLEV_SIZE; i++) {
		uint32_t agent = (uint32_t)tables->groups[(uint32_t)number * KK_MAGLEV_SIZE + i];

		if (!is_member(tables, group, agent))
			return kk_err_set(err, EINVAL, "agent",
					  "group %u has other members in the tables", group->id);
	}
	write_table(tables, (uint32_t)number, table);
	return 0;
}
