// SPDX-License-Identifier: GPL-2.0
#include "kmod/tables.h"

#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "kmod/module.h"

static const struct rhashtable_params kk_hints = {
	.key_len = sizeof(struct kk_origin_key),
	.key_offset = offsetof(struct kk_hint, key),
	.head_offset = offsetof(struct kk_hint, node),
	.automatic_shrinking = true,
};

static void free_hint(void *hint, void *arg)
{
	kfree(hint);
}

static void free_listeners(struct kk_listeners *listeners)
{
	rhashtable_free_and_destroy(&listeners->origins, free_hint, NULL);
	for (u32 i = 0; i < KK_SLOTS_MAX; i++)
		vfree(listeners->words[i]);
	kk_groups_clean(&listeners->groups);
	kk_guards_clean(&listeners->guards);
	kk_lists_clean(&listeners->lists);
	kfree(listeners);
}

static struct kk_listeners *new_listeners(struct kk_services *services)
{
	struct kk_listeners *listeners = kzalloc(sizeof(*listeners), KK_GFP);

	if (!listeners)
		return NULL;
	listeners->services = services;
	kk_guards_init(&listeners->guards);
	kk_lists_init(&listeners->lists);
	if (rhashtable_init(&listeners->origins, &kk_hints)) {
		kfree(listeners);
		return NULL;
	}
	return listeners;
}

static struct kk_tables *new_tables(const struct kk_config *config)
{
	struct kk_tables *tables = kzalloc(sizeof(*tables), KK_GFP);

	if (!tables)
		return NULL;
	tables->set = config->set;
	tables->edge = config->edge;
	tables->flags = config->flags;
	tables->flows_max = config->flows_max;
	tables->flow_times = config->flow_times;
	return tables;
}

struct kk_tables *kk_tables_new(const struct kk_config *config, struct kk_services *services)
{
	struct kk_tables *tables = new_tables(config);

	if (!tables)
		return NULL;
	tables->listeners = new_listeners(services);
	if (!tables->listeners) {
		kfree(tables);
		return NULL;
	}
	tables->listeners->users = 1;
	return tables;
}

struct kk_tables *kk_tables_with(const struct kk_config *config, const struct kk_tables *from)
{
	struct kk_tables *tables = new_tables(config);

	if (!tables)
		return NULL;
	tables->listeners = from->listeners;
	tables->listeners->users++;
	return tables;
}

static void put_services(struct kk_listeners *listeners)
{
	struct kk_guard *guard;
	unsigned long at;

	for (u32 slot = 0; slot < KK_SLOTS_MAX; slot++) {
		const u64 *words = listeners->words[slot];

		for (u32 i = 0; words && i < KK_LISTENERS_PER_ADDRESS; i++)
			if (words[i])
				kk_service_put(listeners->services, kk_listener_service(words[i]));
		cond_resched();
	}
	xa_for_each(&listeners->guards.by_slot, at, guard) kk_service_put(listeners->services, at);
}

static void free_work(struct work_struct *work)
{
	struct kk_tables *tables = container_of(to_rcu_work(work), struct kk_tables, free);

	if (tables->last)
		free_listeners(tables->listeners);
	kfree(tables);
}

void kk_tables_free(struct kk_tables *tables)
{
	if (!tables)
		return;
	/* The services at once, under the lock; what packets still read of the rest, later. */
	tables->last = --tables->listeners->users == 0;
	if (tables->last)
		put_services(tables->listeners);
	INIT_RCU_WORK(&tables->free, free_work);
	queue_rcu_work(kk_workqueue, &tables->free);
}

static u8 protocol_of(u32 index)
{
	return index % KK_LISTENERS_PER_ADDRESS < 65536 ? KK_TCP : KK_UDP;
}

static u8 family_of(u32 index)
{
	return index / KK_LISTENERS_PER_ADDRESS % 2 ? KK_IP6 : KK_IP4;
}

struct kk_origin_key kk_tables_key(const struct kk_tables *tables, u32 index, u64 word, u32 agent)
{
	return (struct kk_origin_key){.address = tables->set.pool | KK_BE32(agent),
				      .port = KK_BE16(kk_listener_port(word)),
				      .protocol = protocol_of(index),
				      .family = family_of(index)};
}

/* Answers of a listener whose Agents do not see the client are found by its flows. */
bool kk_tables_claims(const struct kk_tables *tables, u32 index, const struct kk_origin_key *key)
{
	u64 word = kk_tables_word(tables, index);
	u32 agent = kk_pool_offset(key->address, tables->set.pool_mask);
	const struct kk_group *group;

	if (!word || (word & KK_LISTENER_SNAT) || key->port != KK_BE16(kk_listener_port(word)) ||
	    key->protocol != protocol_of(index) || key->family != family_of(index))
		return false;
	if (!(word & KK_LISTENER_GROUP))
		return kk_listener_agent(word) == agent;
	group = kk_groups_at(&tables->listeners->groups, kk_listener_agent(word));
	return group && kk_group_has(group, agent);
}

struct kk_origin kk_tables_origin(const struct kk_tables *tables, const struct kk_origin_key *key)
{
	const struct kk_hint *hint = rhashtable_lookup(&tables->listeners->origins, key, kk_hints);
	u32 index;

	if (!hint)
		return (struct kk_origin){0};
	index = READ_ONCE(hint->index);
	if (!kk_tables_claims(tables, index, key))
		return (struct kk_origin){0};
	return (struct kk_origin){.port = KK_BE16(index % 65536),
				  .slot = index / KK_LISTENERS_PER_ADDRESS,
				  .service = kk_listener_service(kk_tables_word(tables, index))};
}

struct kk_hint *kk_tables_hint(const struct kk_tables *tables, const struct kk_origin_key *key)
{
	return rhashtable_lookup_fast(&tables->listeners->origins, key, kk_hints);
}

void kk_tables_forget(struct kk_tables *tables, struct kk_hint *hint)
{
	rhashtable_remove_fast(&tables->listeners->origins, &hint->node, kk_hints);
	kfree_rcu(hint, rcu);
}

int kk_tables_point(struct kk_tables *tables, const struct kk_origin_key *key, u32 index,
		    struct kk_hint **ret, u32 *ret_before, bool *ret_made)
{
	struct kk_hint *hint = kk_tables_hint(tables, key);
	int r;

	*ret_made = !hint;
	if (hint) {
		*ret_before = hint->index;
		WRITE_ONCE(hint->index, index);
	} else {
		hint = kzalloc(sizeof(*hint), KK_GFP);
		if (!hint)
			return -ENOMEM;
		hint->key = *key;
		hint->index = index;
		r = rhashtable_insert_fast(&tables->listeners->origins, &hint->node, kk_hints);
		if (r) {
			kfree(hint);
			return r;
		}
	}
	*ret = hint;
	return 0;
}
