/* SPDX-License-Identifier: MIT */
/* What the files of apply share. */
#ifndef KK_CONTROLD_REST_APPLY_H
#define KK_CONTROLD_REST_APPLY_H

#include <jansson.h>

#include "controld/store/store.h"

/* Adds a change to those of the answer; @before and @after are taken over and may be NULL. */
int kk_apply_note(json_t *changes, const char *action, const char *kind, const char *name,
		  json_t *before, json_t *after, struct kk_err *err);
/* The object without what Control adds to it. */
json_t *kk_apply_bare(json_t *object);
/* -ENOMEM, or 0 with @name in @found unless it is a key of @wanted. */
int kk_apply_unwanted(const json_t *wanted, json_t *found, const char *name);

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

#endif
