// SPDX-License-Identifier: MIT
/* kkctl key */
#include "ctl/ctl.h"

#include <stdio.h>

#include "ctl/api.h"
#include "ctl/resource.h"
#include "util/cleanup.h"
#include "util/json.h"

static const struct ctl_column columns[] = {
	{"NAME", "name", NULL},
	{"ROLE", "role", NULL},
	{"CREATED", NULL, ctl_format_created},
	{"EXPIRES", NULL, ctl_format_expires},
};

static const struct ctl_resource resource = {
	"api-keys", "API key", "There is no API key.", columns, ARRAY_SIZE(columns),
};

static int add(struct ctl *ctl)
{
	json_t *body = json_pack("{s:s}", "name", ctl->name);
	KK_CLEANUP_JSON json_t *answer = NULL;
	int r;

	if (ctl->options.role)
		json_object_set_new(body, "role", json_string(ctl->options.role));
	if (ctl->options.expires)
		json_object_set_new(body, "expires_in", json_integer(ctl->options.expires));
	r = ctl_call(ctl, &answer, body, "POST", "/api/v1/api-keys");
	if (r == CTL_DONE && !ctl_printed_json(ctl, answer))
		printf("API key %s, shown this once:\n  %s\n", ctl->name, ctl_text(answer, "key"));
	return r;
}

static int list(struct ctl *ctl)
{
	return ctl_resource_list(ctl, &resource);
}

static int rm(struct ctl *ctl)
{
	return ctl_resource_rm(ctl, &resource);
}

static const struct kk_option add_options[] = {
	CTL_OPTION("role", "ROLE", KK_OPTION_STRING, role,
		   "what it may do: viewer, operator, admin or owner (default: your own)"),
	CTL_OPTION("expires", "S", KK_OPTION_INT, expires,
		   "seconds that it is good for, 60 to 315360000 (default: for ever)", .min = 60,
		   .max = 315360000),
};

static const struct ctl_command commands[] = {
	{"add", "NAME", "makes an API key and shows it this once", CTL_OPTIONS(add_options),
	 .run = add},
	{"list", NULL, "lists the API keys", .run = list},
	{"rm", "NAME", "removes an API key; it stops working at once", .run = rm},
};

const struct ctl_noun ctl_key = {
	"key",
	"programs' and administrators' keys to the API",
	commands,
	ARRAY_SIZE(commands),
};
