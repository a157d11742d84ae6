/* SPDX-License-Identifier: MIT */
/* Groups in the tables: which number each has, and which flows which member gets. */
#ifndef KK_BPF_GROUPS_H
#define KK_BPF_GROUPS_H

#include <kk/core/types.h>

#include "bpf/tables.h"

struct kk_group_plan {
	const struct kk_group *group;
	uint32_t number;
	uint32_t table[KK_MAGLEV_SIZE]; /* of addresses less the pool's */
};

/* Planned groups, sorted by id. Nothing is changed until kk_groups_write(). */
struct kk_groups_plan {
	struct kk_group_plan *items;
	size_t n;
	bool stays
		[KK_GROUPS_MAX]; /* by number: of groups that the plan is not about, and that go on */
};

/* Those of the tables that neither list names stay, beside those that are planned next. */
void kk_groups_plan_stays(struct kk_groups_plan *ret, const struct kk_tables *tables,
			  const struct kk_group *from, size_t n_from, const struct kk_group *to,
			  size_t n_to);
/* A group that is there keeps its number. Errors as kk_datapath_set() has them. */
int kk_groups_plan(struct kk_groups_plan *ret, const struct kk_tables *tables,
		   const struct kk_group *groups, size_t n, struct kk_err *err);
const struct kk_group_plan *kk_groups_find(const struct kk_groups_plan *plan, uint32_t id);
void kk_groups_write(struct kk_tables *tables, const struct kk_groups_plan *plan);
/* Gives up the numbers that no group of @plan has, nor one that stays. */
void kk_groups_retire(struct kk_tables *tables, const struct kk_groups_plan *plan);
void kk_groups_clean(struct kk_groups_plan *plan);
/* The number that group @id has in the tables, or -1. */
int kk_groups_number(const struct kk_tables *tables, uint32_t id);

/* kk_datapath_set_group() on tables. */
int kk_groups_set_one(struct kk_tables *tables, const struct kk_group *group, struct kk_err *err);

#endif
