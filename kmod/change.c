// SPDX-License-Identifier: GPL-2.0
#include "kmod/change.h"

#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "kmod/module.h"

#define PORTS_MAX KK_LISTENERS_PER_ADDRESS /* of one address and both protocols */
#define STEPS_MAX (1 << 21)

/* One step, with what takes it back. */
struct kk_step {
	enum { WORD, WORDS_MADE, HINT_MADE, HINT_MOVED, GROUP, GUARD } kind;
	/* WORD: of a listener; WORDS_MADE, GUARD: slot; HINT_MOVED: where it pointed; GROUP: number */
	u32 index;
	u64 word;    /* before */
	void *old;   /* group or guard before, or the hint */
	void *fresh; /* group or guard from now on */
};

void kk_change_init(struct kk_change *change, struct kk_tables *tables,
		    struct netlink_ext_ack *extack)
{
	*change = (struct kk_change){.tables = tables, .extack = extack};
}

/* Room for @more of @size bytes behind @n of them. */
static int make_room(void **at, u32 n, u32 *room, u32 more, size_t size, u32 max)
{
	u32 next = max(*room * 2, 64u);
	void *bigger;

	if (n + more <= *room)
		return 0;
	if (n + more > max)
		return -E2BIG;
	while (next < n + more)
		next *= 2;
	bigger = kvmalloc_array(next, size, KK_GFP);
	if (!bigger)
		return -ENOMEM;
	if (n)
		memcpy(bigger, *at, n * size);
	kvfree(*at);
	*at = bigger;
	*room = next;
	return 0;
}

static int steps_room(struct kk_change *change, u32 more)
{
	return make_room((void **)&change->steps, change->n_steps, &change->room, more,
			 sizeof(*change->steps), STEPS_MAX);
}

static void note(struct kk_change *change, const struct kk_step *step)
{
	change->steps[change->n_steps++] = *step;
}

/* ---- words ---- */

/* The Agents whose answers a listener claims. */
struct agents {
	const u32 *at;
	u32 n, one;
};

static void agents_of(const struct kk_group *group, u64 word, struct agents *ret)
{
	*ret = (struct agents){.one = kk_listener_agent(word)};
	if (word & KK_LISTENER_SNAT)
		return;
	if (!(word & KK_LISTENER_GROUP)) {
		ret->at = &ret->one;
		ret->n = 1;
	} else if (group) {
		ret->at = group->agents;
		ret->n = group->n;
	}
}

static struct kk_group *group_of(const struct kk_change *change, u64 word)
{
	return word & KK_LISTENER_GROUP
		       ? kk_groups_at(&change->tables->listeners->groups, kk_listener_agent(word))
		       : NULL;
}

static void count_word(struct kk_change *change, u64 word, int step)
{
	struct kk_listeners *listeners = change->tables->listeners;
	struct kk_group *group = group_of(change, word);

	listeners->n += word ? step : 0;
	listeners->n_snat += word & KK_LISTENER_SNAT ? step : 0;
	if (group)
		group->users += step;
}

static void store(struct kk_change *change, u32 index, u64 word)
{
	u64 *words = change->tables->listeners->words[index / KK_LISTENERS_PER_ADDRESS];
	u64 *at = &words[index % KK_LISTENERS_PER_ADDRESS];

	count_word(change, word, 1);
	count_word(change, *at, -1);
	WRITE_ONCE(*at, word);
}

static int make_words(struct kk_change *change, u8 slot)
{
	struct kk_listeners *listeners = change->tables->listeners;
	u64 *words;
	int r;

	if (listeners->words[slot])
		return 0;
	r = steps_room(change, 1);
	if (r)
		return r;
	words = __vmalloc(KK_LISTENERS_PER_ADDRESS * sizeof(*words), KK_GFP | __GFP_ZERO);
	if (!words)
		return -ENOMEM;
	/* Zeroes before the pointer: packets take it without a lock. */
	smp_store_release(&listeners->words[slot], words);
	note(change, &(struct kk_step){.kind = WORDS_MADE, .index = slot});
	return 0;
}

