/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What packets that are only tried leave behind for those of the same request that come after them: fragments, flows,
 * what was counted of sources. What packets on their way have left behind is seen, and stays as it is.
 */
#ifndef KK_KMOD_TRIAL_H
#define KK_KMOD_TRIAL_H

#include <linux/list.h>

#include <kk/core/edge_types.h>

#include "kmod/flows.h"
#include "kmod/services.h"
#include "kmod/sources.h"

enum kk_trial_kind {
	KK_TRIAL_FRAGMENT,
	KK_TRIAL_SOURCE,
	KK_TRIAL_VERIFIED,
	KK_TRIAL_FLOW,
	KK_TRIAL_FLOOD,
};

#define KK_TRIAL_HEADS 1024

struct kk_trial {
	u64 now; /* ns; 0: the clock's */
	struct hlist_head heads[KK_TRIAL_HEADS];
};

struct kk_trial *kk_trial_new(void);
void kk_trial_free(struct kk_trial *trial);

/* The value of a key, to be changed in place, or NULL. */
void *kk_trial_find(struct kk_trial *trial, enum kk_trial_kind kind, const void *key, size_t len);
/* Sets it, all zero if @value is NULL. NULL: memory is short. */
void *kk_trial_put(struct kk_trial *trial, enum kk_trial_kind kind, const void *key, size_t len,
		   const void *value, size_t size);

/* As packets on their way left them, unless one of the trial's was there. */
struct kk_source *kk_trial_source(struct kk_trial *trial, enum kk_trial_kind kind,
				  struct kk_sources *sources, const struct kk_source_key *key);
struct kk_snat_flow *kk_trial_flow(struct kk_trial *trial, struct kk_flows *flows,
				   const struct kk_snat_key *key);
struct kk_flood *kk_trial_flood(struct kk_trial *trial, const struct kk_service *service);

#endif
