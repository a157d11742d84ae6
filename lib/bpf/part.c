// SPDX-License-Identifier: MIT
#include "bpf/part.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/bpf.h>

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

/* What the tables have is not what the caller says, or not all of it. */
static int stale(const char *what, uint32_t number, struct kk_err *err)
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
			return stale("service", s->id, err);
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
	return stale("group", id, err);
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

static bool has_entry(const struct kk_part_side *side, uint32_t index)
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
		return stale("service", l->service, err);
	r = kk_listener_entry(part->tables, l, (uint32_t)number, s->slot, false, &entry, err);
	if (r < 0)
		return r;
	there = part->tables->listeners[entry.index];
	if ((there & ~KK_LISTENER_GUARDED) != entry.word)
		return stale("service", l->service, err);
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
			       : stale("group", l->group, err);
	r = kk_listener_entry(part->tables, l, group ? group->number : 0, s->next,
			      kk_guards_number(&part->guards, l->service), &entry, err);
	if (r < 0)
		return r;
	if (part->tables->listeners[entry.index] && !has_entry(&part->old, entry.index))
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

/* ---- the ways back ---- */

static const struct kk_origin_record *find_origin(const struct kk_part *part,
						  const struct kk_part_side *side,
						  const struct kk_origin_key *key)
{
	size_t low = 0, high = side->n_origins;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int c = memcmp(&side->origins[middle].key, key, part->origins_table.key_size);

		if (c == 0)
			return &side->origins[middle];
		*(c < 0 ? &low : &high) = c < 0 ? middle + 1 : middle;
	}
	return NULL;
}

/* Whether a listener that stays has it. */
static bool is_taken(const struct kk_part *part, const struct kk_origin_record *origin)
{
	const struct kk_settings *set = &part->tables->settings;
	const struct kk_origin_key *key = &origin->key;
	uint32_t index =
		kk_listener_index(kk_slot(key->family, 0), key->protocol, KK_HOST16(key->port));
	struct kk_origin value;
	__u64 word;

	if (bpf_map_lookup_elem(part->origins_table.fd, key, &value) == 0)
		return true;
	if (index >= part->tables->n_slots * KK_LISTENERS_PER_ADDRESS ||
	    has_entry(&part->old, index))
		return false;
	word = part->tables->listeners[index];
	return word && !(word & (KK_LISTENER_GROUP | KK_LISTENER_SNAT)) &&
	       kk_listener_port(word) == KK_HOST16(key->port) &&
	       kk_listener_agent(word) == kk_pool_offset(key->address, set->pool_mask);
}

/* Those that the table of origins has; the word of their listener is in @side. */
static void drop_plain(struct kk_part_side *side)
{
	size_t kept = 0;

	for (size_t i = 0; i < side->n_origins; i++) {
		const struct kk_origin_record *o = &side->origins[i];
		const struct kk_listener_entry key = {
			.index = kk_listener_index(o->value.slot, o->key.protocol,
						   KK_HOST16(o->value.port))};
		const struct kk_listener_entry *entry =
			bsearch(&key, side->entries, side->n_entries, sizeof(key), compare_entries);

		if (!kk_origin_is_plain(o, entry->word))
			side->origins[kept++] = *o;
	}
	side->n_origins = kept;
}

static int plan_origins(struct kk_part *part, struct kk_err *err)
{
	const struct kk_table *table = &part->origins_table;
	const struct kk_origin_record *twin;

	kk_records_sort(table, part->old.origins, part->old.n_origins);
	kk_records_sort(table, part->next.origins, part->next.n_origins);
	twin = kk_records_twin(table, part->next.origins, part->next.n_origins);
	for (size_t i = 0; i < part->next.n_origins && !twin; i++) {
		const struct kk_origin_record *origin = &part->next.origins[i];

		if (!find_origin(part, &part->old, &origin->key) && is_taken(part, origin))
			twin = origin;
	}
	if (twin)
		return kk_origin_twice(twin, err);
	drop_plain(&part->old);
	drop_plain(&part->next);
	return kk_change_plan_part(&part->origins, table, part->old.origins, part->old.n_origins,
				   part->next.origins, part->next.n_origins, err);
}

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

static int plan_lists(struct kk_part *part, struct kk_err *err)
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
			       ? stale("service", guard->service, err)
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

static int check_guards(const struct kk_part *part, struct kk_err *err)
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
		r = check_guards(ret, err);
	if (r == 0)
		r = plan_origins(ret, err);
	return r < 0 ? r : plan_lists(ret, err);
}
