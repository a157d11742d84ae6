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

/* Lists all of it, page by page. */
int ctl_resource_list(struct ctl *ctl, const struct ctl_resource *resource);
int ctl_resource_show(struct ctl *ctl, const struct ctl_resource *resource);
int ctl_resource_rm(struct ctl *ctl, const struct ctl_resource *resource);
/* Prints @answer as JSON where that is wanted, and returns whether it did. */
bool ctl_printed_json(const struct ctl *ctl, const json_t *answer);

/* Columns' texts: a time of the object's field of that name, "-" for null. */
void ctl_format_created(const json_t *obj, char *text, size_t size);
void ctl_format_expires(const json_t *obj, char *text, size_t size);

#endif
