// SPDX-License-Identifier: MIT
/* kkctl rule */
#include "ctl/ctl.h"

#include <stdio.h>
#include <string.h>

#include "ctl/api.h"
#include "ctl/resource.h"
#include "util/cleanup.h"
#include "util/json.h"
#include "util/parse.h"

/* "ssh", or "nas:5432/tcp" */
static void format_destination(const json_t *obj, char *text, size_t size)
{
	json_int_t first = json_integer_value(json_object_get(obj, "port"));
	json_int_t last = json_integer_value(json_object_get(obj, "last_port"));
	int at = snprintf(text, size, "%s", ctl_text(obj, "destination"));

	if (first)
		at += snprintf(text + at, size - (size_t)at, ":%lld", first);
	if (last > first)
		at += snprintf(text + at, size - (size_t)at, "-%lld", last);
	if (first)
		snprintf(text + at, size - (size_t)at, "/%s", ctl_text(obj, "protocol"));
}

static void format_enforced(const json_t *obj, char *text, size_t size)
{
	snprintf(text, size, "%s",
		 json_is_true(json_object_get(obj, "enforced"))
			 ? "by the gateways"
			 : "not yet: nothing is carried between hosts");
}

static const struct ctl_column columns[] = {
	{"NAME", "name", NULL},
	{"SOURCE", "source", NULL},
	{"DESTINATION", NULL, format_destination},
	{"ENFORCED", NULL, format_enforced},
};

static const struct ctl_resource resource = {
	"rules", "rule", "There is no rule.", columns, ARRAY_SIZE(columns),
};

static int take_name(const char *option, const char *field, const char *name, json_t *body)
{
	struct kk_err err = {0};

	if (!name)
		return CTL_DONE;
	if (kk_parse_name(option, name, &err) < 0)
		return ctl_fail(CTL_USAGE, "%s", err.msg);
	json_object_set_new(body, field, json_string(name));
	return CTL_DONE;
}

static int take_ports(const struct ctl *ctl, json_t *body)
{
	const struct ctl_options *o = &ctl->options;
	struct kk_err err = {0};
	uint16_t first, last;

	if (o->tcp && o->udp)
		return ctl_usage(ctl, "either --tcp PORT or --udp PORT is wanted, not both");
	if (!o->tcp && !o->udp)
		return CTL_DONE;
	if (kk_parse_ports(o->tcp ? "tcp" : "udp", o->tcp ? o->tcp : o->udp, &first, &last, &err) <
	    0)
		return ctl_fail(CTL_USAGE, "%s", err.msg);
	json_object_set_new(body, "protocol", json_string(o->tcp ? "tcp" : "udp"));
	json_object_set_new(body, "port", json_integer(first));
	json_object_set_new(body, "last_port", json_integer(last));
	return CTL_DONE;
}

static int take(const struct ctl *ctl, json_t *body)
{
	int r = take_name("from", "source", ctl->options.from, body);

	if (r == CTL_DONE)
		r = take_name("to", "destination", ctl->options.to, body);
	return r == CTL_DONE ? take_ports(ctl, body) : r;
}

static int add(struct ctl *ctl)
{
	KK_CLEANUP_JSON json_t *body = json_pack("{s:s}", "name", ctl->name);
	int r;

	if (!ctl->options.from)
		return ctl_usage(ctl, "--from is missing");
	if (!ctl->options.to)
		return ctl_usage(ctl, "--to is missing");
	r = take(ctl, body);
	return r == CTL_DONE ? ctl_resource_add(ctl, &resource, json_incref(body)) : r;
}

static int set(struct ctl *ctl)
{
	KK_CLEANUP_JSON json_t *body = json_object();
	int r = take(ctl, body);

	if (r == CTL_DONE && !json_object_size(body))
		return ctl_usage(ctl, "there is nothing to change");
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

static const struct kk_option rule_options[] = {
	CTL_OPTION("from", "NAME", KK_OPTION_STRING, from, "a host or a group"),
	CTL_OPTION("to", "NAME", KK_OPTION_STRING, to,
		   "a service, or with a port a host or a group"),
	CTL_OPTION("tcp", "PORT", KK_OPTION_STRING, tcp, "TCP port or FIRST-LAST"),
	CTL_OPTION("udp", "PORT", KK_OPTION_STRING, udp, "UDP port or FIRST-LAST"),
};

static const struct ctl_command commands[] = {
	{"add", "NAME", "lets a host or a group in to a service, or to a port of a host",
	 CTL_OPTIONS(rule_options), .run = add},
	{"set", "NAME", "changes a rule", CTL_OPTIONS(rule_options), .run = set},
	{"list", NULL, "lists the rules", .run = list},
	{"show", "NAME", "shows one rule", .run = show},
	{"rm", "NAME", "removes a rule; whom it let in is let in no more", .run = rm},
};

const struct ctl_noun ctl_rule = {
	"rule",
	"who may reach what; nothing else passes",
	commands,
	ARRAY_SIZE(commands),
};
