/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A set of tables: settings, and the listeners with their way back, groups, guards and lists. Packets read it under RCU
 * while parts of it change (change.h); a whole set is replaced by another at once.
 */
#ifndef KK_KMOD_TABLES_H
#define KK_KMOD_TABLES_H

#include <linux/netlink.h>
#include <linux/rhashtable.h>
#include <linux/workqueue.h>

#include <kk/core/edge_types.h>
#include <kk/core/types.h>

#include "kmod/flows.h"
#include "kmod/groups.h"
#include "kmod/guards.h"
#include "kmod/lists.h"
#include "kmod/services.h"

/* The settings, as a request has them. */
struct kk_config {
	struct kk_settings set;
	struct kk_edge_settings edge;
	u32 flags;     /* KK_SETTINGS_F_* */
	u32 flows_max; /* translated flows of the namespace */
	struct kk_flow_times flow_times;
};

/*
 * The truth is in the words. An origin is but a hint which word to look at, so that both need not change in one
 * instant.
 */
struct kk_listeners {
	struct kk_services *services;
	u64 *words[KK_SLOTS_MAX]; /* KK_LISTENERS_PER_ADDRESS of them; NULL: none was ever set */
	struct rhashtable origins;
	struct kk_groups groups;
	struct kk_guards guards;
	struct kk_lists lists;
	u32 n, n_snat;
	u32 users; /* sets of tables, changed under the lock of the namespace */
};

struct kk_tables {
	struct kk_settings set;
	struct kk_edge_settings edge;
	u32 flags, flows_max;
	struct kk_flow_times flow_times;
	struct kk_listeners *listeners;
	bool last; /* the listeners go with it */
	struct rcu_work free;
};

/* Which listener an Agent's port may belong to. */
struct kk_hint {
	struct rhash_head node;
	struct kk_origin_key key;
	u32 index;
	struct rcu_head rcu;
};

/* With no listener. NULL: memory is short. */
struct kk_tables *kk_tables_new(const struct kk_config *config, struct kk_services *services);
/* With the listeners of @from, which stay its own too. */
struct kk_tables *kk_tables_with(const struct kk_config *config, const struct kk_tables *from);
/* Once no packet reads them any more. NULL is ignored. */
void kk_tables_free(struct kk_tables *tables);

static inline u64 kk_tables_word(const struct kk_tables *tables, u32 index)
{
	const u64 *words = READ_ONCE(tables->listeners->words[index / KK_LISTENERS_PER_ADDRESS]);

	return words ? READ_ONCE(words[index % KK_LISTENERS_PER_ADDRESS]) : 0;
}

/* What answers of an Agent (its address less the pool's) come from, where listener @word at @index leads there. */
struct kk_origin_key kk_tables_key(const struct kk_tables *tables, u32 index, u64 word, u32 agent);
/* Whether the listener at @index is the one whose answers @key are. */
bool kk_tables_claims(const struct kk_tables *tables, u32 index, const struct kk_origin_key *key);
struct kk_hint *kk_tables_hint(const struct kk_tables *tables, const struct kk_origin_key *key);
/* Points the hint of @key to @index; one that there was is left, and its @index given back. An errno. */
int kk_tables_point(struct kk_tables *tables, const struct kk_origin_key *key, u32 index,
		    struct kk_hint **ret, u32 *ret_before, bool *ret_made);
void kk_tables_forget(struct kk_tables *tables, struct kk_hint *hint);

/* Port 0 where there is none. */
struct kk_origin kk_tables_origin(const struct kk_tables *tables, const struct kk_origin_key *key);

#endif
