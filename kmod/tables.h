/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A set of tables: settings, and the listeners with their way back. Packets read it under RCU while single words
 * change; a whole set is replaced by another at once.
 */
#ifndef KK_KMOD_TABLES_H
#define KK_KMOD_TABLES_H

#include <linux/netlink.h>
#include <linux/rhashtable.h>
#include <linux/workqueue.h>

#include <kk/core/types.h>

#include "kmod/services.h"

/*
 * The truth is in the words. An origin is but a hint which word to look at, so that both need not change in one
 * instant.
 */
struct kk_listeners {
	struct kk_services *services;
	u64 *words[KK_SLOTS_MAX]; /* KK_LISTENERS_PER_ADDRESS of them; NULL: none was ever set */
	struct rhashtable origins;
	u32 n;
	u32 users; /* sets of tables, changed under the lock of the namespace */
};

struct kk_tables {
	struct kk_settings set;
	struct kk_listeners *listeners;
	bool last; /* the listeners go with it */
	struct rcu_work free;
};

/* A port range of one service. */
struct kk_range {
	u8 slot, protocol;
	bool gone;   /* to be removed: what follows n does not matter */
	u16 port, n; /* the first, and how many */
	__be32 agent;
	u16 agent_port;		   /* the first */
	u32 service;		   /* id */
	u64 flags;		   /* KK_LISTENER_DRAINING */
	const struct nlattr *attr; /* what a complaint is about */
};

/* With no listener. NULL: memory is short. */
struct kk_tables *kk_tables_new(const struct kk_settings *set, struct kk_services *services);
/* With the listeners of @from, which stay its own too. */
struct kk_tables *kk_tables_with(const struct kk_settings *set, const struct kk_tables *from);
/* Once no packet reads them any more. NULL is ignored. */
void kk_tables_free(struct kk_tables *tables);

/*
 * Sets and removes @n ranges in their order: all of them, or nothing. -EEXIST: the Agent's port is another
 * listener's. -ENOENT: one to be removed is not there.
 */
int kk_tables_change(struct kk_tables *tables, const struct kk_range *ranges, size_t n,
		     struct netlink_ext_ack *extack);

static inline u64 kk_tables_word(const struct kk_tables *tables, u32 index)
{
	const u64 *words = READ_ONCE(tables->listeners->words[index / KK_LISTENERS_PER_ADDRESS]);

	return words ? READ_ONCE(words[index % KK_LISTENERS_PER_ADDRESS]) : 0;
}

/* Port 0 where there is none. */
struct kk_origin kk_tables_origin(const struct kk_tables *tables, const struct kk_origin_key *key);

#endif
