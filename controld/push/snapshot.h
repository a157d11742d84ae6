/* SPDX-License-Identifier: MIT */
/*
 * Snapshots of doc/protocol.md: all that concerns the node which they are for, whose organisation must have been
 * entered. @model is what the node understands (KK_MODEL); what is above that is kept from it. *@ret is a new reference.
 */
#ifndef KK_CONTROLD_PUSH_SNAPSHOT_H
#define KK_CONTROLD_PUSH_SNAPSHOT_H

#include <jansson.h>

#include "controld/store/store.h"

/* Its generation is the store's. */
int kk_snapshot_make(struct kk_store *store, enum kk_kind role, int64_t id, int model, json_t **ret,
		     struct kk_err *err);
/* Its two parts: what is of this one node, and the lists, which all gateways of a model are told alike. */
int kk_snapshot_head(struct kk_store *store, enum kk_kind role, int64_t id, int model, json_t **ret,
		     struct kk_err *err);
int kk_snapshot_lists(struct kk_store *store, enum kk_kind role, int64_t id, int model,
		      json_t **ret, struct kk_err *err);

#endif
