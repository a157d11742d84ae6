// SPDX-License-Identifier: MIT
/* kkctl group */
#include "ctl/ctl.h"

#include <stdio.h>
#include <string.h>

#include "ctl/api.h"
#include "ctl/resource.h"
#include "util/cleanup.h"
#include "util/json.h"
#include "util/parse.h"

static void format_hosts(const json_t *obj, char *text, size_t size)
{
	ctl_format_names(json_object_get(obj, "hosts"), "nobody", text, size);
}

static const struct ctl_column columns[] = {
	{"NAME", "name", NULL},
	{"HOSTS", NULL, format_hosts},
	{"GENERATION", "generation", NULL},
};

static const struct ctl_resource resource = {
	"groups", "group", "There is no group.", columns, ARRAY_SIZE(columns),
};

/* "none" alone is the empty list. */
static int take_hosts(const struct ctl *ctl, json_t *body)
{
	const struct kk_option_list *hosts = &ctl->options.hosts;
	json_t *list = json_array();

	json_object_set_new(body, "hosts", list);
	if (!hosts->n)
		return ctl_usage(ctl, "--host is missing");
	if (hosts->n == 1 && strcmp(hosts->items[0], "none") == 0)
		return CTL_DONE;
	for (size_t i = 0; i < hosts->n; i++) {
		struct kk_err err = {0};

		if (kk_parse_name("host", hosts->items[i], &err) < 0)
			return ctl_fail(CTL_USAGE, "%s", err.msg);
		json_array_append_new(list, json_string(hosts->items[i]));
	}
	return CTL_DONE;
}

static int add(struct ctl *ctl)
{
	KK_CLEANUP_JSON json_t *body = json_pack("{s:s}", "name", ctl->name);
	int r = take_hosts(ctl, body);

	return r == CTL_DONE ? ctl_resource_add(ctl, &resource, json_incref(body)) : r;
}

static int set(struct ctl *ctl)
{
	KK_CLEANUP_JSON json_t *body = json_object();
	int r = take_hosts(ctl, body);

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
	CTL_OPTION("host", "NAME", KK_OPTION_LIST, hosts,
		   "a host of the group; may be repeated, none: nobody"),
};

static const struct kk_option set_options[] = {
	CTL_OPTION("host", "NAME", KK_OPTION_LIST, hosts,
		   "other hosts; all are to be named, none: nobody"),
};

static const struct ctl_command commands[] = {
	{"add", "NAME", "gives several hosts one name", CTL_OPTIONS(add_options), .run = add},
	{"set", "NAME", "gives a group other hosts", CTL_OPTIONS(set_options), .run = set},
	{"list", NULL, "lists the groups", .run = list},
	{"show", "NAME", "shows one group", .run = show},
	{"rm", "NAME", "removes a group that is in no rule", .run = rm},
};

const struct ctl_noun ctl_group = {
	"group",
	"names for several hosts",
	commands,
	ARRAY_SIZE(commands),
};