/* Where the core looks before it asks for an origin. */
static u32 shortcut_of(const struct kk_origin_key *key)
{
	return kk_listener_index(kk_slot(key->family, 0), key->protocol, KK_HOST16(key->port));
}

/* That no two listeners have the same way back. */
static int check_unique(struct kk_change *change, u32 index, const struct kk_origin_key *key,
			const struct nlattr *attr)
{
	const struct kk_tables *tables = change->tables;
	const struct kk_hint *hint = kk_tables_hint(tables, key);
	u32 shortcut = shortcut_of(key);

	if ((hint && hint->index != index && kk_tables_claims(tables, hint->index, key)) ||
	    (shortcut != index && kk_tables_claims(tables, shortcut, key))) {
		NL_SET_ERR_MSG_ATTR(change->extack, attr,
				    "the agent's port belongs to another listener of that family");
		return -EEXIST;
	}
	return 0;
}

/* The way back from @agent to the listener at @index, of which there may be none yet. */
static int point(struct kk_change *change, u32 index, u64 word, u32 agent,
		 const struct nlattr *attr)
{
	struct kk_origin_key key = kk_tables_key(change->tables, index, word, agent);
	struct kk_step step = {.index = 0};
	struct kk_hint *hint;
	bool made;
	int r;

	r = check_unique(change, index, &key, attr);
	/* What the core finds by itself needs no hint. */
	if (r || (index == shortcut_of(&key) && !(word & KK_LISTENER_GROUP)))
		return r;
	r = kk_tables_point(change->tables, &key, index, &hint, &step.index, &made);
	if (r)
		return r;
	step.kind = made ? HINT_MADE : HINT_MOVED;
	step.old = hint;
	note(change, &step);
	return 0;
}

static int set_port(struct kk_change *change, const struct kk_range *range, u32 i, u32 index)
{
	struct kk_listeners *listeners = change->tables->listeners;
	struct kk_step step = {
		.kind = WORD, .index = index, .word = kk_tables_word(change->tables, index)};
	struct kk_service *service;
	struct agents agents;
	u64 word;
	int r = 0;

	service = kk_service_get(listeners->services, range->service);
	if (IS_ERR(service))
		return PTR_ERR(service);
	word = kk_listener_word(range->agent, range->agent_port + i, service->slot, range->flags);
	if (kk_guards_at(&listeners->guards, service->slot))
		word |= KK_LISTENER_GUARDED;
	agents_of(group_of(change, word), word, &agents);
	r = steps_room(change, agents.n + 1);
	for (u32 a = 0; a < agents.n && !r; a++)
		r = point(change, index, word, agents.at[a], range->attr);
	if (r) {
		kk_service_put(listeners->services, service->slot);
		return r;
	}
	store(change, index, word);
	note(change, &step);
	return 0;
}

static int remove_port(struct kk_change *change, const struct kk_range *range, u32 index)
{
	struct kk_step step = {
		.kind = WORD, .index = index, .word = kk_tables_word(change->tables, index)};
	int r;

	if (!step.word) {
		NL_SET_ERR_MSG_ATTR(change->extack, range->attr,
				    "nothing is published on that port");
		return -ENOENT;
	}
	r = steps_room(change, 1);
	if (r)
		return r;
	store(change, index, 0);
	note(change, &step);
	return 0;
}

int kk_change_range(struct kk_change *change, const struct kk_range *range)
{
	int r = 0;

	change->ports += range->n;
	if (change->ports > PORTS_MAX) {
		NL_SET_ERR_MSG_ATTR(change->extack, range->attr,
				    "more than 131072 ports in one request");
		return -E2BIG;
	}
	if (!range->gone)
		r = make_words(change, range->slot);
	for (u32 i = 0; i < range->n && !r; i++) {
		u32 index = kk_listener_index(range->slot, range->protocol, range->port + i);

		r = range->gone ? remove_port(change, range, index)
				: set_port(change, range, i, index);
		if (i % 4096 == 4095)
			cond_resched();
	}
	return r;
}

