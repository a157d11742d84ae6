/* SPDX-License-Identifier: GPL-2.0 */
/* What <kk/core/guard.h> asks of a host: maps and the clock. */
#ifndef KK_BPF_ENV_GUARD_H
#define KK_BPF_ENV_GUARD_H

#include <kk/core/env.h>

#include "bpf/guard_maps.h"

/* For tests, which want the same time in every host; 0: the clock's. */
const volatile __u64 kk_fixed_now;

KK_INLINE __u64 kk_env_now(const struct kk_packet *pkt)
{
	return kk_fixed_now ? kk_fixed_now : bpf_ktime_get_ns();
}

KK_INLINE __u64 kk_env_features(const struct kk_packet *pkt)
{
	const __u32 index = 0;
	const volatile __u64 *features = bpf_map_lookup_elem(&kk_features, &index);

	return features ? *features : 0;
}

KK_INLINE __u64 kk_env_service(const struct kk_packet *pkt, __u32 slot)
{
	const volatile __u64 *word = bpf_map_lookup_elem(&kk_services, &slot);

	return word ? *word : 0;
}

KK_INLINE const struct kk_policy *kk_env_policy(const struct kk_packet *pkt, __u32 number)
{
	return bpf_map_lookup_elem(&kk_policies, &number);
}

KK_INLINE enum kk_list_verdict kk_env_list(const struct kk_packet *pkt,
					   const struct kk_list_key *key)
{
	const struct kk_list_entry *entry = bpf_map_lookup_elem(&kk_lists, key);

	return entry ? entry->verdict : KK_LIST_NONE;
}

KK_INLINE __u64 kk_env_ban(const struct kk_packet *pkt, const struct kk_ban_key *key)
{
	const __u64 *until = bpf_map_lookup_elem(&kk_bans, key);

	return until ? *until : 0;
}

KK_INLINE struct kk_source *kk_env_source(const struct kk_packet *pkt,
					  const struct kk_source_key *key)
{
	static const struct kk_source fresh;
	struct kk_source *found = bpf_map_lookup_elem(&kk_sources, key);

	if (found)
		return found;
	bpf_map_update_elem(&kk_sources, key, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&kk_sources, key);
}

#endif
