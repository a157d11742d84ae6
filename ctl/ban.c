// SPDX-License-Identifier: MIT
/* kkctl ban */
#include "ctl/ctl.h"

#include <stdio.h>
#include <string.h>

#include "ctl/api.h"
#include "util/address.h"
#include "util/cleanup.h"
#include "util/json.h"
#include "util/parse.h"

#define BAN_MAX_S 3153600000

static void format_service(const json_t *obj, char *text, size_t size)
{
	const char *service = ctl_text(obj, "service");

	snprintf(text, size, "%s", *service ? service : "all");
}

static void format_expires(const json_t *obj, char *text, size_t size)
{
	json_int_t at = json_integer_value(json_object_get(obj, "expires_at"));

	if (at)
		ctl_format_time(at, text, size);
	else
		snprintf(text, size, "never");
}

static const struct ctl_column columns[] = {
	{"ADDRESS", "address", NULL},
	{"SERVICE", NULL, format_service},
	{"EXPIRES", NULL, format_expires},
};

/* The argument in its canonical form, and the service's name looked at. */
static int take(const struct ctl *ctl, char text[KK_ADDRESS_TEXT])
{
	struct kk_address address;
	struct kk_err err = {0};

	if (kk_parse_address("address", ctl->name, &address, &err) < 0 ||
	    (ctl->options.service && kk_parse_name("service", ctl->options.service, &err) < 0))
		return ctl_fail(CTL_USAGE, "%s", err.msg);
	kk_address_text(&address, text);
	return CTL_DONE;
}

static int add(struct ctl *ctl)
{
	const struct ctl_options *o = &ctl->options;
	char text[KK_ADDRESS_TEXT], what[192];
	int64_t seconds = 0;
	json_t *body;
	int r = take(ctl, text);

	if (r == CTL_DONE && o->for_)
		r = ctl_duration("for", o->for_, BAN_MAX_S, &seconds);
	if (r != CTL_DONE)
		return r;
	body = json_pack("{s:s}", "address", text);
	if (o->service)
		json_object_set_new(body, "service", json_string(o->service));
	if (seconds)
		json_object_set_new(body, "seconds", json_integer(seconds));
	snprintf(what, sizeof(what), "%s is banned%s%s%s%s", text, o->service ? " from " : "",
		 o->service ? o->service : "", seconds ? " for " : "", seconds ? o->for_ : "");
	return ctl_change(ctl, body, "POST", "/api/v1/bans", what);
}

static int list(struct ctl *ctl)
{
	return ctl_list(ctl, "/api/v1/bans", columns, ARRAY_SIZE(columns), "Nobody is banned.");
}

static int rm(struct ctl *ctl)
{
	const char *service = ctl->options.service;
	KK_CLEANUP_JSON json_t *all = NULL;
	char text[KK_ADDRESS_TEXT], path[64], what[96];
	json_int_t id;
	int r = take(ctl, text);

	if (r == CTL_DONE)
		r = ctl_call(ctl, &all, NULL, "GET", "/api/v1/bans");
	if (r != CTL_DONE)
		return r;
	id = ctl_find_id(json_object_get(all, "items"), "address", text, "service",
			 service ? service : "");
	if (!id)
		return ctl_fail(CTL_REFUSED, "address: %s is not banned%s%s", text,
				service ? " from " : "", service ? service : "");
	snprintf(path, sizeof(path), "/api/v1/bans/%lld", id);
	snprintf(what, sizeof(what), "%s is no longer banned", text);
	return ctl_change(ctl, NULL, "DELETE", path, what);
}

static const struct kk_option add_options[] = {
	CTL_OPTION("for", "TIME", KK_OPTION_STRING, for_,
		   "for so long, as 90s, 15m, 1h or 7d (default for ever)"),
	CTL_OPTION("service", "NAME", KK_OPTION_STRING, service,
		   "from this service only (default all)"),
};

static const struct kk_option rm_options[] = {
	CTL_OPTION("service", "NAME", KK_OPTION_STRING, service,
		   "the ban from this service (default that from all)"),
};

static const struct ctl_command commands[] = {
	{"add", "ADDRESS", "shuts an address out, in the middle of its connections too",
	 CTL_OPTIONS(add_options), .run = add},
	{"list", NULL, "lists who is banned", .run = list},
	{"rm", "ADDRESS", "lets an address in again", CTL_OPTIONS(rm_options), .run = rm},
};

const struct ctl_noun ctl_ban = {
	"ban",
	"addresses that are shut out",
	commands,
	ARRAY_SIZE(commands),
};
