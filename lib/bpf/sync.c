// SPDX-License-Identifier: MIT
/*
 * One change of the tables: planned in memory, then made. All that can fail comes before the first
 * word of the mapped tables is written, and writing those cannot fail.
 */
#include "bpf/tables.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/bpf.h>

#include "bpf/groups.h"
#include "bpf/guards.h"
#include "bpf/listeners.h"
#include "bpf/lists.h"
#include "bpf/uses.h"
#include "util/cleanup.h"

struct plan {
	__u64 *listeners; /* the whole table as it shall be */
	/* all listeners by Agent port, then those that need an origin */
	struct kk_origin_record *origins;
	size_t n_origins;
	uint32_t *ids;	 /* services, sorted, each once */
	uint32_t *slots; /* of them */
	size_t n_ids;
	uint8_t *taken; /* by slot: wanted after the change */
	struct kk_groups_plan groups;
	struct kk_guards_plan guards;
	bool deny; /* the gateway's own list has prefixes */
	struct kk_table origins_table, lists_table;
	struct kk_change origins_change, lists_change;
};

static void plan_clean(struct plan *plan)
{
	free(plan->listeners);
	free(plan->origins);
	free(plan->ids);
	free(plan->slots);
	free(plan->taken);
	kk_groups_clean(&plan->groups);
	kk_guards_clean(&plan->guards);
	kk_change_clean(&plan->origins_change);
	kk_change_clean(&plan->lists_change);
}

/* One for each Agent that a listener leads to. */
static size_t count_origins(const struct plan *plan, const struct kk_datapath_tables *wanted)
{
	size_t n = 0;

	for (size_t i = 0; i < wanted->n_listeners; i++) {
		const struct kk_group_plan *group =
			kk_groups_find(&plan->groups, wanted->listeners[i].group);

		n += group ? group->group->n_members : 1;
	}
	return n;
}

static int plan_init(struct plan *plan, const struct kk_tables *tables,
		     const struct kk_datapath_tables *wanted)
{
	size_t n = wanted->n_listeners ? wanted->n_listeners : 1;

	plan->origins_table = kk_tables_origins(tables);
	plan->lists_table = kk_tables_lists(tables);
	plan->listeners = calloc((size_t)tables->n_slots * KK_LISTENERS_PER_ADDRESS,
				 sizeof(*plan->listeners));
	plan->origins = calloc(count_origins(plan, wanted) + 1, sizeof(*plan->origins));
	plan->ids = calloc(n, sizeof(*plan->ids));
	plan->slots = calloc(n, sizeof(*plan->slots));
	plan->taken = calloc(KK_SERVICES_MAX, 1);
	return plan->listeners && plan->origins && plan->ids && plan->slots && plan->taken
		       ? 0
		       : -ENOMEM;
}

static int compare_ids(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static uint32_t *plan_slot(const struct plan *plan, uint32_t id)
{
	const uint32_t *found = bsearch(&id, plan->ids, plan->n_ids, sizeof(id), compare_ids);

	return found ? &plan->slots[found - plan->ids] : NULL;
}

static void plan_ids(struct plan *plan, const struct kk_listener *listeners, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		if (kk_listener_is_there(&listeners[i]))
			plan->ids[kept++] = listeners[i].service;
	n = kept;
	qsort(plan->ids, n, sizeof(*plan->ids), compare_ids);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || plan->ids[i] != plan->ids[i - 1])
			plan->ids[plan->n_ids++] = plan->ids[i];
}

/* Gives the services that have none a slot of @state. Slot 0 stands for no service. */
static void plan_take(struct plan *plan, const union kk_service_slot *services,
		      enum kk_slot_state state)
{
	size_t next = 1;

	for (size_t i = 0; i < plan->n_ids; i++) {
		if (plan->slots[i])
			continue;
		while (next < KK_SERVICES_MAX &&
		       (plan->taken[next] || services[next].state != state))
			next++;
		if (next == KK_SERVICES_MAX)
			return;
		plan->slots[i] = (uint32_t)next;
		plan->taken[next] = 1;
	}
}

/*
 * A service keeps its slot, and so its counters. New ones take over a slot in use only if need be.
 */
