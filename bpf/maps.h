/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The tables of the eBPF data plane. User space writes those it maps into its memory, the programs
 * read; the tables of fragments, sources and translated flows are the
 * programs' own.
 */
#ifndef KK_BPF_MAPS_H
#define KK_BPF_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include <kk/core/reasons.h>
#include <kk/core/sieve_types.h>
#include <kk/core/types.h>

/* Set before the programs are loaded: constants to the verifier and to the code it emits. */
const volatile struct kk_settings kk_settings;
const volatile __u32 kk_public_ifindex;
const volatile __u32 kk_tunnel_ifindex;
const volatile __u32
	kk_skb_summed;	     /* bit of a packet of the kernel (lib/bpf/summed.h); 0: not known */
const volatile __u64 kk_now; /* of tests, in nanoseconds; 0: the clock's */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, KK_LISTENERS_PER_ADDRESS); /* times as many slots as there are */
	__type(key, __u32);
	__type(value, __u64);
} kk_listeners SEC(".maps");

/* What the programs have as constants, for user space to read. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kk_settings);
} kk_gateway SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, KK_ORIGINS_MAX);
	__type(key, struct kk_origin_key);
	__type(value, struct kk_origin);
} kk_origins SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, KK_GROUPS_MAX *KK_MAGLEV_SIZE);
	__type(key, __u32);
	__type(value, __u64);
} kk_groups SEC(".maps");

/* Each CPU's own, filled and read while one packet is dealt with. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kk_scratch);
} kk_scratch SEC(".maps");

/* For user space: the programs go by numbers. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, KK_GROUPS_MAX);
	__type(key, __u32);
	__type(value, __u64);
} kk_group_ids SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
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
	__type(value, __u64);
} kk_bans SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, KK_SOURCES_MAX);
	__type(key, struct kk_source_key);
	__type(value, struct kk_source);
} kk_sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, KK_SNAT_FLOWS_MAX);
	__type(key, struct kk_snat_key);
	__type(value, struct kk_snat_flow);
} kk_snat_flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} kk_features SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, KK_SIEVE_WORDS);
	__type(key, __u32);
	__type(value, __u64);
} kk_sieve SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1 << KK_SHUT_BITS);
	__type(key, __u32);
	__type(value, struct kk_shut);
} kk_shut SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, KK_FRAGMENTS_MAX);
	__type(key, struct kk_fragment_key);
	__type(value, struct kk_fragment);
} kk_fragments SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, KK_SERVICES_MAX);
	__type(key, __u32);
	__type(value, union kk_service_slot);
} kk_services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, KK_TRAFFIC_PER_CPU); /* times as many CPUs as there are */
	__type(key, __u32);
	__type(value, __u64);
} kk_traffic SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, KK_TRAFFIC_PER_CPU);
	__type(key, __u32);
	__type(value, struct kk_counter);
} kk_totals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, KK_REASON_MAX);
	__type(key, __u32);
	__type(value, struct kk_counter);
} kk_counters SEC(".maps");

#endif
