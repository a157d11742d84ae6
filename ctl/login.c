// SPDX-License-Identifier: MIT
/* kkctl login and logout: a session in place of an API key. */
#include "ctl/ctl.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/api.h"
#include "ctl/password.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/json.h"

static int write_session(struct ctl *ctl, const char *key)
{
	const char *path = ctl->options.output;
	KK_CLEANUP_JSON json_t *file = json_pack("{s:s, s:s, s:s}", "url", ctl->server.url, "pin",
						 ctl->server.pin, "key", key);
	KK_CLEANUP_FREE char *text = file ? json_dumps(file, JSON_INDENT(2)) : NULL;
	int r = text ? kk_file_write(path, text, strlen(text), 0600) : -ENOMEM;

	return r < 0 ? ctl_fail(CTL_REFUSED, "%s: %s", path, strerror(-r)) : CTL_DONE;
}

static int login(struct ctl *ctl)
{
	const char *org = ctl->options.org ? ctl->options.org : "default";
	KK_CLEANUP_JSON json_t *answer = NULL;
	char password[CTL_PASSWORD_MAX];
	json_t *body;
	int r;

	if (!ctl->options.url || !ctl->options.pin || !ctl->options.output)
		return ctl_usage(ctl, "--url, --pin and --output are wanted");
	ctl->server = (struct kk_http_server){.url = ctl->options.url, .pin = ctl->options.pin};
	ctl->admin = json_object(); /* there is nothing to be read */
	r = ctl_read_password("Password: ", password);
	if (r != CTL_DONE)
		return r;
	body = json_pack("{s:s, s:s, s:s, s:b}", "organisation", org, "name", ctl->name, "password",
			 password, "cookie", 0);
	explicit_bzero(password, sizeof(password));
	r = ctl_call(ctl, &answer, body, "POST", "/api/v1/login");
	if (r == CTL_DONE)
		r = write_session(ctl, ctl_text(answer, "key"));
	if (r == CTL_DONE)
		printf("%s of %s, role %s: kkctl --config %s ...\n", ctl->name, org,
		       ctl_text(answer, "role"), ctl->options.output);
	return r;
}

static int logout(struct ctl *ctl)
{
	KK_CLEANUP_JSON json_t *answer = NULL;
	int r = ctl_call(ctl, &answer, NULL, "POST", "/api/v1/logout");

	if (r == CTL_DONE)
		puts("the session is over");
	return r;
}

static const struct kk_option login_options[] = {
	CTL_OPTION("url", "URL", KK_OPTION_STRING, url, "https://HOST:PORT of Control"),
	CTL_OPTION("pin", "PIN", KK_OPTION_STRING, pin, "Control's key, as its admin.json has it"),
	CTL_OPTION("org", "NAME", KK_OPTION_STRING, org, "the organisation (default: default)"),
	CTL_OPTION("output", "FILE", KK_OPTION_STRING, output,
		   "where to keep the session, for --config"),
};

static const struct ctl_command login_commands[] = {
	{NULL, "USER", "begins a session; the password is asked for", CTL_OPTIONS(login_options),
	 .run = login},
};

static const struct ctl_command logout_commands[] = {
	{NULL, NULL, "ends the session of --config", .run = logout},
};

const struct ctl_noun ctl_login = {
	"login",
	"begins a session",
	login_commands,
	ARRAY_SIZE(login_commands),
};

const struct ctl_noun ctl_logout = {
	"logout",
	"ends a session",
	logout_commands,
	ARRAY_SIZE(logout_commands),
};
