// SPDX-License-Identifier: MIT
/* kkctl host */
#include "ctl/ctl.h"

#include <stdio.h>

#include "ctl/api.h"
#include "ctl/resource.h"
#include "util/address.h"
#include "util/cleanup.h"
#include "util/json.h"

static void format_prefixes(const json_t *obj, char *text, size_t size)
{
	ctl_format_names(json_object_get(obj, "prefixes"), "-", text, size);
}

static const struct ctl_column columns[] = {
	{"NAME", "name", NULL},
	{"PREFIXES", NULL, format_prefixes},
	{"GENERATION", "generation", NULL},
};

static const struct ctl_resource resource = {
	"hosts", "host", "There is no host.", columns, ARRAY_SIZE(columns),
};

static int take_prefixes(const struct ctl *ctl, json_t *body)
{
	const struct kk_option_list *prefixes = &ctl->options.prefixes;
	json_t *list = json_array();

	json_object_set_new(body, "prefixes", list);
	if (!prefixes->n)
		return ctl_usage(ctl, "--prefix is missing");
	for (size_t i = 0; i < prefixes->n; i++) {
		struct kk_err err = {0};
		struct kk_prefix prefix;

		if (kk_parse_prefix("prefix", prefixes->items[i], &prefix, &err) < 0)
			return ctl_fail(CTL_USAGE, "%s", err.msg);
		json_array_append_new(list, json_string(prefixes->items[i]));
	}
	return CTL_DONE;
}

static int add(struct ctl *ctl)
{
	KK_CLEANUP_JSON json_t *body = json_pack("{s:s}", "name", ctl->name);
	int r = take_prefixes(ctl, body);

	return r == CTL_DONE ? ctl_resource_add(ctl, &resource, json_incref(body)) : r;
}

static int set(struct ctl *ctl)
{
	KK_CLEANUP_JSON json_t *body = json_object();
	int r = take_prefixes(ctl, body);

	return r == CTL_DONE ? ctl_resource_set(ctl, &resource, json_incref(body)) : r;
}

static int list(struct ctl *ctl)
{
	return ctl_resource_list(ctl, &resource);
}

static int show(struct ctl *ctl)
{
	return ctl_resource_show(ctl, &resource);
}

static int rm(struct ctl *ctl)
{
	return ctl_resource_drop(ctl, &resource);
}

static const struct kk_option add_options[] = {
	CTL_OPTION("prefix", "PREFIX", KK_OPTION_LIST, prefixes,
		   "an address, or ADDRESS/LENGTH; may be repeated"),
};

static const struct kk_option set_options[] = {
	CTL_OPTION("prefix", "PREFIX", KK_OPTION_LIST, prefixes,
		   "other prefixes; all are to be named"),
};

static const struct ctl_command commands[] = {
	{"add", "NAME", "gives prefixes a name, for rules to speak of", CTL_OPTIONS(add_options),
	 .run = add},
	{"set", "NAME", "gives a host other prefixes", CTL_OPTIONS(set_options), .run = set},
	{"list", NULL, "lists the hosts", .run = list},
	{"show", "NAME", "shows one host", .run = show},
	{"rm", "NAME", "removes a host that is in no group and no rule", .run = rm},
};

const struct ctl_noun ctl_host = {
	"host",
	"names for where somebody may come from",
	commands,
	ARRAY_SIZE(commands),
};
