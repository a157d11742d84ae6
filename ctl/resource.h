/* SPDX-License-Identifier: MIT */
/* What is the same for everything that Control has lists of: list, show, remove. */
#ifndef KK_CTL_RESOURCE_H
#define KK_CTL_RESOURCE_H

#include "ctl/ctl.h"
#include "ctl/print.h"

struct ctl_resource {
	const char *collection; /* of the path, "api-keys" */
	const char *what;	/* in sentences, "API key" */
	const char *none;	/* said of an empty list */
	const struct ctl_column *columns;
	size_t n_columns;
};

/* {"items":[...]} of a collection, page by page; *@ret is the caller's. */
int ctl_read_all(struct ctl *ctl, const char *collection, json_t **ret);
/* Lists all of it, page by page. */
int ctl_resource_list(struct ctl *ctl, const struct ctl_resource *resource);
int ctl_resource_show(struct ctl *ctl, const struct ctl_resource *resource);
int ctl_resource_rm(struct ctl *ctl, const struct ctl_resource *resource);
/* What gateways are told of: makes, changes, removes it and says how many carry that. @body is taken over. */
int ctl_resource_add(struct ctl *ctl, const struct ctl_resource *resource, json_t *body);
int ctl_resource_set(struct ctl *ctl, const struct ctl_resource *resource, json_t *body);
int ctl_resource_drop(struct ctl *ctl, const struct ctl_resource *resource);
/* Prints @answer as JSON where that is wanted, and returns whether it did. */
bool ctl_printed_json(const struct ctl *ctl, const json_t *answer);

/* Columns' texts: a time of the object's field of that name, "-" for null. */
void ctl_format_created(const json_t *obj, char *text, size_t size);
void ctl_format_expires(const json_t *obj, char *text, size_t size);

#endif
