// SPDX-License-Identifier: MIT
/* kkctl org */
#include "ctl/ctl.h"

#include <stdio.h>

#include "ctl/api.h"
#include "ctl/resource.h"
#include "util/cleanup.h"
#include "util/json.h"

static const struct ctl_column columns[] = {
	{"NAME", "name", NULL},
	{"CREATED", NULL, ctl_format_created},
};

static const struct ctl_resource resource = {
	"organisations", "organisation", "There is no organisation.", columns, ARRAY_SIZE(columns),
};

static int add(struct ctl *ctl)
{
	KK_CLEANUP_JSON json_t *answer = NULL;
	int r = ctl_call(ctl, &answer, json_pack("{s:s}", "name", ctl->name), "POST",
			 "/api/v1/organisations");

	if (r == CTL_DONE && !ctl_printed_json(ctl, answer))
		printf("organisation %s is added. Its owner's key, shown this once:\n  %s\n",
		       ctl->name, ctl_text(answer, "key"));
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

static const struct ctl_command commands[] = {
	{"add", "NAME", "makes an organisation and shows its owner's key this once", .run = add},
	{"list", NULL, "lists the organisations", .run = list},
	{"rm", "NAME", "removes an organisation that has no nodes", .run = rm},
};

const struct ctl_noun ctl_org = {
	"org",
	"organisations, each with objects, users and keys of its own",
	commands,
	ARRAY_SIZE(commands),
};
