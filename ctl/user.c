// SPDX-License-Identifier: MIT
/* kkctl user */
#include "ctl/ctl.h"

#include <stdio.h>
#include <string.h>

#include "ctl/api.h"
#include "ctl/password.h"
#include "ctl/resource.h"
#include "util/cleanup.h"
#include "util/json.h"

static const struct ctl_column columns[] = {
	{"NAME", "name", NULL},
	{"ROLE", "role", NULL},
	{"CREATED", NULL, ctl_format_created},
};

static const struct ctl_resource resource = {
	"users", "user", "There is no user.", columns, ARRAY_SIZE(columns),
};

static int add_password(json_t *body)
{
	char password[CTL_PASSWORD_MAX];
	int r = ctl_read_password("New password: ", password);

	if (r == CTL_DONE)
		json_object_set_new(body, "password", json_string(password));
	explicit_bzero(password, sizeof(password));
	return r;
}

static int add(struct ctl *ctl)
{
	const char *role = ctl->options.role ? ctl->options.role : "viewer";
	KK_CLEANUP_JSON json_t *body = json_pack("{s:s, s:s}", "name", ctl->name, "role", role);
	KK_CLEANUP_JSON json_t *answer = NULL;
	int r = add_password(body);

	if (r == CTL_DONE)
		r = ctl_call(ctl, &answer, json_incref(body), "POST", "/api/v1/users");
	if (r == CTL_DONE && !ctl_printed_json(ctl, answer))
		printf("user %s is added, role %s\n", ctl->name, role);
	return r;
}

static int set(struct ctl *ctl)
{
	KK_CLEANUP_JSON json_t *body = json_object();
	KK_CLEANUP_JSON json_t *answer = NULL;
	int r = CTL_DONE;

	if (!ctl->options.role && !ctl->options.password)
		return ctl_usage(ctl, "there is nothing to change");
	if (ctl->options.role)
		json_object_set_new(body, "role", json_string(ctl->options.role));
	if (ctl->options.password)
		r = add_password(body);
	if (r == CTL_DONE)
		r = ctl_call(ctl, &answer, json_incref(body), "PATCH", "/api/v1/users/%s",
			     ctl->name);
	if (r == CTL_DONE && !ctl_printed_json(ctl, answer))
		printf("user %s is changed, role %s\n", ctl->name, ctl_text(answer, "role"));
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

#define ROLE_HELP "what the user may do: viewer, operator, admin or owner"

static const struct kk_option add_options[] = {
	CTL_OPTION("role", "ROLE", KK_OPTION_STRING, role, ROLE_HELP " (default viewer)"),
};

static const struct kk_option set_options[] = {
	CTL_OPTION("role", "ROLE", KK_OPTION_STRING, role, ROLE_HELP),
	CTL_OPTION("password", NULL, KK_OPTION_FLAG, password,
		   "another password, asked for; every session of the user ends"),
};

static const struct ctl_command commands[] = {
	{"add", "NAME", "makes a user; the password is asked for", CTL_OPTIONS(add_options),
	 .run = add},
	{"set", "NAME", "changes a user", CTL_OPTIONS(set_options), .run = set},
	{"list", NULL, "lists the users", .run = list},
	{"rm", "NAME", "removes a user, whose sessions end at once", .run = rm},
};

const struct ctl_noun ctl_user = {
	"user",
	"people who may use Control, with a password",
	commands,
	ARRAY_SIZE(commands),
};
