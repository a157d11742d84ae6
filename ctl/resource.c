// SPDX-License-Identifier: MIT
#include "ctl/resource.h"

#include <stdio.h>
#include <string.h>

#include "ctl/api.h"
#include "util/json.h"

bool ctl_printed_json(const struct ctl *ctl, const json_t *answer)
{
	if (ctl->options.json)
		ctl_print_json(answer);
	return ctl->options.json;
}

static void format_time(const json_t *value, char *text, size_t size)
{
	if (json_is_integer(value))
		ctl_format_time(json_integer_value(value), text, size);
	else
		snprintf(text, size, "-");
}

void ctl_format_created(const json_t *obj, char *text, size_t size)
{
	format_time(json_object_get(obj, "created_at"), text, size);
}

void ctl_format_expires(const json_t *obj, char *text, size_t size)
{
	format_time(json_object_get(obj, "expires_at"), text, size);
}

int ctl_read_all(struct ctl *ctl, const char *collection, json_t **ret)
{
	KK_CLEANUP_JSON json_t *all = json_array();
	json_int_t after = 0;

	for (;;) {
		KK_CLEANUP_JSON json_t *answer = NULL;
		const json_t *next;
		int r = ctl_call(ctl, &answer, NULL, "GET", "/api/v1/%s?after=%lld", collection,
				 after);

		if (r != CTL_DONE)
			return r;
		json_array_extend(all, json_object_get(answer, "items"));
		next = json_object_get(answer, "next");
		if (!json_is_integer(next))
			break;
		after = json_integer_value(next);
	}
	*ret = json_pack("{s:O}", "items", all);
	return CTL_DONE;
}

int ctl_resource_list(struct ctl *ctl, const struct ctl_resource *resource)
{
	KK_CLEANUP_JSON json_t *answer = NULL;
	int r = ctl_read_all(ctl, resource->collection, &answer);

	if (r == CTL_DONE && !ctl_printed_json(ctl, answer))
		ctl_print_list(json_object_get(answer, "items"), resource->columns,
			       resource->n_columns, resource->none);
	return r;
}

int ctl_resource_show(struct ctl *ctl, const struct ctl_resource *resource)
{
	KK_CLEANUP_JSON json_t *answer = NULL;
	int r = ctl_call(ctl, &answer, NULL, "GET", "/api/v1/%s/%s", resource->collection,
			 ctl->name);

	if (r == CTL_DONE && !ctl_printed_json(ctl, answer))
		ctl_print_object(answer, resource->columns, resource->n_columns);
	return r;
}

int ctl_resource_rm(struct ctl *ctl, const struct ctl_resource *resource)
{
	KK_CLEANUP_JSON json_t *answer = NULL;
	int r = ctl_call(ctl, &answer, NULL, "DELETE", "/api/v1/%s/%s", resource->collection,
			 ctl->name);

	if (r == CTL_DONE && !ctl_printed_json(ctl, answer))
		printf("%s %s is removed\n", resource->what, ctl->name);
	return r;
}

static int change(struct ctl *ctl, const struct ctl_resource *resource, json_t *body,
		  const char *method, const char *done)
{
	const bool whole = strcmp(method, "POST") == 0;
	char path[96], what[96];

	snprintf(path, sizeof(path), "/api/v1/%s%s%s", resource->collection, whole ? "" : "/",
		 whole ? "" : ctl->name);
	snprintf(what, sizeof(what), "%s %s is %s", resource->what, ctl->name, done);
	return ctl_change(ctl, body, method, path, what);
}

int ctl_resource_add(struct ctl *ctl, const struct ctl_resource *resource, json_t *body)
{
	return change(ctl, resource, body, "POST", "added");
}

int ctl_resource_set(struct ctl *ctl, const struct ctl_resource *resource, json_t *body)
{
	return change(ctl, resource, body, "PATCH", "changed");
}

int ctl_resource_drop(struct ctl *ctl, const struct ctl_resource *resource)
{
	return change(ctl, resource, NULL, "DELETE", "removed");
}
