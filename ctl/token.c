// SPDX-License-Identifier: MIT
/* kkctl token */
#include "ctl/ctl.h"

#include <stdio.h>

#include "ctl/api.h"
#include "ctl/resource.h"
#include "util/cleanup.h"
#include "util/json.h"
#include "util/parse.h"

static void format_for(const json_t *obj, char *text, size_t size)
{
	if (*ctl_text(obj, "prefix"))
		snprintf(text, size, "new %s-N", ctl_text(obj, "prefix"));
	else
		snprintf(text, size, "%s", ctl_text(obj, "node"));
}

static const struct ctl_column columns[] = {
	{"ID", "id", NULL},
	{"ROLE", "role", NULL},
	{"FOR", NULL, format_for},
	{"USES", "uses", NULL},
	{"EXPIRES", NULL, ctl_format_expires},
};

static const struct ctl_resource resource = {
	"join-tokens", "join token", "No join token is outstanding.", columns, ARRAY_SIZE(columns),
};

static int add(struct ctl *ctl)
{
	struct ctl_options *o = &ctl->options;
	const char *role = o->gateway ? "gateway" : "agent";
	const char *name = o->gateway ? o->gateway : o->agent ? o->agent : o->prefix;
	KK_CLEANUP_JSON json_t *body = NULL, *answer = NULL;
	struct kk_err err = {0};
	int r;

	if (!!o->gateway + !!o->agent + !!o->prefix != 1)
		return ctl_usage(ctl,
				 "either --gateway NAME, --agent NAME or --prefix NAME is wanted");
	if (kk_parse_name(o->prefix ? "prefix" : role, name, &err) < 0)
		return ctl_fail(CTL_USAGE, "%s", err.msg);
	body = json_pack("{s:s, s:s}", "role", role, o->prefix ? "prefix" : "node", name);
	if (o->uses)
		json_object_set_new(body, "uses", json_integer(o->uses));
	if (o->expires)
		json_object_set_new(body, "expires_in", json_integer(o->expires));
	r = ctl_call(ctl, &answer, json_incref(body), "POST", "/api/v1/join-tokens");
	if (r != CTL_DONE || ctl_printed_json(ctl, answer))
		return r;
	if (o->prefix)
		printf("On every machine that shall be an Agent %s-N, as root:\n", name);
	else
		printf("On the machine of %s %s, as root:\n", role, name);
	printf("  %s join %s\n", o->gateway ? "kkgatewayd" : "kkagentd",
	       ctl_text(answer, "join_token"));
	return CTL_DONE;
}

static int list(struct ctl *ctl)
{
	return ctl_resource_list(ctl, &resource);
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
	CTL_OPTION("prefix", "NAME", KK_OPTION_STRING, prefix,
		   "for any number of Agents, made as NAME-1, NAME-2 ... when they join"),
	CTL_OPTION("uses", "N", KK_OPTION_INT, uses, "with --prefix: how many, 1 to 65024",
		   .min = 1, .max = 65024),
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