/* ---- groups ---- */

/* Calls @each for the listeners that lead to group @number, until it fails. */
static int for_each_user(struct kk_change *change, u32 number,
			 int (*each)(struct kk_change *change, u32 index, u64 word,
				     const struct kk_group *group, const struct nlattr *attr),
			 const struct kk_group *group, const struct nlattr *attr)
{
	int r = 0;

	for (u32 slot = 0; slot < KK_SLOTS_MAX && !r; slot++) {
		const u64 *words = change->tables->listeners->words[slot];

		for (u32 i = 0; words && i < KK_LISTENERS_PER_ADDRESS && !r; i++)
			if (words[i] & KK_LISTENER_GROUP && kk_listener_agent(words[i]) == number)
				r = each(change, slot * KK_LISTENERS_PER_ADDRESS + i, words[i],
					 group, attr);
		cond_resched();
	}
	return r;
}

/* The ways back from the members of @group to a listener that leads to it. */
static int point_members(struct kk_change *change, u32 index, u64 word,
			 const struct kk_group *group, const struct nlattr *attr)
{
	struct agents agents;
	int r;

	agents_of(group, word, &agents);
	r = steps_room(change, agents.n + 1);
	for (u32 a = 0; a < agents.n && !r; a++)
		r = point(change, index, word, agents.at[a], attr);
	return r;
}

static void put_group(struct kk_change *change, u32 number, struct kk_group *group)
{
	struct kk_groups *groups = &change->tables->listeners->groups;

	groups->n += !!group;
	groups->n -= !!kk_groups_at(groups, number);
	rcu_assign_pointer(groups->by_number[number], group);
}

int kk_change_group(struct kk_change *change, struct kk_group *group, const struct nlattr *attr)
{
	struct kk_groups *groups = &change->tables->listeners->groups;
	struct kk_group *old = kk_groups_find(groups, group->id);
	int number = old ? old->number : kk_groups_free_number(groups), r;

	r = steps_room(change, 1);
	if (number < 0) {
		NL_SET_ERR_MSG_ATTR(change->extack, attr, "there are 256 groups already");
		r = number;
	}
	if (r) {
		kfree(group);
		return r;
	}
	group->number = number;
	group->users = old ? old->users : 0;
	note(change, &(struct kk_step){.kind = GROUP, .index = number, .old = old, .fresh = group});
	put_group(change, number, group);
	return group->users ? for_each_user(change, number, point_members, group, attr) : 0;
}

int kk_change_group_gone(struct kk_change *change, u32 id, const struct nlattr *attr)
{
	struct kk_group *old = kk_groups_find(&change->tables->listeners->groups, id);
	int r;

	if (!old) {
		NL_SET_ERR_MSG_ATTR(change->extack, attr, "there is no such group");
		return -ENOENT;
	}
	if (old->users) {
		NL_SET_ERR_MSG_ATTR(change->extack, attr, "listeners lead to that group");
		return -EBUSY;
	}
	r = steps_room(change, 1);
	if (r)
		return r;
	note(change, &(struct kk_step){.kind = GROUP, .index = old->number, .old = old});
	put_group(change, old->number, NULL);
	return 0;
}

/* ---- guards and lists ---- */

