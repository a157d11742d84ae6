// SPDX-License-Identifier: MIT
/* kkctl service */
#include "ctl/ctl.h"

#include <stdio.h>
#include <string.h>

#include "ctl/api.h"
#include "ctl/print.h"
#include "util/cleanup.h"
#include "util/json.h"
#include "util/parse.h"

#define GATEWAYS_SHOWN 4
#define TARGET_MAX     264

static void format_port(const json_t *obj, char *text, size_t size)
{
	snprintf(text, size, "%lld/%s", json_integer_value(json_object_get(obj, "port")),
		 ctl_text(obj, "protocol"));
}

static const struct ctl_column columns[] = {
	{"NAME", "name", NULL},
	{"PORT", NULL, format_port},
	{"AGENT", "agent", NULL},
	{"TARGET", "target", NULL},
	{"PROXY PROTOCOL", "proxy_protocol", NULL},
	{"GENERATION", "generation", NULL},
};

/* ---- values of the command line ---- */

static int take_port(const char *text, json_t *body)
{
	struct kk_err err = {0};
	int64_t port;

	if (kk_parse_int("port", text, 1, 65535, &port, &err) < 0)
		return ctl_fail(CTL_USAGE, "%s", err.msg);
	json_object_set_new(body, "port", json_integer(port));
	return CTL_DONE;
}

