/* SPDX-License-Identifier: MIT */
/*
 * What leads from one part of the tables to another, planned in memory. Nothing of the tables is changed by what is here,
 * and only what the part touches is read.
 */
#ifndef KK_BPF_PART_H
#define KK_BPF_PART_H

#include "bpf/change.h"
#include "bpf/groups.h"
#include "bpf/guards.h"
#include "bpf/listeners.h"
#include "bpf/lists.h"
#include "bpf/uses.h"

/* A service that either side names. */
struct kk_part_service {
	uint32_t id;
	uint32_t slot, next; /* that it has, and shall have; 0: none */
	uint32_t n_old, n;   /* listeners */
};

/* Entries by index, each once, and origins by key. */
struct kk_part_side {
	struct kk_listener_entry *entries;
	size_t n_entries;
	struct kk_origin_record *origins; /* all, then those that the table of origins has */
	size_t n_origins;
	struct kk_list_record *rules;
	size_t n_rules, n_denied;
};

struct kk_part {
	const struct kk_tables *tables;
	const struct kk_uses *uses;
	const struct kk_datapath_tables *from, *to;
	struct kk_part_service *services; /* by id */
	size_t n_services;
	size_t n_fresh, n_retired; /* slots of both kinds that it takes */
	struct kk_groups_plan groups;
	struct kk_guards_plan guards;
	struct kk_part_side old, next;
	struct kk_table origins_table, lists_table;
	struct kk_change origins, lists;
};

/* Errors as kk_datapath_amend() has them. @ret, all zero before, is to be cleaned in any case. */
int kk_part_plan(struct kk_part *ret, const struct kk_tables *tables, const struct kk_uses *uses,
		 const struct kk_datapath_tables *from, const struct kk_datapath_tables *to,
		 struct kk_err *err);
void kk_part_clean(struct kk_part *part);

/* The service with @id, or NULL; the entry at @index. */
struct kk_part_service *kk_part_service(const struct kk_part *part, uint32_t id);
const struct kk_listener_entry *kk_part_entry(const struct kk_part_side *side, uint32_t index);
/* -ESTALE: what the tables have is not what the caller says, or not all of it. */
int kk_part_stale(const char *what, uint32_t number, struct kk_err *err);

/* Steps of kk_part_plan(), in this order, once listeners are planned. */
int kk_part_check_guards(const struct kk_part *part, struct kk_err *err);
int kk_part_plan_origins(struct kk_part *part, struct kk_err *err);
int kk_part_plan_lists(struct kk_part *part, struct kk_err *err);

#endif