int kk_change_guard(struct kk_change *change, struct kk_guard *guard)
{
	struct kk_listeners *listeners = change->tables->listeners;
	struct kk_service *service;
	void *old;
	int r = steps_room(change, 1);

	service = r ? ERR_PTR(r) : kk_service_get(listeners->services, guard->service);
	if (IS_ERR(service)) {
		kfree(guard);
		return PTR_ERR(service);
	}
	old = xa_store(&listeners->guards.by_slot, service->slot, guard, KK_GFP);
	if (xa_is_err(old)) {
		kk_service_put(listeners->services, service->slot);
		kfree(guard);
		return xa_err(old);
	}
	note(change, &(struct kk_step){.kind = GUARD,
				       .index = service->slot,
				       .old = xa_is_zero(old) ? NULL : old,
				       .fresh = guard});
	change->guards = true;
	return 0;
}

/* Its place stays until the end, so that there is a way back without memory. */
int kk_change_guard_gone(struct kk_change *change, u32 id, const struct nlattr *attr)
{
	struct kk_listeners *listeners = change->tables->listeners;
	struct kk_service *service = xa_load(&listeners->services->by_id, id);
	void *old = service ? xa_load(&listeners->guards.by_slot, service->slot) : NULL;
	int r;

	if (!old) {
		NL_SET_ERR_MSG_ATTR(change->extack, attr, "that service has no guard");
		return -ENOENT;
	}
	r = steps_room(change, 1);
	if (r)
		return r;
	xa_store(&listeners->guards.by_slot, service->slot, XA_ZERO_ENTRY, GFP_KERNEL);
	note(change, &(struct kk_step){.kind = GUARD, .index = service->slot, .old = old});
	change->guards = true;
	return 0;
}

int kk_change_rule(struct kk_change *change, const struct kk_rule_change *rule)
{
	int r = make_room((void **)&change->rules, change->n_rules, &change->rules_room, 1,
			  sizeof(*change->rules), KK_LIST_ENTRIES_MAX * 2);

	if (r)
		return r;
	change->rules[change->n_rules] = *rule;
	change->rules[change->n_rules].order = change->n_rules;
	change->n_rules++;
	return 0;
}

/* ---- the end ---- */

/* Listeners know whether their service has a guard, so that most packets need not ask. */
static void mark_guarded(struct kk_change *change)
{
	struct kk_listeners *listeners = change->tables->listeners;

	for (u32 slot = 0; slot < KK_SLOTS_MAX; slot++) {
		u64 *words = listeners->words[slot], word;

		for (u32 i = 0; words && i < KK_LISTENERS_PER_ADDRESS; i++) {
			if (!words[i])
				continue;
			word = words[i] & ~KK_LISTENER_GUARDED;
			if (kk_guards_at(&listeners->guards, kk_listener_service(word)))
				word |= KK_LISTENER_GUARDED;
			if (word != words[i])
				WRITE_ONCE(words[i], word);
		}
		cond_resched();
	}
}

static void drop_hint(struct kk_change *change, u32 index, u64 word, u32 agent)
{
	struct kk_origin_key key = kk_tables_key(change->tables, index, word, agent);
	struct kk_hint *hint = kk_tables_hint(change->tables, &key);

	if (hint && hint->index == index && !kk_tables_claims(change->tables, index, &key))
		kk_tables_forget(change->tables, hint);
}

static void drop_hints(struct kk_change *change, u32 index, u64 word, const struct kk_group *group)
{
	struct agents agents;

	agents_of(group, word, &agents);
	for (u32 a = 0; a < agents.n; a++)
		drop_hint(change, index, word, agents.at[a]);
}

static int drop_members(struct kk_change *change, u32 index, u64 word, const struct kk_group *group,
			const struct nlattr *attr)
{
	drop_hints(change, index, word, group);
	return 0;
}

/* The group that a listener led to before all this. */
static const struct kk_group *group_before(const struct kk_change *change, u64 word)
{
	for (u32 i = 0; i < change->n_steps && word & KK_LISTENER_GROUP; i++)
		if (change->steps[i].kind == GROUP &&
		    change->steps[i].index == kk_listener_agent(word))
			return change->steps[i].old;
	return group_of(change, word);
}

