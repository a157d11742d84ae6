/* SPDX-License-Identifier: MIT */
/* Snapshots and deltas of doc/protocol.md, with only what concerns the node that they are for. */
#ifndef KK_CONTROLD_PUSH_MESSAGE_H
#define KK_CONTROLD_PUSH_MESSAGE_H

#include <jansson.h>

#include "controld/store/store.h"

/*
 * All that concerns the node, whose organisation must have been entered; its generation is the store's. A new
 * reference in *@ret. @model is what the node understands (KK_MODEL); what is above that is kept from it.
 */
int kk_message_snapshot(struct kk_store *store, enum kk_kind role, int64_t id, int model,
			json_t **ret, struct kk_err *err);
/* The two parts of a snapshot: what is of this one node, and the lists, which all gateways of a model are told alike. */
int kk_message_head(struct kk_store *store, enum kk_kind role, int64_t id, int model, json_t **ret,
		    struct kk_err *err);
int kk_message_lists(struct kk_store *store, enum kk_kind role, int64_t id, int model, json_t **ret,
		     struct kk_err *err);
/*
 * What of the changes after @from concerns the node; NULL in *@ret if nothing does. -ESTALE: the change log
 * does not reach back that far.
 */
int kk_message_delta(struct kk_store *store, enum kk_kind role, int64_t id, int model, int64_t from,
		     json_t **ret, struct kk_err *err);
/* Whether the node of organisation @org has to hear of @change. */
bool kk_message_concerns(int64_t org, enum kk_kind role, int64_t id,
			 const struct kk_change *change);

/* The least model that a service needs a node to understand. */
int kk_message_service_model(const struct kk_service_row *row);

/* "10.1.0.0/24" */
json_t *kk_message_prefix(const struct kk_prefix4 *prefix);
/* A WireGuard key in base64, or null. */
json_t *kk_message_key(bool has_key, const uint8_t key[KK_KEY_LEN]);
const char *kk_message_protocol(uint8_t protocol);

#endif
