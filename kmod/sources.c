// SPDX-License-Identifier: GPL-2.0
#include "kmod/sources.h"

#include <linux/jhash.h>
#include <linux/mm.h>
#include <linux/random.h>

#include "kmod/module.h"

#define SETS (KK_SOURCES_MAX / KK_SOURCES_WAYS)

int kk_sources_init(struct kk_sources *sources)
{
	struct kk_source_entry *at;

	if (sources->at)
		return 0;
	at = kvcalloc(KK_SOURCES_MAX, sizeof(*at), KK_GFP);
	if (!at)
		return -ENOMEM;
	for (int i = 0; i < KK_SOURCES_LOCKS; i++)
		spin_lock_init(&sources->lock[i]);
	sources->seed = get_random_u32();
	/* Zeroes before the pointer: packets take it without a lock. */
	smp_store_release(&sources->at, at);
	return 0;
}

void kk_sources_clean(struct kk_sources *sources)
{
	kvfree(sources->at);
	sources->at = NULL;
}

static struct kk_source *find(struct kk_source_entry *set, const struct kk_source_key *key)
{
	for (int i = 0; i < KK_SOURCES_WAYS; i++)
		if (smp_load_acquire(&set[i].used) && !memcmp(&set[i].key, key, sizeof(*key)))
			return &set[i].value;
	return NULL;
}

static u64 time_of(const struct kk_source_entry *entry)
{
	if (!entry->used)
		return 0;
	return max(READ_ONCE(entry->value.packets), READ_ONCE(entry->value.connections));
}

static struct kk_source *replace(struct kk_source_entry *set, const struct kk_source_key *key)
{
	struct kk_source_entry *oldest = set;

	for (int i = 1; i < KK_SOURCES_WAYS; i++)
		if (time_of(&set[i]) < time_of(oldest))
			oldest = &set[i];
	/* Whoever reads the key meanwhile takes the entry for nobody's, or for what it was. */
	WRITE_ONCE(oldest->used, 0);
	smp_wmb();
	oldest->key = *key;
	WRITE_ONCE(oldest->value.packets, 0);
	WRITE_ONCE(oldest->value.connections, 0);
	smp_store_release(&oldest->used, 1);
	return &oldest->value;
}

struct kk_source *kk_sources_get(struct kk_sources *sources, const struct kk_source_key *key,
				 bool make)
{
	struct kk_source_entry *at = smp_load_acquire(&sources->at), *set;
	struct kk_source *found;
	u32 i;

	if (!at)
		return NULL;
	i = jhash2((const u32 *)key, sizeof(*key) / sizeof(u32), sources->seed) % SETS;
	set = at + i * KK_SOURCES_WAYS;
	found = find(set, key);
	if (likely(found) || !make)
		return found;
	spin_lock_bh(&sources->lock[i % KK_SOURCES_LOCKS]);
	found = find(set, key) ?: replace(set, key);
	spin_unlock_bh(&sources->lock[i % KK_SOURCES_LOCKS]);
	return found;
}
