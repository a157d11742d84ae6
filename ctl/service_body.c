// SPDX-License-Identifier: MIT
#include "ctl/service_body.h"

#include <stdio.h>
#include <string.h>

#include "util/address.h"
#include "util/cleanup.h"
#include "util/json.h"
#include "util/parse.h"

#define TARGET_MAX 264
#define LIMIT_MAX  10000000

/* "2222" or "2000-2100" */
static int take_port(const char *text, json_t *body)
{
	struct kk_err err = {0};
	uint16_t first, last;

	if (kk_parse_ports("port", text, &first, &last, &err) < 0)
		return ctl_fail(CTL_USAGE, "%s", err.msg);
	json_object_set_new(body, "port", json_integer(first));
	if (last > first)
		json_object_set_new(body, "last_port", json_integer(last));
	return CTL_DONE;
}

/* A bare port means this machine, as the Agent sees it. */
static int take_target(const char *text, json_t *body)
{
	char host[TARGET_MAX], whole[TARGET_MAX + 16];
	struct kk_err err = {0};
	uint16_t first, last;
	json_t *target;
	int at;

	if (kk_parse_hostports("target", text, true, host, sizeof(host), &first, &last, &err) < 0)
		return ctl_fail(CTL_USAGE, "%s", err.msg);
	at = snprintf(whole, sizeof(whole), strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, first);
	if (last > first)
		snprintf(whole + at, sizeof(whole) - (size_t)at, "-%u", last);
	target = json_string(whole);
	if (!target)
		return ctl_fail(CTL_USAGE, "target: the host is not written in UTF-8");
	json_object_set_new(body, "target", target);
	return CTL_DONE;
}

static int take_agents(const struct kk_option_list *names, json_t *body)
{
	json_t *list = json_array();

	json_object_set_new(body, "agents", list);
	for (size_t i = 0; i < names->n; i++) {
		struct kk_err err = {0};

		if (kk_parse_name("agent", names->items[i], &err) < 0)
			return ctl_fail(CTL_USAGE, "%s", err.msg);
		json_array_append_new(list, json_string(names->items[i]));
	}
	return CTL_DONE;
}

/* "none" alone is the empty list. */
static int take_prefixes(const char *field, const struct kk_option_list *prefixes, json_t *body)
{
	json_t *list;

	if (!prefixes->n)
		return CTL_DONE;
	list = json_array();
	json_object_set_new(body, field, list);
	if (prefixes->n == 1 && strcmp(prefixes->items[0], "none") == 0)
		return CTL_DONE;
	for (size_t i = 0; i < prefixes->n; i++) {
		struct kk_err err = {0};
		struct kk_prefix prefix;

		if (kk_parse_prefix(field, prefixes->items[i], &prefix, &err) < 0)
			return ctl_fail(CTL_USAGE, "%s", err.msg);
		json_array_append_new(list, json_string(prefixes->items[i]));
	}
	return CTL_DONE;
}

/* "100/s", "100", or "none" */
static int take_limit(const char *option, const char *field, const char *text, json_t *body)
{
	struct kk_err err = {0};
	int64_t limit = 0;
	char number[24];
	size_t len;

	if (!text)
		return CTL_DONE;
	len = strlen(text);
	if (len > 2 && strcmp(text + len - 2, "/s") == 0)
		len -= 2;
	snprintf(number, sizeof(number), "%.*s", (int)len, text);
	if (strcmp(text, "none") != 0 &&
	    (len >= sizeof(number) || kk_parse_int(option, number, 1, LIMIT_MAX, &limit, &err) < 0))
		return ctl_fail(CTL_USAGE, "%s: \"%.40s\" is not 1/s to %d/s, or none", option,
				text, LIMIT_MAX);
	json_object_set_new(body, field, json_integer(limit));
	return CTL_DONE;
}

/* "all" is the first of each family of every gateway. */
static int take_address(const char *text, json_t *body)
{
	struct kk_address address;
	struct kk_err err = {0};

	if (!text)
		return CTL_DONE;
	if (strcmp(text, "all") == 0) {
		json_object_set_new(body, "address", json_null());
		return CTL_DONE;
	}
	if (kk_parse_address("address", text, &address, &err) < 0)
		return ctl_fail(CTL_USAGE, "%s", err.msg);
	json_object_set_new(body, "address", json_string(text));
	return CTL_DONE;
}

static int take_access(const char *text, json_t *body)
{
	if (!text)
		return CTL_DONE;
	if (strcmp(text, "open") != 0 && strcmp(text, "rules") != 0)
		return ctl_fail(CTL_USAGE, "access: \"%.64s\" is neither open nor rules", text);
	json_object_set_new(body, "access", json_string(text));
	return CTL_DONE;
}

/* What add and set have alike. */
static int take_common(const struct ctl_options *o, json_t *body)
{
	int r = o->agents.n ? take_agents(&o->agents, body) : CTL_DONE;

	if (r == CTL_DONE && o->target)
		r = take_target(o->target, body);
	if (r == CTL_DONE)
		r = take_address(o->address, body);
	if (r == CTL_DONE)
		r = take_access(o->access, body);
	if (r == CTL_DONE)
		r = take_prefixes("allow", &o->allow, body);
	if (r == CTL_DONE)
		r = take_prefixes("deny", &o->deny, body);
	if (r == CTL_DONE)
		r = take_limit("limit-packets", "limit_packets", o->limit_packets, body);
	if (r == CTL_DONE)
		r = take_limit("limit-connections", "limit_connections", o->limit_connections,
			       body);
	return r;
}

int ctl_service_add_body(struct ctl *ctl, json_t *body)
{
	struct ctl_options *o = &ctl->options;
	int r;

	if (!o->agents.n)
		return ctl_usage(ctl, "--agent is missing");
	if (!o->tcp == !o->udp)
		return ctl_usage(ctl, "either --tcp PORT or --udp PORT is wanted");
	if (!o->target)
		return ctl_usage(ctl, "--target is missing");
	json_object_set_new(body, "name", json_string(ctl->name));
	json_object_set_new(body, "protocol", json_string(o->tcp ? "tcp" : "udp"));
	json_object_set_new(body, "proxy_protocol", json_boolean(o->proxy_protocol));
	r = take_port(o->tcp ? o->tcp : o->udp, body);
	return r == CTL_DONE ? take_common(o, body) : r;
}

int ctl_service_set_body(struct ctl *ctl, json_t *body)
{
	struct ctl_options *o = &ctl->options;
	int r = o->port ? take_port(o->port, body) : CTL_DONE;

	if (r == CTL_DONE)
		r = take_common(o, body);
	if (r == CTL_DONE && o->proxy_switch) {
		if (strcmp(o->proxy_switch, "on") != 0 && strcmp(o->proxy_switch, "off") != 0)
			return ctl_fail(CTL_USAGE,
					"proxy-protocol: \"%.64s\" is neither on nor off",
					o->proxy_switch);
		json_object_set_new(body, "proxy_protocol",
				    json_boolean(o->proxy_switch[1] == 'n'));
	}
	if (r == CTL_DONE && !json_object_size(body))
		return ctl_usage(ctl, "there is nothing to change");
	return r;
}
