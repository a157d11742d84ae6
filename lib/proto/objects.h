/* SPDX-License-Identifier: MIT */
/*
 * JSON objects and lists of Control's messages read into the model's structs. Everything that a daemon
 * later relies on is checked here; fields that are not known are passed over (doc/protocol.md).
 * All return 0 or a negative errno with @err; results are untouched on failure.
 */
#ifndef KK_PROTO_OBJECTS_H
#define KK_PROTO_OBJECTS_H

#include "proto/model.h"

/* The most that a message may hold of each; an Agent has a /24 of a /8, a gateway a host of every /24. */
#define KK_GATEWAYS_MAX	 253
#define KK_AGENTS_MAX	 65024
#define KK_SERVICES_MAX	 (2 * 65535)
#define KK_RULES_MAX	 (1 << 20)
#define KK_BANS_READ_MAX (1 << 16)

/* A gateway's or an Agent's, told apart by "pool" and "subnet". */
int kk_object_self(const json_t *obj, struct kk_self *ret, struct kk_err *err);

/* One kind of list: how many there may be, how large a struct is, and how one is read. */
struct kk_object_kind {
	const char *name; /* of the list in a message */
	size_t size, max;
	int (*read)(const json_t *obj, void *ret, struct kk_err *err);
};

extern const struct kk_object_kind kk_object_gateways, kk_object_agents, kk_object_services,
	kk_object_rules, kk_object_bans;

/* @lists' member of @kind's name (absent: empty) as a list in order of id that the caller frees. */
int kk_object_list(const json_t *lists, const struct kk_object_kind *kind, void **ret,
		   size_t *ret_n, struct kk_err *err);
/* The same for ids only. */
int kk_object_ids(const json_t *lists, const struct kk_object_kind *kind, int64_t **ret,
		  size_t *ret_n, struct kk_err *err);

#endif
