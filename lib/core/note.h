/* SPDX-License-Identifier: MIT */
/* What the core looked up in user space's tables and found there, in words, for a trace. */
#ifndef KK_CORE_NOTE_H
#define KK_CORE_NOTE_H

#include "core/user.h"

/* Each says a line to user->note, if there is one. */
void kk_note(const struct kk_user *user, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void kk_note_listener(const struct kk_user *user, __u32 index, __u64 word);
/* @found may be NULL, here and below. */
void kk_note_origin(const struct kk_user *user, const struct kk_origin_key *key,
		    const struct kk_origin *found);
void kk_note_group(const struct kk_user *user, __u32 index, __u64 word);
void kk_note_features(const struct kk_user *user);
void kk_note_service(const struct kk_user *user, __u32 slot);
void kk_note_policy(const struct kk_user *user, __u32 number);
/* @prefix is the one that was found. */
void kk_note_list(const struct kk_user *user, const struct kk_list_key *key,
		  const struct kk_list_key *prefix, const struct kk_list_entry *found);
void kk_note_ban(const struct kk_user *user, const struct kk_ban_key *key, __u64 until, __u64 now);
void kk_note_source(const struct kk_user *user, const struct kk_source_key *key,
		    const struct kk_source *found, __u64 now);
void kk_note_snat(const struct kk_user *user, const struct kk_snat_key *key,
		  const struct kk_snat_flow *found, __u64 now);

void kk_note_fragment(const struct kk_user *user, const struct kk_fragment_key *key,
		      const struct kk_fragment *found);
/* The edge's. */
void kk_note_wanted(const struct kk_user *user, const struct kk_user_tuple *tuple, int wanted);
void kk_note_flood(const struct kk_user *user, __u32 slot, __u64 now);
void kk_note_verified(const struct kk_user *user, const struct kk_in6 *source, __u64 until,
		      __u64 now);
void kk_note_relay(const struct kk_user *user, const struct kk_relay_key *key,
		   const struct kk_relay *found, __u64 now);

#endif
