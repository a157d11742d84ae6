// SPDX-License-Identifier: MIT
/* kkctl apply: what there shall be, as a file. */
#include "ctl/ctl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl/api.h"
#include "ctl/print.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/json.h"

#define FILE_MAX (16u << 20)

static int read_world(struct ctl *ctl, json_t **ret)
{
	const char *path = ctl->options.file;
	KK_CLEANUP_FREE char *text = NULL;
	struct kk_err err = {0};
	size_t len;
	int r;

	if (!path)
		return ctl_usage(ctl, "--file is missing");
	r = kk_file_read(strcmp(path, "-") == 0 ? "/dev/stdin" : path, FILE_MAX, &text, &len);
	if (r < 0)
		return ctl_fail(CTL_REFUSED, "%s: %s", path, strerror(-r));
	*ret = kk_json_parse(text, len, &err);
	return *ret ? CTL_DONE : ctl_fail(CTL_REFUSED, "%s: %s", path, err.msg);
}

static void print_value(const char *key, const json_t *value)
{
	KK_CLEANUP_FREE char *text = value ? json_dumps(value, JSON_ENCODE_ANY) : NULL;

	printf(" %s ", key);
	ctl_print_text(text ? text : "-");
}

/* "~ service ssh: port 22 -> 23" */
static void print_change(const json_t *change)
{
	json_t *before = json_object_get(change, "before"),
	       *after = json_object_get(change, "after");
	const char *action = ctl_text(change, "action"), *key;
	json_t *value;

	printf("%c %s %s",
	       action[0] == 'a'	  ? '+'
	       : action[0] == 'r' ? '-'
				  : '~',
	       ctl_text(change, "kind"), ctl_text(change, "name"));
	json_object_foreach(after, key, value) {
		const json_t *old = json_object_get(before, key);

		if (strcmp(key, "name") == 0 || (old && json_equal(old, value)))
			continue;
		print_value(key, old ? old : value);
		if (old) {
			printf(" ->");
			print_value("", value);
		}
	}
	putchar('\n');
	if (*ctl_text(change, "join_token"))
		printf("    %s join %s\n",
		       strcmp(ctl_text(change, "kind"), "gateway") == 0 ? "kkgatewayd" : "kkagentd",
		       ctl_text(change, "join_token"));
}

static int apply(struct ctl *ctl)
{
	KK_CLEANUP_JSON json_t *world = NULL, *answer = NULL;
	struct ctl_options *o = &ctl->options;
	char applied[256] = "";
	const json_t *changes;
	json_t *change;
	size_t i;
	int r = read_world(ctl, &world);

	if (r == CTL_DONE)
		r = ctl_call(ctl, &answer, json_incref(world), "POST",
			     "/api/v1/apply?dry_run=%s&prune=%s&wait=%lld",
			     o->dry_run ? "true" : "false", o->prune ? "true" : "false",
			     (long long)o->wait);
	if (r != CTL_DONE)
		return r;
	if (!o->dry_run)
		r = ctl_applied(ctl, answer, applied, sizeof(applied));
	if (o->json) {
		ctl_print_json(answer);
		return r;
	}
	changes = json_object_get(answer, "changes");
	json_array_foreach((json_t *)changes, i, change) {
		print_change(change);
	}
	if (o->dry_run)
		printf("%zu changes, none of them made\n", json_array_size(changes));
	else
		printf("%zu changes, %s\n", json_array_size(changes), applied);
	return r;
}

static const struct kk_option apply_options[] = {
	KK_OPTION("file", 'f', "FILE", KK_OPTION_STRING, struct ctl_options, file,
		  "JSON with lists \"gateways\", \"agents\", \"peers\", \"hosts\", \"groups\", "
		  "\"services\", \"rules\"; - is standard input"),
	CTL_OPTION("dry-run", NULL, KK_OPTION_FLAG, dry_run, "only show the difference"),
	CTL_OPTION("prune", NULL, KK_OPTION_FLAG, prune,
		   "remove what the file's lists do not have"),
};

static const struct ctl_command commands[] = {
	{NULL, NULL, "makes what there is what a file says, in one step",
	 CTL_OPTIONS(apply_options), .run = apply},
};

const struct ctl_noun ctl_apply = {
	"apply",
	"the whole configuration as a file",
	commands,
	ARRAY_SIZE(commands),
};
