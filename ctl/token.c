// SPDX-License-Identifier: MIT
/* kkctl token */
#include "ctl/ctl.h"

#include <stdio.h>
#include <string.h>

#include "ctl/api.h"
#include "ctl/print.h"
#include "util/cleanup.h"
#include "util/json.h"
#include "util/parse.h"

static void format_expires(const json_t *obj, char *text, size_t size)
{
	ctl_format_time(json_integer_value(json_object_get(obj, "expires_at")), text, size);
}

static const struct ctl_column columns[] = {
	{"ID", "id", NULL},
	{"ROLE", "role", NULL},
	{"NODE", "node", NULL},
	{"EXPIRES", NULL, format_expires},
};

static int add(struct ctl *ctl)
{
	struct ctl_options *o = &ctl->options;
	const char *role = o->gateway ? "gateway" : "agent";
	const char *name = o->gateway ? o->gateway : o->agent;
	KK_CLEANUP_JSON json_t *body = NULL, *answer = NULL;
	struct kk_err err = {0};
	int r;

	if (!o->gateway == !o->agent)
		return ctl_usage(ctl, "either --gateway NAME or --agent NAME is wanted");
	if (kk_parse_name(role, name, &err) < 0)
		return ctl_fail(CTL_USAGE, "%s", err.msg);
	body = json_pack("{s:s, s:s}", "role", role, "node", name);
	if (o->expires)
		json_object_set_new(body, "expires_in", json_integer(o->expires));
	r = ctl_call(ctl, &answer, json_incref(body), "POST", "/api/v1/join-tokens");
	if (r != CTL_DONE)
		return r;
	if (ctl->options.json)
		ctl_print_json(answer);
	else
		printf("On the machine of %s %s, as root:\n  %s join %s\n", role, name,
		       o->gateway ? "kkgatewayd" : "kkagentd", ctl_text(answer, "join_token"));
	return CTL_DONE;
}

static int list(struct ctl *ctl)
{
	KK_CLEANUP_JSON json_t *answer = NULL;
	int r = ctl_call(ctl, &answer, NULL, "GET", "/api/v1/join-tokens");

	if (r != CTL_DONE)
		return r;
	if (ctl->options.json)
		ctl_print_json(answer);
	else
		ctl_print_list(json_object_get(answer, "items"), columns, ARRAY_SIZE(columns),
			       "No join token is outstanding.");
	return CTL_DONE;
}

static int rm(struct ctl *ctl)
{
	KK_CLEANUP_JSON json_t *answer = NULL;
	struct kk_err err = {0};
	int64_t id;
	int r;

	if (kk_parse_int("id", ctl->name, 1, INT64_MAX, &id, &err) < 0)
		return ctl_fail(CTL_USAGE, "%s", err.msg);
	r = ctl_call(ctl, &answer, NULL, "DELETE", "/api/v1/join-tokens/%lld", (long long)id);
	if (r != CTL_DONE)
		return r;
	if (ctl->options.json)
		ctl_print_json(answer);
	else
		printf("join token %lld is removed\n", (long long)id);
	return CTL_DONE;
}

static const struct kk_option add_options[] = {
	CTL_OPTION("gateway", "NAME", KK_OPTION_STRING, gateway, "the gateway that shall join"),
	CTL_OPTION("agent", "NAME", KK_OPTION_STRING, agent, "the Agent that shall join"),
	CTL_OPTION("expires", "S", KK_OPTION_INT, expires,
		   "seconds that the token is good for, 60 to 2592000 (default 86400)", .min = 60,
		   .max = 2592000),
};

static const struct ctl_command commands[] = {
	{"add", NULL, "makes another join token for a node", CTL_OPTIONS(add_options), .run = add},
	{"list", NULL, "lists the tokens that nobody has used yet", .run = list},
	{"rm", "ID", "removes a token", .run = rm},
};

const struct ctl_noun ctl_token = {
	"token",
	"what nodes join with",
	commands,
	ARRAY_SIZE(commands),
};