static void finish_word(struct kk_change *change, const struct kk_step *step)
{
	if (!step->word)
		return;
	drop_hints(change, step->index, step->word, group_before(change, step->word));
	if (step->word & KK_LISTENER_GROUP)
		drop_hints(change, step->index, step->word, group_of(change, step->word));
	kk_service_put(change->tables->listeners->services, kk_listener_service(step->word));
}

static void finish_guard(struct kk_change *change, const struct kk_step *step)
{
	struct kk_listeners *listeners = change->tables->listeners;
	struct kk_guard *old = step->old;

	if (!xa_load(&listeners->guards.by_slot, step->index))
		xa_release(&listeners->guards.by_slot, step->index);
	if (!old)
		return;
	kk_service_put(listeners->services, step->index);
	kfree_rcu(old, rcu);
}

static void finish(struct kk_change *change)
{
	if (change->guards)
		mark_guarded(change);
	for (u32 i = 0; i < change->n_steps; i++)
		if (change->steps[i].kind == WORD)
			finish_word(change, &change->steps[i]);
	for (u32 i = 0; i < change->n_steps; i++) {
		struct kk_step *step = &change->steps[i];
		struct kk_group *old = step->old;

		if (step->kind == GUARD)
			finish_guard(change, step);
		if (step->kind != GROUP || !old)
			continue;
		if (old->users)
			for_each_user(change, step->index, drop_members, old, NULL);
		kfree_rcu(old, rcu);
	}
}

static void undo_guard(struct kk_change *change, const struct kk_step *step)
{
	struct kk_listeners *listeners = change->tables->listeners;
	struct kk_guard *fresh = step->fresh;

	if (step->old)
		xa_store(&listeners->guards.by_slot, step->index, step->old, GFP_KERNEL);
	else
		xa_erase(&listeners->guards.by_slot, step->index);
	if (!fresh)
		return;
	kk_service_put(listeners->services, step->index);
	kfree_rcu(fresh, rcu);
}

static void undo_group(struct kk_change *change, const struct kk_step *step)
{
	struct kk_group *fresh = step->fresh;

	put_group(change, step->index, step->old);
	if (fresh)
		kfree_rcu(fresh, rcu);
}

/* All of them are zero again by then. */
static void undo_words(struct kk_change *change, u32 slot)
{
	u64 **words = &change->tables->listeners->words[slot];

	change->words_gone[slot] = *words;
	WRITE_ONCE(*words, NULL);
}

static void free_words(struct kk_change *change)
{
	bool waited = false;

	for (u32 slot = 0; slot < KK_SLOTS_MAX; slot++) {
		if (!change->words_gone[slot])
			continue;
		if (!waited)
			synchronize_rcu();
		waited = true;
		vfree(change->words_gone[slot]);
	}
}

static void undo(struct kk_change *change, const struct kk_step *step)
{
	struct kk_hint *hint = step->old;
	u64 word;

	switch (step->kind) {
	case WORD:
		word = kk_tables_word(change->tables, step->index);
		store(change, step->index, step->word);
		if (word)
			kk_service_put(change->tables->listeners->services,
				       kk_listener_service(word));
		break;
	case WORDS_MADE:
		undo_words(change, step->index);
		break;
	case HINT_MADE:
		kk_tables_forget(change->tables, hint);
		break;
	case HINT_MOVED:
		WRITE_ONCE(hint->index, step->index);
		break;
	case GROUP:
		undo_group(change, step);
		break;
	case GUARD:
		undo_guard(change, step);
		break;
	}
}

int kk_change_end(struct kk_change *change, int r)
{
	if (!r && change->n_rules)
		r = kk_lists_change(&change->tables->listeners->lists, change->rules,
				    change->n_rules, change->extack);
	if (!r)
		finish(change);
	else
		while (change->n_steps)
			undo(change, &change->steps[--change->n_steps]);
	free_words(change);
	kvfree(change->steps);
	kvfree(change->rules);
	return r;
}
