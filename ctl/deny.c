// SPDX-License-Identifier: MIT
/* kkctl deny */
#include "ctl/ctl.h"

#include <stdio.h>

#include "ctl/api.h"
#include "util/address.h"
#include "util/cleanup.h"
#include "util/json.h"

static const struct ctl_column columns[] = {
	{"PREFIX", "prefix", NULL},
	{"GENERATION", "generation", NULL},
};

/* The argument in its canonical form, as Control lists it. */
static int take_prefix(const struct ctl *ctl, char text[KK_PREFIX_TEXT])
{
	struct kk_prefix prefix;
	struct kk_err err = {0};

	if (kk_parse_prefix("prefix", ctl->name, &prefix, &err) < 0)
		return ctl_fail(CTL_USAGE, "%s", err.msg);
	kk_prefix_text(&prefix, text);
	return CTL_DONE;
}

static int add(struct ctl *ctl)
{
	char text[KK_PREFIX_TEXT], what[96];
	int r = take_prefix(ctl, text);

	if (r != CTL_DONE)
		return r;
	snprintf(what, sizeof(what), "%s is denied", text);
	return ctl_change(ctl, json_pack("{s:s}", "prefix", text), "POST", "/api/v1/denials", what);
}

static int list(struct ctl *ctl)
{
	return ctl_list(ctl, "/api/v1/denials", columns, ARRAY_SIZE(columns),
			"Nothing is denied to all.");
}

static int rm(struct ctl *ctl)
{
	KK_CLEANUP_JSON json_t *all = NULL;
	char text[KK_PREFIX_TEXT], path[64], what[96];
	int r = take_prefix(ctl, text);
	json_int_t id;

	if (r == CTL_DONE)
		r = ctl_call(ctl, &all, NULL, "GET", "/api/v1/denials");
	if (r != CTL_DONE)
		return r;
	id = ctl_find_id(json_object_get(all, "items"), "prefix", text, NULL, NULL);
	if (!id)
		return ctl_fail(CTL_REFUSED, "prefix: %s is not denied", text);
	snprintf(path, sizeof(path), "/api/v1/denials/%lld", id);
	snprintf(what, sizeof(what), "%s is no longer denied", text);
	return ctl_change(ctl, NULL, "DELETE", path, what);
}

static const struct ctl_command commands[] = {
	{"add", "PREFIX", "shuts a prefix out from all services of all gateways", .run = add},
	{"list", NULL, "lists what is shut out", .run = list},
	{"rm", "PREFIX", "lets a prefix in again", .run = rm},
};

const struct ctl_noun ctl_deny = {
	"deny",
	"prefixes that are shut out",
	commands,
	ARRAY_SIZE(commands),
};
