// SPDX-License-Identifier: MIT
/* kkctl key */
#include "ctl/ctl.h"

#include <stdio.h>

#include "ctl/api.h"
#include "ctl/print.h"
#include "util/cleanup.h"
#include "util/json.h"

static void format_created(const json_t *obj, char *text, size_t size)
{
	ctl_format_time(json_integer_value(json_object_get(obj, "created_at")), text, size);
}

static const struct ctl_column columns[] = {
	{"NAME", "name", NULL},
	{"CREATED", NULL, format_created},
};

static int add(struct ctl *ctl)
{
	KK_CLEANUP_JSON json_t *answer = NULL;
	int r = ctl_call(ctl, &answer, json_pack("{s:s}", "name", ctl->name), "POST",
			 "/api/v1/api-keys");

	if (r != CTL_DONE)
		return r;
	if (ctl->options.json)
		ctl_print_json(answer);
	else
		printf("API key %s, shown this once:\n  %s\n", ctl->name, ctl_text(answer, "key"));
	return CTL_DONE;
}

static int list(struct ctl *ctl)
{
	KK_CLEANUP_JSON json_t *answer = NULL;
	int r = ctl_call(ctl, &answer, NULL, "GET", "/api/v1/api-keys");

	if (r != CTL_DONE)
		return r;
	if (ctl->options.json)
		ctl_print_json(answer);
	else
		ctl_print_list(json_object_get(answer, "items"), columns, ARRAY_SIZE(columns),
			       "There is no API key.");
	return CTL_DONE;
}

static int rm(struct ctl *ctl)
{
	KK_CLEANUP_JSON json_t *answer = NULL;
	int r = ctl_call(ctl, &answer, NULL, "DELETE", "/api/v1/api-keys/%s", ctl->name);

	if (r != CTL_DONE)
		return r;
	if (ctl->options.json)
		ctl_print_json(answer);
	else
		printf("API key %s is removed\n", ctl->name);
	return CTL_DONE;
}

static const struct ctl_command commands[] = {
	{"add", "NAME", "makes an API key and shows it this once", .run = add},
	{"list", NULL, "lists the API keys", .run = list},
	{"rm", "NAME", "removes an API key; it stops working at once", .run = rm},
};

const struct ctl_noun ctl_key = {
	"key",
	"administrators' keys to the API",
	commands,
	ARRAY_SIZE(commands),
};
