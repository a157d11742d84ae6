// SPDX-License-Identifier: MIT
/*
 * As in sync.c all that can fail comes before the first word of the mapped tables is written, and writing those cannot fail.
 * What uses what is counted along.
 */
#include "bpf/amend.h"

#include <errno.h>

#include "bpf/part.h"
#include "util/cleanup.h"

/* Where the tables are nearly full there may be no room for both what comes and what goes. */
static int put(struct kk_change *change, struct kk_err *err)
{
	struct kk_err full = {0};
	int r = kk_change_put(change, &full);

	if (r == -ENOSPC && change->gone.n) {
		change->gone_first = true;
		return kk_change_put(change, err);
	}
	return r < 0 ? kk_err_set(err, full.code, full.field, "%s", full.msg) : 0;
}

static void leave_services(struct kk_tables *tables, const struct kk_part *part)
{
	for (size_t i = 0; i < part->n_services; i++) {
		const struct kk_part_service *s = &part->services[i];

		if (!s->slot || s->next)
			continue;
		kk_uses_drop_policy(tables->uses, tables, tables->services[s->slot].policy);
		kk_uses_leave(tables->uses, tables, s->slot);
		tables->uses->listeners[s->slot] = 0;
	}
}

static void enter_services(struct kk_tables *tables, const struct kk_part *part)
{
	struct kk_uses *uses = tables->uses;

	uses->n_retired -= part->n_retired;
	for (size_t i = 0; i < part->n_services; i++) {
		const struct kk_part_service *s = &part->services[i];
		const union kk_service_slot old = tables->services[s->next];
		const union kk_service_slot used = {
			.id = s->id,
			.policy = (__u16)kk_guards_number(&part->guards, s->id),
			.state = KK_SLOT_USED,
		};

		if (!s->next)
			continue;
		if (!s->slot)
			kk_tables_reset_service(tables, s->next);
		kk_tables_store(&tables->services[s->next].word, used.word);
		if (!s->slot)
			kk_uses_enter(uses, tables, s->next);
		kk_uses_take_policy(uses, tables, used.policy);
		if (s->slot)
			kk_uses_drop_policy(uses, tables, old.policy);
		uses->listeners[s->next] = s->n;
	}
}

/* But for slots that another service has taken over. */
static void retire_services(struct kk_tables *tables, const struct kk_part *part)
{
	static const union kk_service_slot retired = {.state = KK_SLOT_RETIRED};

	for (size_t i = 0; i < part->n_services; i++) {
		const struct kk_part_service *s = &part->services[i];

		if (!s->slot || s->next || tables->services[s->slot].id != s->id)
			continue;
		kk_tables_store(&tables->services[s->slot].word, retired.word);
		kk_uses_retire(tables->uses, s->slot);
	}
}

static void count_group(struct kk_uses *uses, __u64 word, int by)
{
	if (word & KK_LISTENER_GROUP)
		uses->groups[kk_listener_agent(word) % KK_GROUPS_MAX] += (uint32_t)by;
}

/* Both sides are in order of index. */
static void write_listeners(struct kk_tables *tables, const struct kk_part *part)
{
	const struct kk_part_side *old = &part->old, *next = &part->next;

	for (size_t i = 0; i < next->n_entries; i++) {
		kk_tables_store(&tables->listeners[next->entries[i].index], next->entries[i].word);
		count_group(tables->uses, next->entries[i].word, 1);
	}
	for (size_t i = 0, j = 0; i < old->n_entries; i++) {
		const uint32_t index = old->entries[i].index;

		count_group(tables->uses, old->entries[i].word, -1);
		while (j < next->n_entries && next->entries[j].index < index)
			j++;
		if (j == next->n_entries || next->entries[j].index != index)
			kk_tables_store(&tables->listeners[index], 0);
	}
}

/* What is looked up last is there first, as kk_tables_set() has it. */
static void apply(struct kk_tables *tables, const struct kk_part *part)
{
	struct kk_uses *uses = tables->uses;

	kk_guards_write(tables, &part->guards);
	kk_groups_write(tables, &part->groups);
	leave_services(tables, part);
	enter_services(tables, part);
	write_listeners(tables, part);
	uses->n_rules += part->next.n_rules - part->old.n_rules;
	uses->n_denied += part->next.n_denied - part->old.n_denied;
	kk_tables_feature(tables, KK_FEATURE_LIST, uses->n_denied > 0);
	retire_services(tables, part);
	kk_groups_retire(tables, &part->groups);
}

int kk_tables_amend(struct kk_tables *tables, const struct kk_datapath_tables *from,
		    const struct kk_datapath_tables *to, struct kk_err *err)
{
	KK_CLEANUP(kk_part_clean) struct kk_part part = {0};
	int r = tables->uses ? 0 : kk_uses_make(tables, &tables->uses, err);

	if (r == 0)
		r = kk_part_plan(&part, tables, tables->uses, from, to, err);
	if (r == 0)
		r = put(&part.origins, err);
	if (r < 0)
		return r;
	r = put(&part.lists, err);
	if (r < 0) {
		kk_change_undo(&part.origins);
		return r;
	}
	apply(tables, &part);
	kk_change_finish(&part.origins);
	kk_change_finish(&part.lists);
	return 0;
}
