// SPDX-License-Identifier: MIT
/* kkctl audit */
#include "ctl/ctl.h"

#include <stdio.h>
#include <string.h>

#include "ctl/api.h"
#include "ctl/print.h"
#include "util/cleanup.h"
#include "util/json.h"

static void format_at(const json_t *obj, char *text, size_t size)
{
	ctl_format_time(json_integer_value(json_object_get(obj, "at")), text, size);
}

/* Appends "port 22 -> 23" for every field that differs; of what came or went, all that it has. */
static void format_change(const json_t *obj, char *text, size_t size)
{
	json_t *before = json_object_get(obj, "before"), *after = json_object_get(obj, "after");
	json_t *fields = json_is_object(after) ? after : before;
	const char *key;
	json_t *value;
	size_t at = 0;

	json_object_foreach(fields, key, value) {
		const json_t *old = json_object_get(before, key),
			     *new = json_object_get(after, key);
		KK_CLEANUP_FREE char *was = old ? json_dumps(old, JSON_ENCODE_ANY) : NULL;
		KK_CLEANUP_FREE char *is = new ? json_dumps(new, JSON_ENCODE_ANY) : NULL;

		if (at >= size || strcmp(key, "name") == 0 || (old && new &&json_equal(old, new)))
			continue;
		if (was && is)
			at += (size_t)snprintf(text + at, size - at, "%s%s %s -> %s",
					       at ? ", " : "", key, was, is);
		else
			at += (size_t)snprintf(text + at, size - at, "%s%s %s", at ? ", " : "", key,
					       was  ? was
					       : is ? is
						    : "");
	}
}

static const struct ctl_column columns[] = {
	{"WHEN", NULL, format_at},	 {"WHO", "who", NULL},	 {"FROM", "from", NULL},
	{"ACTION", "action", NULL},	 {"KIND", "kind", NULL}, {"OBJECT", "object", NULL},
	{"CHANGE", NULL, format_change},
};

static int audit(struct ctl *ctl)
{
	long long limit = ctl->options.limit ? ctl->options.limit : 50;
	KK_CLEANUP_JSON json_t *answer = NULL;
	int r = ctl_call(ctl, &answer, NULL, "GET", "/api/v1/audit?limit=%lld", limit);

	if (r != CTL_DONE)
		return r;
	if (ctl->options.json)
		ctl_print_json(answer);
	else
		ctl_print_list(json_object_get(answer, "items"), columns, ARRAY_SIZE(columns),
			       "Nothing was changed yet.");
	return CTL_DONE;
}

static const struct kk_option audit_options[] = {
	CTL_OPTION("limit", "N", KK_OPTION_INT, limit, "how many entries, 1 to 10000 (default 50)",
		   .min = 1, .max = 10000),
};

static const struct ctl_command commands[] = {
	{NULL, NULL, "shows who changed what, from where, the newest first",
	 CTL_OPTIONS(audit_options), .run = audit},
};

const struct ctl_noun ctl_audit = {
	"audit",
	"who changed what",
	commands,
	ARRAY_SIZE(commands),
};
