/* SPDX-License-Identifier: MIT */
/* What the files of apply share: one run of it, and the kinds of objects that it brings about. */
#ifndef KK_CONTROLD_REST_APPLY_H
#define KK_CONTROLD_REST_APPLY_H

#include <jansson.h>

#include "controld/rest/call.h"
#include "controld/store/store.h"

/* A service that is made, or changed from what the undo has, when the ports that it wants are free. */
struct kk_apply_later {
	struct kk_service_row row;
	size_t undo; /* index, or KK_APPLY_NEW */
};

#define KK_APPLY_NEW SIZE_MAX

/* A gateway that is made, or given other addresses, when all have given up theirs. */
struct kk_apply_gateway {
	struct kk_gateway_row row, before;
	bool existed;
};

struct kk_apply {
	struct kk_call *call;
	struct kk_control *control;
	bool prune;
	json_t *changes; /* array of the answer */
	struct kk_push_undo *undo;
	size_t n_undo, undo_size;
	struct kk_apply_later *later;
	size_t n_later, later_size;
	struct kk_apply_gateway *gateways;
	size_t n_gateways, gateways_size;
	bool moved; /* a gateway has other addresses */
};

/*
 * A kind of object. What is wanted is made, or what is there is made so; @find adds the names of those that are there and no
 * key of @wanted to @found.
 */
struct kk_apply_kind {
	int (*want)(struct kk_apply *a, const json_t *obj);
	int (*find)(struct kk_apply *a, const json_t *wanted, json_t *found);
	int (*remove)(struct kk_apply *a, const char *name);
};

extern const struct kk_apply_kind kk_apply_gateways, kk_apply_agents, kk_apply_peers,
	kk_apply_services;

/* A kind of object that is only what is said of it. */
struct kk_apply_value {
	/* Makes what @obj says, or makes what is there so. */
	int (*want)(struct kk_store *store, const json_t *obj, json_t *changes, struct kk_err *err);
	/* The names of those that are there and no key of @wanted. */
	int (*find)(struct kk_store *store, const json_t *wanted, json_t *found,
		    struct kk_err *err);
	int (*remove)(struct kk_store *store, const char *name, json_t *changes,
		      struct kk_err *err);
};

extern const struct kk_apply_value kk_apply_hosts, kk_apply_groups, kk_apply_rules;

/* What was put off: gateways before services come, services when all others have given up their ports. */
int kk_apply_gateways_later(struct kk_apply *a);
int kk_apply_services_later(struct kk_apply *a);

int kk_apply_no_memory(struct kk_apply *a);
/* Room for one more at the end of @list, which it may move; NULL for want of memory. */
void *kk_apply_room(void **list, size_t n, size_t *room, size_t size);

/* Adds a change to those of the answer; @before and @after are taken over and may be NULL. */
int kk_apply_note(json_t *changes, const char *action, const char *kind, const char *name,
		  json_t *before, json_t *after, struct kk_err *err);
/* The object without what Control adds to it. */
json_t *kk_apply_bare(json_t *object);
/* -ENOMEM, or 0 with @name in @found unless it is a key of @wanted. */
int kk_apply_unwanted(const json_t *wanted, json_t *found, const char *name);

#endif
