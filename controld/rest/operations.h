/* SPDX-License-Identifier: MIT */
/* What can be asked of Control: one table, from which the router works and which doc/openapi.json tells. */
#ifndef KK_CONTROLD_REST_OPERATIONS_H
#define KK_CONTROLD_REST_OPERATIONS_H

#include "controld/rest/call.h"
#include "controld/store/accounts.h"

enum kk_operation_flags {
	KK_OP_NODE = 1 << 0,	 /* for nodes, with their own key */
	KK_OP_BODY = 1 << 1,	 /* takes a JSON object */
	KK_OP_WAIT = 1 << 2,	 /* takes ?wait= */
	KK_OP_LIST = 1 << 3,	 /* takes ?limit= and ?after= */
	KK_OP_CHANGE = 1 << 4,	 /* is one transaction */
	KK_OP_CREATE = 1 << 5,	 /* takes Idempotency-Key */
	KK_OP_PASSWORD = 1 << 6, /* its "password" is worked on in the background first */
	KK_OP_LARGE = 1 << 7,	 /* takes a body of KK_REST_LARGE_MAX */
	KK_OP_SYSTEM = 1 << 8,	 /* only for KK_ORG_FIRST, whose Control it is */
	KK_OP_LOGIN = 1 << 9,	 /* checks a password */
};

struct kk_operation {
	const char *id;		   /* "operationId" of the contract */
	const char *method, *path; /* "NAME" stands for one segment */
	enum kk_access access;	   /* the least role; KK_NOBODY: needs no key */
	unsigned int flags;
	kk_handler handle;
	enum kk_kind kind;   /* of node, where a handler serves both */
	const char *queries; /* that it takes besides, "agent protocol"; NULL: none */
};

/* In the order in which Allow names the methods. */
extern const struct kk_operation kk_operations[];
extern const size_t kk_n_operations;

/* The operation for @method and @path, with what stands for NAME in @name of @size bytes; or NULL. */
const struct kk_operation *kk_operation_find(const char *method, const char *path, char *name,
					     size_t size);

#endif