static int plan_services(struct plan *plan, const union kk_service_slot *services,
			 struct kk_err *err)
{
	for (size_t slot = 1; slot < KK_SERVICES_MAX; slot++) {
		uint32_t *wanted = services[slot].state == KK_SLOT_USED
					   ? plan_slot(plan, services[slot].id)
					   : NULL;

		if (!wanted || *wanted)
			continue;
		*wanted = (uint32_t)slot;
		plan->taken[slot] = 1;
	}
	plan_take(plan, services, KK_SLOT_FRESH);
	plan_take(plan, services, KK_SLOT_RETIRED);
	plan_take(plan, services, KK_SLOT_USED);
	for (size_t i = 0; i < plan->n_ids; i++)
		if (!plan->slots[i])
			return kk_err_set(
				err, ENOSPC, "services",
				"%zu services are more than the %d that a gateway carries",
				plan->n_ids, KK_SERVICES_MAX - 1);
	return 0;
}

static int plan_listener(struct plan *plan, const struct kk_tables *tables,
			 const struct kk_listener *l, struct kk_err *err)
{
	const struct kk_group_plan *group = kk_groups_find(&plan->groups, l->group);
	struct kk_listener_entry entry;
	int r;

	if (l->group && !group)
		return kk_listener_no_group(l, err);
	r = kk_listener_entry(tables, l, group ? group->number : 0, *plan_slot(plan, l->service),
			      kk_guards_number(&plan->guards, l->service), &entry, err);
	if (r < 0)
		return r;
	if (plan->listeners[entry.index])
		return kk_listener_twice(l, err);
	plan->listeners[entry.index] = entry.word;
	plan->n_origins += kk_listener_origins(l, &entry, group ? group->group : NULL,
					       plan->origins + plan->n_origins);
	return 0;
}

/* What is at the place where the origin's listener is. */
static __u64 word_of(const struct plan *plan, const struct kk_origin_record *origin)
{
	return plan->listeners[kk_listener_index(origin->value.slot, origin->key.protocol,
						 KK_HOST16(origin->value.port))];
}

/* Sorts them, refuses twins, and keeps those that the array of listeners does not answer for. */
static int plan_origins(struct plan *plan, struct kk_err *err)
{
	const struct kk_table *table = &plan->origins_table;
	const struct kk_origin_record *twin;
	size_t kept = 0;

	kk_records_sort(table, plan->origins, plan->n_origins);
	twin = kk_records_twin(table, plan->origins, plan->n_origins);
	if (twin)
		return kk_origin_twice(twin, err);
	for (size_t i = 0; i < plan->n_origins; i++)
		if (!kk_origin_is_plain(&plan->origins[i], word_of(plan, &plan->origins[i])))
			plan->origins[kept++] = plan->origins[i];
	plan->n_origins = kept;
	return kk_change_plan(&plan->origins_change, table, plan->origins, kept, err);
}

static int plan_lists(struct plan *plan, const struct kk_datapath_tables *wanted,
		      struct kk_err *err)
{
	KK_CLEANUP_FREE struct kk_list_record *records = NULL;
	const struct kk_list_record *twin;
	int n = kk_lists_records(wanted->lists, wanted->n_lists, &records, err);

	if (n < 0)
		return n;
	kk_records_sort(&plan->lists_table, records, (size_t)n);
	twin = kk_records_twin(&plan->lists_table, records, (size_t)n);
	if (twin)
		return kk_list_record_twice(twin, err);
	for (size_t i = 0; i < wanted->n_lists; i++)
		if (wanted->lists[i].id == KK_LIST_GATEWAY && wanted->lists[i].n_rules)
			plan->deny = true;
	return kk_change_plan(&plan->lists_change, &plan->lists_table, records, (size_t)n, err);
}

static bool has_list(const struct kk_datapath_tables *wanted, uint32_t id)
{
	for (size_t i = 0; i < wanted->n_lists; i++)
		if (wanted->lists[i].id == id)
			return true;
	return false;
}

static bool has_listener(const struct kk_datapath_tables *wanted, uint32_t service)
{
	for (size_t i = 0; i < wanted->n_listeners; i++)
		if (wanted->listeners[i].service == service)
			return true;
	return false;
}

static int check_guards(const struct plan *plan, const struct kk_datapath_tables *wanted,
			struct kk_err *err)
{
	uint32_t last = 0; /* services mostly share few lists, or have their own */

	for (size_t i = 0; i < wanted->n_guards; i++) {
		const struct kk_guard *guard = &wanted->guards[i];

		if (!plan_slot(plan, guard->service) && !has_listener(wanted, guard->service))
			return kk_guard_unpublished(guard->service, err);
		if (guard->list && guard->list != last && !has_list(wanted, guard->list))
			return kk_guard_no_list(guard->service, guard->list, err);
		last = guard->list;
	}
	return 0;
}

