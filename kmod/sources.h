/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What is kept of sources, by service and address: a table of a fixed size in sets of a few, found without a lock. In
 * a full set the one gives way whose time lies furthest back. Times are those of struct kk_source: when a bucket is
 * full again, or until when a source is trusted.
 */
#ifndef KK_KMOD_SOURCES_H
#define KK_KMOD_SOURCES_H

#include <linux/spinlock.h>

#include <kk/core/types.h>

#define KK_SOURCES_WAYS	 8
#define KK_SOURCES_LOCKS 64

struct kk_source_entry {
	struct kk_source_key key;
	u32 used;
	struct kk_source value;
};

struct kk_sources {
	struct kk_source_entry *at; /* KK_SOURCES_MAX of them; NULL: not needed so far */
	spinlock_t lock[KK_SOURCES_LOCKS];
	u32 seed;
};

/* Once before any use, and again without effect. May sleep. */
int kk_sources_init(struct kk_sources *sources);
void kk_sources_clean(struct kk_sources *sources);

/* On the way of a packet. NULL: there is no table, or without @make no entry. A new one is all zero. */
struct kk_source *kk_sources_get(struct kk_sources *sources, const struct kk_source_key *key,
				 bool make);

#endif
