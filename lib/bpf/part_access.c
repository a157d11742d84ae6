// SPDX-License-Identifier: MIT
/* Lists and guards in a part of the tables. */
#include <errno.h>
#include <stdlib.h>

#include "bpf/part.h"
#include "util/cleanup.h"

/* ---- lists ---- */

static int read_rules(struct kk_part *part, struct kk_part_side *side,
		      const struct kk_datapath_tables *tables, struct kk_err *err)
{
	int n = kk_lists_records(tables->lists, tables->n_lists, &side->rules, err);

	if (n < 0)
		return n;
	side->n_rules = (size_t)n;
	kk_records_sort(&part->lists_table, side->rules, side->n_rules);
	for (size_t i = 0; i < side->n_rules; i++)
		side->n_denied += kk_list_record_list(&side->rules[i]) == KK_LIST_GATEWAY;
	return 0;
}

int kk_part_plan_lists(struct kk_part *part, struct kk_err *err)
{
	const struct kk_list_record *twin;
	size_t all;
	int r = read_rules(part, &part->old, part->from, err);

	if (r == 0)
		r = read_rules(part, &part->next, part->to, err);
	if (r < 0)
		return r;
	twin = kk_records_twin(&part->lists_table, part->next.rules, part->next.n_rules);
	if (twin)
		return kk_list_record_twice(twin, err);
	if (part->old.n_rules > part->uses->n_rules || part->old.n_denied > part->uses->n_denied)
		return kk_err_set(err, ESTALE, NULL, "the tables have other lists");
	all = part->uses->n_rules - part->old.n_rules + part->next.n_rules;
	if (all > KK_LIST_ENTRIES_MAX)
		return kk_lists_too_many(all, err);
	return kk_change_plan_part(&part->lists, &part->lists_table, part->old.rules,
				   part->old.n_rules, part->next.rules, part->next.n_rules, err);
}

/* ---- guards ---- */

static bool names_list(const struct kk_datapath_tables *side, uint32_t id)
{
	for (size_t i = 0; i < side->n_lists; i++)
		if (side->lists[i].id == id)
			return true;
	return false;
}

/* Whether the tables have rules of it: mostly a policy says so already. */
static int has_rules(const struct kk_part *part, uint32_t list, struct kk_err *err)
{
	KK_CLEANUP_FREE struct kk_list_record *records = NULL;
	int n;

	for (uint32_t i = 1; i < KK_POLICIES_MAX; i++)
		if (part->uses->policies[i] && part->tables->policies[i].list == list)
			return 1;
	n = kk_records_read(&part->lists_table, (void **)&records, err);
	for (int i = 0; i < n; i++)
		if (kk_list_record_list(&records[i]) == list)
			return 1;
	return n < 0 ? n : 0;
}

static bool names_service(const struct kk_datapath_tables *side, uint32_t id)
{
	for (size_t i = 0; i < side->n_listeners; i++)
		if (side->listeners[i].service == id)
			return true;
	return false;
}

static int check_guard(const struct kk_part *part, const struct kk_guard *guard, struct kk_err *err)
{
	int there = 1;

	if (!names_service(part->to, guard->service))
		return kk_uses_slot(part->uses, part->tables, guard->service) &&
				       !kk_part_service(part, guard->service)
			       ? kk_part_stale("service", guard->service, err)
			       : kk_guard_unpublished(guard->service, err);
	if (guard->list && !names_list(part->to, guard->list))
		there = names_list(part->from, guard->list) ? 0 : has_rules(part, guard->list, err);
	if (there < 0)
		return there;
	return there ? 0 : kk_guard_no_list(guard->service, guard->list, err);
}

/* The list of a service that stays as it is does not go. */
static int check_list_unused(const struct kk_part *part, uint32_t list, struct kk_err *err)
{
	const struct kk_tables *tables = part->tables;

	for (uint32_t number = 1; number < KK_POLICIES_MAX; number++) {
		if (!part->uses->policies[number] || tables->policies[number].list != list)
			continue;
		for (uint32_t slot = 1; slot < KK_SERVICES_MAX; slot++) {
			const union kk_service_slot *s = &tables->services[slot];

			if (s->state == KK_SLOT_USED && s->policy == number &&
			    !kk_part_service(part, s->id))
				return kk_guard_no_list(s->id, list, err);
		}
	}
	return 0;
}

int kk_part_check_guards(const struct kk_part *part, struct kk_err *err)
{
	const struct kk_datapath_tables *from = part->from, *to = part->to;
	int r = 0;

	for (size_t i = 0; i < to->n_guards && r == 0; i++)
		r = check_guard(part, &to->guards[i], err);
	for (size_t i = 0; i < from->n_lists && r == 0; i++)
		if (from->lists[i].id != KK_LIST_GATEWAY && !names_list(to, from->lists[i].id))
			r = check_list_unused(part, from->lists[i].id, err);
	return r;
}
