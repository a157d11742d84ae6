/* SPDX-License-Identifier: MIT */
/*
 * The objects of doc/protocol.md, as a node is told them (and reads them: lib/proto/objects.h). Each is a new
 * reference, NULL where there is no memory. @model is what the node understands (KK_MODEL).
 */
#ifndef KK_CONTROLD_PUSH_WIRE_H
#define KK_CONTROLD_PUSH_WIRE_H

#include <stdbool.h>

#include <jansson.h>

#include "controld/store/store.h"

json_t *kk_wire_gateway(const struct kk_gateway_row *row, int model);
json_t *kk_wire_agent(const struct kk_agent_row *row);
/* As a gateway or an Agent needs it, which @role says. */
json_t *kk_wire_service(const struct kk_service_row *row, enum kk_kind role);
json_t *kk_wire_rule(const struct kk_rule_row *row);
json_t *kk_wire_ban(const struct kk_ban_row *row);
/* What node @id is told of itself; -ENOENT if it is gone. */
int kk_wire_self(struct kk_store *store, enum kk_kind role, int64_t id, int model, json_t **ret,
		 struct kk_err *err);

/* How messages name the list of such objects: "gateways". */
const char *kk_wire_list(enum kk_kind kind);
/* Whether the node is told of rules and bans. */
bool kk_wire_has_policy(enum kk_kind role, int model);
/* The least model that a service needs a node to understand. */
int kk_wire_service_model(const struct kk_service_row *row);

/* "10.1.0.0/24" */
json_t *kk_wire_prefix(const struct kk_prefix4 *prefix);
/* A WireGuard key in base64, or null. */
json_t *kk_wire_key(bool has_key, const uint8_t key[KK_KEY_LEN]);
const char *kk_wire_protocol(uint8_t protocol);

#endif
