// SPDX-License-Identifier: MIT
#include "bpf/part.h"

#include <errno.h>
#include <stdlib.h>

#include "util/cleanup.h"

static void side_clean(struct kk_part_side *side)
{
	free(side->entries);
	free(side->origins);
	free(side->rules);
}

void kk_part_clean(struct kk_part *part)
{
	free(part->services);
	side_clean(&part->old);
	side_clean(&part->next);
	kk_groups_clean(&part->groups);
	kk_guards_clean(&part->guards);
	kk_change_clean(&part->origins);
	kk_change_clean(&part->lists);
}

static int no_memory(struct kk_err *err)
{
	return kk_err_set(err, ENOMEM, NULL, "out of memory");
}

int kk_part_stale(const char *what, uint32_t number, struct kk_err *err)
{
	return kk_err_set(err, ESTALE, NULL, "the tables have other listeners of %s %u", what,
			  number);
}

/* ---- services ---- */

static int compare_services(const void *a, const void *b)
{
	const struct kk_part_service *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

struct kk_part_service *kk_part_service(const struct kk_part *part, uint32_t id)
{
	const struct kk_part_service key = {.id = id};

	return bsearch(&key, part->services, part->n_services, sizeof(key), compare_services);
}

static void name_services(struct kk_part *part, const struct kk_datapath_tables *side, bool next)
{
	for (size_t i = 0; i < side->n_listeners; i++)
		if (kk_listener_is_there(&side->listeners[i]))
			part->services[part->n_services++] = (struct kk_part_service){
				.id = side->listeners[i].service, .n_old = !next, .n = next};
}

/* Each once, and how many listeners it has on both sides. */
static int find_services(struct kk_part *part, struct kk_err *err)
{
	size_t n = 0;

	part->services = calloc(part->from->n_listeners + part->to->n_listeners + 1,
				sizeof(*part->services));
	if (!part->services)
		return no_memory(err);
	name_services(part, part->from, false);
	name_services(part, part->to, true);
	qsort(part->services, part->n_services, sizeof(*part->services), compare_services);
	for (size_t i = 0; i < part->n_services; i++) {
		struct kk_part_service *s = &part->services[i];

		if (n && part->services[n - 1].id == s->id) {
			part->services[n - 1].n_old += s->n_old;
			part->services[n - 1].n += s->n;
		} else {
			part->services[n++] = *s;
		}
	}
	part->n_services = n;
	for (size_t i = 0; i < n; i++) {
		struct kk_part_service *s = &part->services[i];

		s->slot = kk_uses_slot(part->uses, part->tables, s->id);
		if (s->n_old != part->uses->listeners[s->slot])
			return kk_part_stale("service", s->id, err);
	}
	return 0;
}

/* As kk_tables_set() gives them out: those that never were used, those that were, those that this change frees. */
static uint32_t take_slot(struct kk_part *part, size_t *freed)
{
	const struct kk_uses *uses = part->uses;
	uint32_t fresh = uses->fresh + (uint32_t)part->n_fresh;

	/* Slots in between may be in use: they were adopted. */
	while (fresh < KK_SERVICES_MAX && part->tables->services[fresh].state != KK_SLOT_FRESH)
		fresh++;
	if (fresh < KK_SERVICES_MAX) {
		part->n_fresh = fresh - uses->fresh + 1;
		return fresh;
	}
	if (part->n_retired < uses->n_retired)
		return uses->retired[uses->n_retired - ++part->n_retired];
	for (; *freed < part->n_services; (*freed)++) {
		const struct kk_part_service *s = &part->services[*freed];

		if (s->slot && !s->n)
			return part->services[(*freed)++].slot;
	}
	return 0;
}

static int plan_slots(struct kk_part *part, struct kk_err *err)
{
	size_t n = part->uses->n_services, freed = 0;
	bool room = true;

	for (size_t i = 0; i < part->n_services; i++) {
		struct kk_part_service *s = &part->services[i];

		n = n + (s->n && !s->slot) - (s->slot && !s->n);
		if (!s->n)
			continue;
		s->next = s->slot ? s->slot : take_slot(part, &freed);
		room &= s->next != 0;
	}
	if (!room)
		return kk_err_set(err, ENOSPC, "services",
				  "%zu services are more than the %d that a gateway carries", n,
				  KK_SERVICES_MAX - 1);
	return 0;
}

/* ---- groups ---- */

static const struct kk_group *find_group(const struct kk_datapath_tables *side, uint32_t id)
{
	for (size_t i = 0; i < side->n_groups; i++)
		if (side->groups[i].id == id)
			return &side->groups[i];
	return NULL;
}

static size_t count_to_group(const struct kk_datapath_tables *side, uint32_t id)
{
	size_t n = 0;

	for (size_t i = 0; i < side->n_listeners; i++)
		n += side->listeners[i].group == id && kk_listener_is_there(&side->listeners[i]);
	return n;
}

/* All that leads to a group of the tables is part of it. */
static int check_group(const struct kk_part *part, uint32_t id, struct kk_err *err)
{
	int number = kk_groups_number(part->tables, id);

	if (count_to_group(part->from, id) == (number < 0 ? 0 : part->uses->groups[number]))
		return 0;
	return kk_part_stale("group", id, err);
}

static int plan_groups(struct kk_part *part, struct kk_err *err)
{
	const struct kk_datapath_tables *from = part->from, *to = part->to;
	int r = 0;

	kk_groups_plan_stays(&part->groups, part->tables, from->groups, from->n_groups, to->groups,
			     to->n_groups);
	r = kk_groups_plan(&part->groups, part->tables, to->groups, to->n_groups, err);
	for (size_t i = 0; i < from->n_groups && r == 0; i++)
		r = check_group(part, from->groups[i].id, err);
	for (size_t i = 0; i < to->n_groups && r == 0; i++)
		if (!find_group(from, to->groups[i].id))
			r = check_group(part, to->groups[i].id, err);
	return r;
}

/* ---- listeners ---- */

static int compare_entries(const void *a, const void *b)
{
	const struct kk_listener_entry *x = a, *y = b;

	return (x->index > y->index) - (x->index < y->index);
}

const struct kk_listener_entry *kk_part_entry(const struct kk_part_side *side, uint32_t index)
{
	const struct kk_listener_entry key = {.index = index};

	return bsearch(&key, side->entries, side->n_entries, sizeof(key), compare_entries);
}

static int make_room(struct kk_part_side *side, const struct kk_datapath_tables *tables,
		     struct kk_err *err)
{
	size_t n = 0;

	for (size_t i = 0; i < tables->n_listeners; i++) {
		const struct kk_listener *l = &tables->listeners[i];
		const struct kk_group *group = find_group(tables, l->group);

		if (!l->group || group)
			n += kk_listener_origins_max(l, group);
	}
	side->entries = calloc(tables->n_listeners + 1, sizeof(*side->entries));
	side->origins = calloc(n + 1, sizeof(*side->origins));
	return side->entries && side->origins ? 0 : no_memory(err);
}

static void add_entry(struct kk_part_side *side, const struct kk_listener *l,
		      const struct kk_group *group, const struct kk_listener_entry *entry)
{
	side->entries[side->n_entries++] = *entry;
	side->n_origins += kk_listener_origins(l, entry, group, side->origins + side->n_origins);
}

/* As it is said to be in the tables. */
static int add_old(struct kk_part *part, const struct kk_listener *l, struct kk_err *err)
{
	const struct kk_group *group = find_group(part->from, l->group);
	const struct kk_part_service *s = kk_part_service(part, l->service);
	int number = l->group ? kk_groups_number(part->tables, l->group) : 0, r;
	struct kk_listener_entry entry;
	__u64 there;

	if (number < 0 || (l->group && !group))
		return kk_part_stale("service", l->service, err);
	r = kk_listener_entry(part->tables, l, (uint32_t)number, s->slot, false, &entry, err);
	if (r < 0)
		return r;
	there = part->tables->listeners[entry.index];
	if ((there & ~KK_LISTENER_GUARDED) != entry.word)
		return kk_part_stale("service", l->service, err);
	entry.word = there;
	add_entry(&part->old, l, group, &entry);
	return 0;
}

static int add_next(struct kk_part *part, const struct kk_listener *l, struct kk_err *err)
{
	const struct kk_group_plan *group = kk_groups_find(&part->groups, l->group);
	const struct kk_part_service *s = kk_part_service(part, l->service);
	struct kk_listener_entry entry;
	int r;

	/* One that stays would have to be named: its members are not all in the tables. */
	if (l->group && !group)
		return kk_groups_number(part->tables, l->group) < 0 ||
				       find_group(part->from, l->group)
			       ? kk_listener_no_group(l, err)
			       : kk_part_stale("group", l->group, err);
	r = kk_listener_entry(part->tables, l, group ? group->number : 0, s->next,
			      kk_guards_number(&part->guards, l->service), &entry, err);
	if (r < 0)
		return r;
	if (part->tables->listeners[entry.index] && !kk_part_entry(&part->old, entry.index))
		return kk_listener_twice(l, err);
	add_entry(&part->next, l, group ? group->group : NULL, &entry);
	return 0;
}

static void sort_entries(struct kk_part_side *side)
{
	qsort(side->entries, side->n_entries, sizeof(*side->entries), compare_entries);
}

/* Two of one side that claim a place: the word alone does not say which address that is. */
static int check_twins(const struct kk_part_side *side, struct kk_err *err)
{
	for (size_t i = 1; i < side->n_entries; i++) {
		uint32_t place = side->entries[i].index % KK_LISTENERS_PER_ADDRESS;
		const struct kk_listener l = {.protocol = place < 65536 ? IPPROTO_TCP : IPPROTO_UDP,
					      .port = (uint16_t)place};

		if (side->entries[i].index == side->entries[i - 1].index)
			return kk_listener_twice(&l, err);
	}
	return 0;
}

static int plan_listeners(struct kk_part *part, struct kk_err *err)
{
	const struct kk_datapath_tables *from = part->from, *to = part->to;
	int r = make_room(&part->old, from, err);

	if (r == 0)
		r = make_room(&part->next, to, err);
	for (size_t i = 0; i < from->n_listeners && r == 0; i++)
		if (kk_listener_is_there(&from->listeners[i]))
			r = add_old(part, &from->listeners[i], err);
	sort_entries(&part->old);
	for (size_t i = 0; i < to->n_listeners && r == 0; i++)
		if (kk_listener_is_there(&to->listeners[i]))
			r = add_next(part, &to->listeners[i], err);
	sort_entries(&part->next);
	return r < 0 ? r : check_twins(&part->next, err);
}

/* ---- all of it ---- */

int kk_part_plan(struct kk_part *ret, const struct kk_tables *tables, const struct kk_uses *uses,
		 const struct kk_datapath_tables *from, const struct kk_datapath_tables *to,
		 struct kk_err *err)
{
	int r;

	ret->tables = tables;
	ret->uses = uses;
	ret->from = from;
	ret->to = to;
	ret->origins_table = kk_tables_origins(tables);
	ret->lists_table = kk_tables_lists(tables);
	r = find_services(ret, err);
	if (r == 0)
		r = plan_groups(ret, err);
	if (r == 0)
		r = kk_guards_plan_part(&ret->guards, tables, uses, to->guards, to->n_guards, err);
	if (r == 0)
		r = plan_slots(ret, err);
	if (r == 0)
		r = plan_listeners(ret, err);
	if (r == 0)
		r = kk_part_check_guards(ret, err);
	if (r == 0)
		r = kk_part_plan_origins(ret, err);
	return r < 0 ? r : kk_part_plan_lists(ret, err);
}