static int plan_make(struct plan *plan, const struct kk_tables *tables,
		     const struct kk_datapath_tables *wanted, struct kk_err *err)
{
	int r = kk_groups_plan(&plan->groups, tables, wanted->groups, wanted->n_groups, err);

	if (r == 0)
		r = kk_guards_plan(&plan->guards, tables, wanted->guards, wanted->n_guards, err);
	if (r < 0)
		return r;
	if (plan_init(plan, tables, wanted) < 0)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	plan_ids(plan, wanted->listeners, wanted->n_listeners);
	r = plan_services(plan, tables->services, err);
	for (size_t i = 0; i < wanted->n_listeners && r == 0; i++)
		if (kk_listener_is_there(&wanted->listeners[i]))
			r = plan_listener(plan, tables, &wanted->listeners[i], err);
	if (r == 0)
		r = check_guards(plan, wanted, err);
	if (r == 0)
		r = plan_origins(plan, err);
	return r < 0 ? r : plan_lists(plan, wanted, err);
}

void kk_tables_reset_service(const struct kk_tables *tables, uint32_t slot)
{
	if (tables->services[slot].state == KK_SLOT_FRESH)
		return;
	for (int d = KK_INBOUND; d <= KK_OUTBOUND; d++) {
		tables->totals[kk_total_index(d, slot)] = (struct kk_counter){0};
		for (uint32_t cpu = 0; cpu < tables->n_traffic; cpu++)
			tables->traffic[kk_traffic_index(cpu, d, slot)] = 0;
	}
}

static void reset_services(const struct kk_tables *tables, const struct plan *plan)
{
	for (size_t i = 0; i < plan->n_ids; i++) {
		const union kk_service_slot *slot = &tables->services[plan->slots[i]];

		if (slot->state != KK_SLOT_USED || slot->id != plan->ids[i])
			kk_tables_reset_service(tables, plan->slots[i]);
	}
}

void kk_tables_store(__u64 *word, __u64 value)
{
	if (*word != value)
		__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static void apply_services(struct kk_tables *tables, const struct plan *plan)
{
	for (size_t i = 0; i < plan->n_ids; i++) {
		const union kk_service_slot used = {
			.id = plan->ids[i],
			.policy = (__u16)kk_guards_number(&plan->guards, plan->ids[i]),
			.state = KK_SLOT_USED,
		};

		kk_tables_store(&tables->services[plan->slots[i]].word, used.word);
	}
}

static void retire_services(struct kk_tables *tables, const struct plan *plan)
{
	for (size_t i = 1; i < KK_SERVICES_MAX; i++) {
		const union kk_service_slot retired = {.state = KK_SLOT_RETIRED};

		if (!plan->taken[i] && tables->services[i].state == KK_SLOT_USED)
			kk_tables_store(&tables->services[i].word, retired.word);
	}
}

/*
 * What is looked up last is there first. A listener that has just lost its guard finds policy 0, which
 * asks nothing.
 */
static void apply(struct kk_tables *tables, const struct plan *plan)
{
	reset_services(tables, plan);
	kk_guards_write(tables, &plan->guards);
	kk_groups_write(tables, &plan->groups);
	apply_services(tables, plan);
	for (size_t i = 0; i < (size_t)tables->n_slots * KK_LISTENERS_PER_ADDRESS; i++)
		kk_tables_store(&tables->listeners[i], plan->listeners[i]);
	kk_tables_feature(tables, KK_FEATURE_LIST, plan->deny);
	retire_services(tables, plan);
	kk_groups_retire(tables, &plan->groups);
}

int kk_tables_set(struct kk_tables *tables, const struct kk_datapath_tables *wanted,
		  struct kk_err *err)
{
	KK_CLEANUP(plan_clean) struct plan plan = {0};
	int r;

	r = plan_make(&plan, tables, wanted, err);
	if (r == 0)
		r = kk_change_put(&plan.origins_change, err);
	if (r < 0)
		return r;
	r = kk_change_put(&plan.lists_change, err);
	if (r < 0) {
		kk_change_undo(&plan.origins_change);
		return r;
	}
	apply(tables, &plan);
	/* They are counted again when somebody asks. */
	kk_uses_free(tables->uses);
	tables->uses = NULL;
	kk_change_finish(&plan.origins_change);
	kk_change_finish(&plan.lists_change);
	return 0;
}

int kk_tables_sync(struct kk_tables *tables, const struct kk_listener *listeners, size_t n,
		   struct kk_err *err)
{
	const struct kk_datapath_tables wanted = {.listeners = listeners, .n_listeners = n};

	return kk_tables_set(tables, &wanted, err);
}