/* A bare port means this machine, as the Agent sees it. */
static int take_target(const char *text, json_t *body)
{
	char host[TARGET_MAX], whole[TARGET_MAX + 16];
	struct kk_err err = {0};
	uint16_t port;
	json_t *target;

	if (kk_parse_hostport("target", text, true, host, sizeof(host), &port, &err) < 0)
		return ctl_fail(CTL_USAGE, "%s", err.msg);
	snprintf(whole, sizeof(whole), strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
	target = json_string(whole);
	if (!target)
		return ctl_fail(CTL_USAGE, "target: the host is not written in UTF-8");
	json_object_set_new(body, "target", target);
	return CTL_DONE;
}

static int take_add(struct ctl *ctl, json_t *body)
{
	struct ctl_options *o = &ctl->options;
	struct kk_err err = {0};
	int r;

	if (!o->agent)
		return ctl_usage(ctl, "--agent is missing");
	if (!o->tcp == !o->udp)
		return ctl_usage(ctl, "either --tcp PORT or --udp PORT is wanted");
	if (!o->target)
		return ctl_usage(ctl, "--target is missing");
	if (kk_parse_name("agent", o->agent, &err) < 0)
		return ctl_fail(CTL_USAGE, "%s", err.msg);
	json_object_set_new(body, "name", json_string(ctl->name));
	json_object_set_new(body, "agent", json_string(o->agent));
	json_object_set_new(body, "protocol", json_string(o->tcp ? "tcp" : "udp"));
	json_object_set_new(body, "proxy_protocol", json_boolean(o->proxy_protocol));
	r = take_port(o->tcp ? o->tcp : o->udp, body);
	return r == CTL_DONE ? take_target(o->target, body) : r;
}

static int take_set(struct ctl *ctl, json_t *body)
{
	struct ctl_options *o = &ctl->options;
	int r = CTL_DONE;

	if (!o->port && !o->target && !o->proxy_switch)
		return ctl_usage(ctl, "there is nothing to change");
	if (o->port)
		r = take_port(o->port, body);
	if (r == CTL_DONE && o->target)
		r = take_target(o->target, body);
	if (r != CTL_DONE || !o->proxy_switch)
		return r;
	if (strcmp(o->proxy_switch, "on") != 0 && strcmp(o->proxy_switch, "off") != 0)
		return ctl_fail(CTL_USAGE, "proxy-protocol: \"%.64s\" is neither on nor off",
				o->proxy_switch);
	json_object_set_new(body, "proxy_protocol", json_boolean(o->proxy_switch[1] == 'n'));
	return CTL_DONE;
}

/* ---- what was done ---- */

/* Where the world finds the service: ADDRESS:PORT of each gateway that has joined. */
static void print_entries(const json_t *gateways, const json_t *service)
{
	bool udp = strcmp(ctl_text(service, "protocol"), "udp") == 0;
	const json_t *gateway;
	size_t i, n = 0;

	json_array_foreach((json_t *)gateways, i, gateway) {
		if (!json_is_true(json_object_get(gateway, "joined")) || n++ >= GATEWAYS_SHOWN)
			continue;
		printf("%s %s:%lld%s", n > 1 ? "," : "", ctl_text(gateway, "address"),
		       json_integer_value(json_object_get(service, "port")), udp ? "/udp" : "");
	}
	if (!n)
		printf(" no gateway has joined yet");
	if (n > GATEWAYS_SHOWN)
		printf(" and %zu more", n - GATEWAYS_SHOWN);
}

/*
 * Sends @body (taken over) to @path and prints what came of it, such as
 * "ssh: 198.51.100.1:2222 -> home 127.0.0.1:22, applied on 1/1 gateways". What is only needed to say so is
 * asked for first: once the change is made nothing else may fail.
 */
static int change(struct ctl *ctl, json_t *body, const char *method, const char *path)
{
	KK_CLEANUP_JSON json_t *owned = body, *gateways = NULL, *service = NULL;
	char applied[256];
	int r = CTL_DONE;

	if (!ctl->options.json)
		r = ctl_call(ctl, &gateways, NULL, "GET", "/api/v1/gateways");
	if (r == CTL_DONE)
		r = ctl_call(ctl, &service, json_incref(owned), method, "%s?wait=%lld", path,
			     (long long)ctl->options.wait);
	if (r != CTL_DONE)
		return r;
	r = ctl_applied(ctl, service, applied, sizeof(applied));
	if (ctl->options.json) {
		ctl_print_json(service);
		return r;
	}
	printf("%s:", ctl->name);
	print_entries(json_object_get(gateways, "items"), service);
	printf(" -> %s %s%s, %s\n", ctl_text(service, "agent"), ctl_text(service, "target"),
	       json_is_true(json_object_get(service, "proxy_protocol")) ? " (PROXY protocol)" : "",
	       applied);
	return r;
}

/* ---- commands ---- */

static int add(struct ctl *ctl)
{
	KK_CLEANUP_JSON json_t *body = json_object();
	int r = take_add(ctl, body);

	if (r != CTL_DONE)
		return r;
	return change(ctl, json_incref(body), "POST", "/api/v1/services");
}

static int set(struct ctl *ctl)
{
	KK_CLEANUP_JSON json_t *body = json_object();
	char path[64];
	int r = take_set(ctl, body);

	if (r != CTL_DONE)
		return r;
	snprintf(path, sizeof(path), "/api/v1/services/%s", ctl->name);
	return change(ctl, json_incref(body), "PATCH", path);
}

static int list(struct ctl *ctl)
{
	KK_CLEANUP_JSON json_t *answer = NULL;
	int r = ctl_call(ctl, &answer, NULL, "GET", "/api/v1/services");

	if (r != CTL_DONE)
		return r;
	if (ctl->options.json)
		ctl_print_json(answer);
	else
		ctl_print_list(json_object_get(answer, "items"), columns, ARRAY_SIZE(columns),
			       "There is no service yet.");
	return CTL_DONE;
}

static int show(struct ctl *ctl)
{
	KK_CLEANUP_JSON json_t *answer = NULL;
	int r = ctl_call(ctl, &answer, NULL, "GET", "/api/v1/services/%s", ctl->name);

	if (r != CTL_DONE)
		return r;
	if (ctl->options.json)
		ctl_print_json(answer);
	else
		ctl_print_object(answer, columns, ARRAY_SIZE(columns));
	return CTL_DONE;
}

static int rm(struct ctl *ctl)
{
	KK_CLEANUP_JSON json_t *answer = NULL;
	char applied[256];
	int r = ctl_call(ctl, &answer, NULL, "DELETE", "/api/v1/services/%s?wait=%lld", ctl->name,
			 (long long)ctl->options.wait);

	if (r != CTL_DONE)
		return r;
	r = ctl_applied(ctl, answer, applied, sizeof(applied));
	if (ctl->options.json)
		ctl_print_json(answer);
	else
		printf("%s is removed, %s\n", ctl->name, applied);
	return r;
}

static const struct kk_option add_options[] = {
	CTL_OPTION("agent", "NAME", KK_OPTION_STRING, agent, "the Agent that reaches the target"),
	CTL_OPTION("tcp", "PORT", KK_OPTION_STRING, tcp, "TCP port on every gateway"),
	CTL_OPTION("udp", "PORT", KK_OPTION_STRING, udp, "UDP port on every gateway"),
	CTL_OPTION("target", "HOST:PORT", KK_OPTION_STRING, target,
		   "where the Agent finds it; a bare PORT is the Agent's own machine"),
	CTL_OPTION("proxy-protocol", NULL, KK_OPTION_FLAG, proxy_protocol,
		   "send the PROXY protocol header (v2) to the target"),
};

static const struct kk_option set_options[] = {
	CTL_OPTION("port", "P", KK_OPTION_STRING, port, "another port on every gateway"),
	CTL_OPTION("target", "HOST:PORT", KK_OPTION_STRING, target, "another target"),
	CTL_OPTION("proxy-protocol", "on|off", KK_OPTION_STRING, proxy_switch,
		   "switch the PROXY protocol header"),
};

static const struct ctl_command commands[] = {
	{"add", "NAME", "publishes a service", CTL_OPTIONS(add_options), .run = add},
	{"set", "NAME", "changes a service", CTL_OPTIONS(set_options), .run = set},
	{"list", NULL, "lists the services", .run = list},
	{"show", "NAME", "shows one service", .run = show},
	{"rm", "NAME", "ends the publishing of a service", .run = rm},
};

const struct ctl_noun ctl_service = {
	"service",
	"what is published",
	commands,
	ARRAY_SIZE(commands),
};
