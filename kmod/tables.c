// SPDX-License-Identifier: GPL-2.0
#include "kmod/tables.h"

#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "kmod/module.h"

/* Ports that one request may change: all of one address and protocol, twice. */
#define KK_CHANGES_MAX KK_LISTENERS_PER_ADDRESS

struct kk_hint {
	struct rhash_head node;
	struct kk_origin_key key;
	u32 index; /* of the listener that may be its */
	struct rcu_head rcu;
};

static const struct rhashtable_params kk_hints = {
	.key_len = sizeof(struct kk_origin_key),
	.key_offset = offsetof(struct kk_hint, key),
	.head_offset = offsetof(struct kk_hint, node),
	.automatic_shrinking = true,
};

/* What one port was before a change. */
struct kk_change {
	u32 index;
	u32 hint_index; /* of @hint before */
	u64 word;
	struct kk_hint *hint; /* changed; NULL: none was */
	bool made;	      /* it was made for this */
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
	kfree(listeners);
}

static struct kk_listeners *new_listeners(struct kk_services *services)
{
	struct kk_listeners *listeners = kzalloc(sizeof(*listeners), GFP_KERNEL_ACCOUNT);

	if (!listeners)
		return NULL;
	listeners->services = services;
	if (rhashtable_init(&listeners->origins, &kk_hints)) {
		kfree(listeners);
		return NULL;
	}
	return listeners;
}

struct kk_tables *kk_tables_new(const struct kk_settings *set, struct kk_services *services)
{
	struct kk_tables *tables = kzalloc(sizeof(*tables), GFP_KERNEL_ACCOUNT);

	if (!tables)
		return NULL;
	tables->listeners = new_listeners(services);
	if (!tables->listeners) {
		kfree(tables);
		return NULL;
	}
	tables->listeners->users = 1;
	tables->set = *set;
	return tables;
}

struct kk_tables *kk_tables_with(const struct kk_settings *set, const struct kk_tables *from)
{
	struct kk_tables *tables = kzalloc(sizeof(*tables), GFP_KERNEL_ACCOUNT);

	if (!tables)
		return NULL;
	tables->listeners = from->listeners;
	tables->listeners->users++;
	tables->set = *set;
	return tables;
}

