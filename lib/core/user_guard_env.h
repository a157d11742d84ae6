/* SPDX-License-Identifier: MIT */
/* What <kk/core/guard.h> asks of a host, in user space; only lib/core/user.c includes it. */
#ifndef KK_CORE_USER_GUARD_ENV_H
#define KK_CORE_USER_GUARD_ENV_H

#include <kk/core/env.h>

#include "core/user.h"

KK_INLINE __u64 kk_env_now(const struct kk_packet *pkt)
{
	return pkt->user->guard.now;
}

KK_INLINE __u64 kk_env_features(const struct kk_packet *pkt)
{
	return pkt->user->guard.features;
}

KK_INLINE __u64 kk_env_service(const struct kk_packet *pkt, __u32 slot)
{
	return pkt->user->guard.services[slot % KK_USER_SERVICES].word;
}

KK_INLINE const struct kk_policy *kk_env_policy(const struct kk_packet *pkt, __u32 number)
{
	return &pkt->user->guard.policies[number % KK_USER_POLICIES];
}

static int list_matches(const struct kk_list_key *prefix, const struct kk_list_key *key)
{
	const uint8_t *a = (const uint8_t *)&prefix->list, *b = (const uint8_t *)&key->list;

	for (__u32 i = 0; i < prefix->prefix_len; i++)
		if ((a[i / 8] ^ b[i / 8]) >> (7 - i % 8) & 1)
			return 0;
	return 1;
}

KK_INLINE enum kk_list_verdict kk_env_list(const struct kk_packet *pkt,
					   const struct kk_list_key *key)
{
	enum kk_list_verdict verdict = KK_LIST_NONE;
	const void *prefix;
	size_t at = 0;
	__u32 longest = 0;

	for (struct kk_list_entry *e;
	     (e = kk_map_next(&pkt->user->guard.lists, &at, &prefix));) {
		const struct kk_list_key *p = prefix;

		if (p->prefix_len < longest || !list_matches(p, key))
			continue;
		longest = p->prefix_len;
		verdict = e->verdict;
	}
	return verdict;
}

KK_INLINE __u64 kk_env_ban(const struct kk_packet *pkt, const struct kk_ban_key *key)
{
	const uint64_t *until = kk_map_get(&pkt->user->guard.bans, key);

	return until ? *until : 0;
}

KK_INLINE struct kk_source *kk_env_source(const struct kk_packet *pkt,
					  const struct kk_source_key *key)
{
	struct kk_source *found = kk_map_get(&pkt->user->guard.sources, key);

	return found ? found : kk_map_put(&pkt->user->guard.sources, key, NULL);
}

#endif
