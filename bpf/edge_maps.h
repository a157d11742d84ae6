/* SPDX-License-Identifier: GPL-2.0 */
/* Tables that the edge has for itself. */
#ifndef KK_BPF_EDGE_MAPS_H
#define KK_BPF_EDGE_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include <kk/core/edge_types.h>

const volatile struct kk_edge_settings kk_edge_settings;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, KK_SERVICES_MAX);
	__type(key, __u32);
	__type(value, struct kk_flood);
} kk_floods SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, KK_VERIFIED_MAX);
	__type(key, struct kk_in6);
	__type(value, __u64);
} kk_verified SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, KK_RELAYS_MAX);
	__type(key, struct kk_relay_key);
	__type(value, struct kk_relay);
} kk_relays SEC(".maps");

/* The programs do not read it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kk_edge_place);
} kk_edge_place SEC(".maps");

#endif
