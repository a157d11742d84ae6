/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which port a fragmented packet belongs to, for trials only: there fragments come one by one, as in the other
 * hosts. Packets on their way are whole (defrag.h). What comes to the same place gives way.
 */
#ifndef KK_KMOD_FRAGMENTS_H
#define KK_KMOD_FRAGMENTS_H

#include <linux/jhash.h>

#include <kk/core/types.h>

struct kk_fragments {
	struct {
		struct kk_fragment_key key;
		struct kk_fragment value;
	} at[KK_FRAGMENTS_MAX];
};

static inline u32 kk_fragments_place(const struct kk_fragment_key *key)
{
	return jhash(key, sizeof(*key), 0) % KK_FRAGMENTS_MAX;
}

static inline struct kk_fragment kk_fragments_get(const struct kk_fragments *fragments,
						  const struct kk_fragment_key *key)
{
	u32 i = kk_fragments_place(key);

	if (memcmp(&fragments->at[i].key, key, sizeof(*key)))
		return (struct kk_fragment){0};
	return fragments->at[i].value;
}

static inline void kk_fragments_put(struct kk_fragments *fragments,
				    const struct kk_fragment_key *key,
				    const struct kk_fragment *value)
{
	u32 i = kk_fragments_place(key);

	fragments->at[i].key = *key;
	fragments->at[i].value = *value;
}

#endif
