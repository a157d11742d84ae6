/* SPDX-License-Identifier: MIT */
/* Deltas of doc/protocol.md, with only what concerns the node that they are for. */
#ifndef KK_CONTROLD_PUSH_DELTA_H
#define KK_CONTROLD_PUSH_DELTA_H

#include <jansson.h>

#include "controld/store/store.h"

/*
 * What of the changes after @from concerns the node, whose organisation must have been entered: a new reference,
 * NULL if nothing does. @model as for a snapshot. -ESTALE: the change log does not reach back that far.
 */
int kk_delta_make(struct kk_store *store, enum kk_kind role, int64_t id, int model, int64_t from,
		  json_t **ret, struct kk_err *err);
/* Whether the node of organisation @org has to hear of @change. */
bool kk_delta_concerns(int64_t org, enum kk_kind role, int64_t id, const struct kk_change *change);

#endif
