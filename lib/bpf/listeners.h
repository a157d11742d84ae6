/* SPDX-License-Identifier: MIT */
/* A listener as the tables have it: its word in the array, and the origins that lead back to it. */
#ifndef KK_BPF_LISTENERS_H
#define KK_BPF_LISTENERS_H

#include <kk/core/types.h>

#include "bpf/groups.h"
#include "bpf/tables.h"

struct kk_origin_record {
	struct kk_origin_key key;
	struct kk_origin value;
};
_Static_assert(sizeof(struct kk_origin_record) == 16, "a record has no gap");

/* Where in the array of listeners, and what is there. */
struct kk_listener_entry {
	uint32_t index;
	__u64 word;
};

/* False: the tables have nothing of it. Of UDP nothing can drain but flows that are known. */
bool kk_listener_is_there(const struct kk_listener *l);

/*
 * What @l is in the tables; @service is a slot, @group the number of the group that it leads to. -EINVAL: its address
 * is not managed, or flows cannot be translated here.
 */
int kk_listener_entry(const struct kk_tables *tables, const struct kk_listener *l, uint32_t group,
		      uint32_t service, bool guarded, struct kk_listener_entry *ret,
		      struct kk_err *err);

/*
 * Adds to @ret what leads back to @l from its Agent, or from the members of @group where it leads to one; returns how
 * many. @entry is its own.
 */
size_t kk_listener_origins(const struct kk_listener *l, const struct kk_listener_entry *entry,
			   const struct kk_group *group, struct kk_origin_record *ret);
/* How many those are at most. */
size_t kk_listener_origins_max(const struct kk_listener *l, const struct kk_group *group);
/* Whether the array of listeners answers for it, at the Agent's port of the first address. */
bool kk_origin_is_plain(const struct kk_origin_record *origin, __u64 word);

/* "tcp" or "udp" */
const char *kk_listener_protocol(uint8_t protocol);
/* What is wrong, as -EEXIST: a place, or a way back, that two listeners claim; as -ENOENT: there is no group. */
int kk_listener_twice(const struct kk_listener *l, struct kk_err *err);
int kk_origin_twice(const struct kk_origin_record *origin, struct kk_err *err);
int kk_listener_no_group(const struct kk_listener *l, struct kk_err *err);

#endif
