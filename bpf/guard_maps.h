/* SPDX-License-Identifier: GPL-2.0 */
/* Tables of who may reach what is published. */
#ifndef KK_BPF_GUARD_MAPS_H
#define KK_BPF_GUARD_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include <kk/core/types.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64); /* KK_FEATURE_* */
} kk_features SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, KK_POLICIES_MAX);
	__type(key, __u32);
	__type(value, struct kk_policy);
} kk_policies SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, KK_LIST_ENTRIES_MAX);
	__type(key, struct kk_list_key);
	__type(value, struct kk_list_entry);
} kk_lists SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, KK_BANS_MAX);
	__type(key, struct kk_ban_key);
	__type(value, __u64); /* until, nanoseconds of the monotonic clock */
} kk_bans SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, KK_SOURCES_MAX);
	__type(key, struct kk_source_key);
	__type(value, struct kk_source);
} kk_sources SEC(".maps");

#endif