static void put_services(struct kk_listeners *listeners)
{
	for (u32 slot = 0; slot < KK_SLOTS_MAX; slot++) {
		const u64 *words = listeners->words[slot];

		for (u32 i = 0; words && i < KK_LISTENERS_PER_ADDRESS; i++)
			if (words[i])
				kk_service_put(listeners->services, kk_listener_service(words[i]));
		cond_resched();
	}
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

static __be32 agent_of(const struct kk_tables *tables, u64 word)
{
	return tables->set.pool | KK_BE32(kk_listener_agent(word));
}

static u8 protocol_of(u32 index)
{
	return index % KK_LISTENERS_PER_ADDRESS < 65536 ? KK_TCP : KK_UDP;
}

static u8 family_of(u32 index)
{
	return index / KK_LISTENERS_PER_ADDRESS % 2 ? KK_IP6 : KK_IP4;
}

/* The way back from a listener: what its answers come from. */
static struct kk_origin_key key_of(const struct kk_tables *tables, u32 index, u64 word)
{
	return (struct kk_origin_key){.address = agent_of(tables, word),
				      .port = KK_BE16(kk_listener_port(word)),
				      .protocol = protocol_of(index),
				      .family = family_of(index)};
}

/* Where the core looks before it asks for an origin. */
static u32 shortcut_of(const struct kk_origin_key *key)
{
	return kk_listener_index(kk_slot(key->family, 0), key->protocol, KK_HOST16(key->port));
}

static bool claims(const struct kk_tables *tables, u32 index, const struct kk_origin_key *key)
{
	u64 word = kk_tables_word(tables, index);
	struct kk_origin_key own = key_of(tables, index, word);

	return word && !memcmp(&own, key, sizeof(own));
}

struct kk_origin kk_tables_origin(const struct kk_tables *tables, const struct kk_origin_key *key)
{
	const struct kk_hint *hint = rhashtable_lookup(&tables->listeners->origins, key, kk_hints);
	u32 index;

	if (!hint)
		return (struct kk_origin){0};
	index = READ_ONCE(hint->index);
	if (!claims(tables, index, key))
		return (struct kk_origin){0};
	return (struct kk_origin){.port = KK_BE16(index % 65536),
				  .slot = index / KK_LISTENERS_PER_ADDRESS,
				  .service = kk_listener_service(kk_tables_word(tables, index))};
}

static struct kk_hint *find_hint(struct kk_listeners *listeners, const struct kk_origin_key *key)
{
	return rhashtable_lookup_fast(&listeners->origins, key, kk_hints);
}

static void remove_hint(struct kk_listeners *listeners, struct kk_hint *hint)
{
	rhashtable_remove_fast(&listeners->origins, &hint->node, kk_hints);
	kfree_rcu(hint, rcu);
}

static int point_hint(struct kk_listeners *listeners, const struct kk_origin_key *key,
		      struct kk_change *change)
{
	struct kk_hint *hint = find_hint(listeners, key);
	int r;

	if (hint) {
		change->hint_index = hint->index;
		WRITE_ONCE(hint->index, change->index);
	} else {
		hint = kzalloc(sizeof(*hint), GFP_KERNEL_ACCOUNT);
		if (!hint)
			return -ENOMEM;
		hint->key = *key;
		hint->index = change->index;
		r = rhashtable_insert_fast(&listeners->origins, &hint->node, kk_hints);
		if (r) {
			kfree(hint);
			return r;
		}
		change->made = true;
	}
	change->hint = hint;
	return 0;
}

/* That no two listeners have the same way back. */
static int check_unique(struct kk_tables *tables, u32 index, const struct kk_origin_key *key,
			const struct nlattr *attr, struct netlink_ext_ack *extack)
{
	const struct kk_hint *hint = find_hint(tables->listeners, key);
	u32 shortcut = shortcut_of(key);

	if ((hint && hint->index != index && claims(tables, hint->index, key)) ||
	    (shortcut != index && claims(tables, shortcut, key))) {
		NL_SET_ERR_MSG_ATTR(extack, attr,
				    "the agent's port belongs to another listener of that family");
		return -EEXIST;
	}
	return 0;
}

static int make_words(struct kk_listeners *listeners, u8 slot)
{
	u64 *words;

	if (listeners->words[slot])
		return 0;
	words = __vmalloc(KK_LISTENERS_PER_ADDRESS * sizeof(*words),
			  GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!words)
		return -ENOMEM;
	/* Zeroes before the pointer: packets take it without a lock. */
	smp_store_release(&listeners->words[slot], words);
	return 0;
}

static void store(struct kk_listeners *listeners, u32 index, u64 word)
{
	u64 *at = &listeners->words[index / KK_LISTENERS_PER_ADDRESS]
				   [index % KK_LISTENERS_PER_ADDRESS];

	listeners->n += !!word;
	listeners->n -= !!*at;
	WRITE_ONCE(*at, word);
}

static int set_port(struct kk_tables *tables, const struct kk_range *range, u16 i,
		    struct kk_change *change, struct netlink_ext_ack *extack)
{
	struct kk_listeners *listeners = tables->listeners;
	struct kk_service *service;
	struct kk_origin_key key;
	u64 word;
	int r;

	service = kk_service_get(listeners->services, range->service);
	if (IS_ERR(service))
		return PTR_ERR(service);
	word = kk_listener_word(kk_pool_offset(range->agent, tables->set.pool_mask),
				range->agent_port + i, service->slot, range->flags);
	key = key_of(tables, change->index, word);
	r = check_unique(tables, change->index, &key, range->attr, extack);
	if (r == 0 && change->index != shortcut_of(&key))
		r = point_hint(listeners, &key, change);
	if (r)
		kk_service_put(listeners->services, service->slot);
	else
		store(listeners, change->index, word);
	return r;
}

static int change_port(struct kk_tables *tables, const struct kk_range *range, u16 i,
		       struct kk_change *change, struct netlink_ext_ack *extack)
{
	u32 index = kk_listener_index(range->slot, range->protocol, range->port + i);

	*change = (struct kk_change){.index = index, .word = kk_tables_word(tables, index)};
	if (!range->gone)
		return set_port(tables, range, i, change, extack);
	if (!change->word) {
		NL_SET_ERR_MSG_ATTR(extack, range->attr, "nothing is published on that port");
		return -ENOENT;
	}
	store(tables->listeners, index, 0);
	return 0;
}

static void undo(struct kk_tables *tables, const struct kk_change *change)
{
	struct kk_listeners *listeners = tables->listeners;
	u64 word = kk_tables_word(tables, change->index);

	store(listeners, change->index, change->word);
	if (word)
		kk_service_put(listeners->services, kk_listener_service(word));
	if (change->made)
		remove_hint(listeners, change->hint);
	else if (change->hint)
		WRITE_ONCE(change->hint->index, change->hint_index);
}

/* What a listener left behind that is another now, or none. */
static void leave(struct kk_tables *tables, u32 index, u64 word)
{
	struct kk_listeners *listeners = tables->listeners;
	struct kk_origin_key key;
	struct kk_hint *hint;

	if (!word)
		return;
	key = key_of(tables, index, word);
	hint = find_hint(listeners, &key);
	if (hint && hint->index == index && !claims(tables, index, &key))
		remove_hint(listeners, hint);
	kk_service_put(listeners->services, kk_listener_service(word));
}

static int count_ports(const struct kk_range *ranges, size_t n, struct netlink_ext_ack *extack)
{
	u32 ports = 0;

	for (size_t i = 0; i < n; i++) {
		ports += ranges[i].n;
		if (ports > KK_CHANGES_MAX) {
			NL_SET_ERR_MSG_ATTR(extack, ranges[i].attr,
					    "more than 131072 ports in one request");
			return -E2BIG;
		}
	}
	return ports;
}

int kk_tables_change(struct kk_tables *tables, const struct kk_range *ranges, size_t n,
		     struct netlink_ext_ack *extack)
{
	int ports = count_ports(ranges, n, extack), r = 0;
	struct kk_change *changes;
	u32 done = 0;

	if (ports < 0)
		return ports;
	changes = kvmalloc_array(ports, sizeof(*changes), GFP_KERNEL);
	if (!changes)
		return -ENOMEM;
	for (size_t i = 0; i < n && r == 0; i++) {
		r = make_words(tables->listeners, ranges[i].slot);
		for (u32 port = 0; port < ranges[i].n && r == 0; port++) {
			r = change_port(tables, &ranges[i], port, &changes[done], extack);
			done += r == 0;
		}
		cond_resched();
	}
	if (r)
		while (done--)
			undo(tables, &changes[done]);
	else
		for (u32 i = 0; i < done; i++)
			leave(tables, changes[i].index, changes[i].word);
	kvfree(changes);
	return r;
}
