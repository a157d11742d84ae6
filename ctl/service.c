// SPDX-License-Identifier: MIT
/* kkctl service */
#include "ctl/ctl.h"

#include <stdio.h>
#include <string.h>

#include "ctl/api.h"
#include "ctl/print.h"
#include "ctl/service_body.h"
#include "util/cleanup.h"
#include "util/json.h"

#define ENTRIES_SHOWN 4
#define DRAIN_MAX_S   86400

/* "2222/tcp" or "2000-2100/udp" */
static void format_port(const json_t *obj, char *text, size_t size)
{
	json_int_t first = json_integer_value(json_object_get(obj, "port"));
	json_int_t last = json_integer_value(json_object_get(obj, "last_port"));

	if (last > first)
		snprintf(text, size, "%lld-%lld/%s", first, last, ctl_text(obj, "protocol"));
	else
		snprintf(text, size, "%lld/%s", first, ctl_text(obj, "protocol"));
}

static void format_agents(const json_t *obj, char *text, size_t size)
{
	ctl_format_names(json_object_get(obj, "agents"), "-", text, size);
}

static void format_address(const json_t *obj, char *text, size_t size)
{
	const char *address = ctl_text(obj, "address");

	snprintf(text, size, "%s", *address ? address : "the first of each family");
}

static bool is_closed(const json_t *obj)
{
	return strcmp(ctl_text(obj, "access"), "rules") == 0;
}

static void format_access(const json_t *obj, char *text, size_t size)
{
	snprintf(text, size, "%s", is_closed(obj) ? "whom rules let in, and the allowed" : "open");
}

static void format_allow(const json_t *obj, char *text, size_t size)
{
	ctl_format_names(json_object_get(obj, "allow"),
			 is_closed(obj) ? "-" : "all that is not denied", text, size);
}

static void format_deny(const json_t *obj, char *text, size_t size)
{
	bool allows = is_closed(obj) || json_array_size(json_object_get(obj, "allow")) > 0;

	ctl_format_names(json_object_get(obj, "deny"),
			 allows ? "all that is not allowed" : "nothing", text, size);
}

static void format_limit(const json_t *limit, char *text, size_t size)
{
	if (json_integer_value(limit))
		snprintf(text, size, "%lld/s of one source", json_integer_value(limit));
	else
		snprintf(text, size, "none");
}

static void format_packets(const json_t *obj, char *text, size_t size)
{
	format_limit(json_object_get(obj, "limit_packets"), text, size);
}

static void format_connections(const json_t *obj, char *text, size_t size)
{
	format_limit(json_object_get(obj, "limit_connections"), text, size);
}

/* What the target has for its clients' addresses. */
static void format_clients(const json_t *obj, char *text, size_t size)
{
	bool snat = json_is_true(json_object_get(obj, "snat"));
	bool told = json_is_true(json_object_get(obj, "proxy_protocol"));

	snprintf(text, size, "%s",
		 snat	? "the gateway's (a plain peer)"
		 : told ? "the Agent's, and told by the PROXY protocol"
			: "the Agent's");
}

static void add_word(char *text, size_t size, bool is_so, const char *word)
{
	size_t at = strlen(text);

	if (is_so)
		snprintf(text + at, size - at, "%s%s", at ? ", " : "", word);
}

/* What of a service is not as usual, in a word or two. */
static void format_policy(const json_t *obj, char *text, size_t size)
{
	text[0] = '\0';
	add_word(text, size, json_is_integer(json_object_get(obj, "draining_until")), "draining");
	add_word(text, size, json_is_true(json_object_get(obj, "proxy_protocol")),
		 "PROXY protocol");
	add_word(text, size, json_is_true(json_object_get(obj, "snat")), "plain peer");
	add_word(text, size, is_closed(obj), "rules");
	add_word(text, size,
		 json_array_size(json_object_get(obj, "allow")) ||
			 json_array_size(json_object_get(obj, "deny")),
		 "lists");
	add_word(text, size,
		 json_integer_value(json_object_get(obj, "limit_packets")) ||
			 json_integer_value(json_object_get(obj, "limit_connections")),
		 "limits");
	add_word(text, size, json_is_string(json_object_get(obj, "address")), "one address");
	if (!*text)
		snprintf(text, size, "-");
}

static void format_draining(const json_t *obj, char *text, size_t size)
{
	json_int_t at = json_integer_value(json_object_get(obj, "draining_until"));

	if (at)
		ctl_format_time(at, text, size);
	else
		snprintf(text, size, "no");
}

static const struct ctl_column list_columns[] = {
	{"NAME", "name", NULL},		 {"PORT", NULL, format_port},
	{"AGENT", NULL, format_agents},	 {"TARGET", "target", NULL},
	{"POLICY", NULL, format_policy}, {"GENERATION", "generation", NULL},
};

static const struct ctl_column show_columns[] = {
	{"NAME", "name", NULL},
	{"PORT", NULL, format_port},
	{"ADDRESS", NULL, format_address},
	{"AGENT", NULL, format_agents},
	{"TARGET", "target", NULL},
	{"PROXY PROTOCOL", "proxy_protocol", NULL},
	{"CLIENTS SEEN AS", NULL, format_clients},
	{"ACCESS", NULL, format_access},
	{"ALLOWED", NULL, format_allow},
	{"DENIED", NULL, format_deny},
	{"PACKETS", NULL, format_packets},
	{"CONNECTIONS", NULL, format_connections},
	{"DRAINS UNTIL", NULL, format_draining},
	{"GENERATION", "generation", NULL},
};

/* ---- what was done ---- */

/* Whether the gateway publishes the service on its address number @i. */
static bool is_published(const json_t *addresses, size_t i, const json_t *service)
{
	const char *own = ctl_text(service, "address");
	const char *address = json_string_value(json_array_get(addresses, i));

	if (*own)
		return strcmp(own, address) == 0;
	for (size_t j = 0; j < i; j++) {
		const char *other = json_string_value(json_array_get(addresses, j));

		if (!strchr(other, ':') == !strchr(address, ':'))
			return false;
	}
	return true;
}

static size_t print_entry(const char *address, const json_t *service, size_t n)
{
	char port[32];

	if (n >= ENTRIES_SHOWN)
		return n + 1;
	format_port(service, port, sizeof(port));
	if (strcmp(ctl_text(service, "protocol"), "udp") != 0)
		*strchr(port, '/') = '\0';
	printf(strchr(address, ':') ? "%s [%s]:%s" : "%s %s:%s", n ? "," : "", address, port);
	return n + 1;
}

/* Where the world finds the service: ADDRESS:PORT of each gateway that has joined. */
static void print_entries(const json_t *gateways, const json_t *service)
{
	const json_t *gateway;
	size_t i, n = 0;

	json_array_foreach((json_t *)gateways, i, gateway) {
		const json_t *addresses = json_object_get(gateway, "addresses");

		for (size_t j = 0; j < json_array_size(addresses); j++)
			if (json_is_true(json_object_get(gateway, "joined")) &&
			    is_published(addresses, j, service))
				n = print_entry(json_string_value(json_array_get(addresses, j)),
						service, n);
	}
	if (!n)
		printf(" no gateway has joined yet");
	if (n > ENTRIES_SHOWN)
		printf(" and %zu more", n - ENTRIES_SHOWN);
}

/*
 * Sends @body (taken over) to @path and prints what came of it, such as
 * "ssh: 198.51.100.1:2222 -> home 127.0.0.1:22, applied on 1/1 gateways". What is only needed to say so is
 * asked for first: once the change is made nothing else may fail.
 */
static int change(struct ctl *ctl, json_t *body, const char *method, const char *path)
{
	KK_CLEANUP_JSON json_t *owned = body, *gateways = NULL, *service = NULL;
	char applied[256], agents[256];
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
	format_agents(service, agents, sizeof(agents));
	printf(" -> %s %s%s, %s\n", agents, ctl_text(service, "target"),
	       json_is_true(json_object_get(service, "proxy_protocol")) ? " (PROXY protocol)" : "",
	       applied);
	return r;
}

/* ---- commands ---- */

static int add(struct ctl *ctl)
{
	KK_CLEANUP_JSON json_t *body = json_object();
	int r = ctl_service_add_body(ctl, body);

	if (r != CTL_DONE)
		return r;
	return change(ctl, json_incref(body), "POST", "/api/v1/services");
}

static int set(struct ctl *ctl)
{
	KK_CLEANUP_JSON json_t *body = json_object();
	char path[64];
	int r = ctl_service_set_body(ctl, body);

	if (r != CTL_DONE)
		return r;
	snprintf(path, sizeof(path), "/api/v1/services/%s", ctl->name);
	return change(ctl, json_incref(body), "PATCH", path);
}

static int list(struct ctl *ctl)
{
	return ctl_list(ctl, "/api/v1/services", list_columns, ARRAY_SIZE(list_columns),
			"There is no service yet.");
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
		ctl_print_object(answer, show_columns, ARRAY_SIZE(show_columns));
	return CTL_DONE;
}

static int rm(struct ctl *ctl)
{
	const char *drain = ctl->options.drain;
	KK_CLEANUP_JSON json_t *answer = NULL;
	char applied[256];
	int64_t seconds = 0;
	int r = drain ? ctl_duration("drain", drain, DRAIN_MAX_S, &seconds) : CTL_DONE;

	if (r == CTL_DONE)
		r = ctl_call(ctl, &answer, NULL, "DELETE",
			     "/api/v1/services/%s?wait=%lld&drain=%lld", ctl->name,
			     (long long)ctl->options.wait, (long long)seconds);
	if (r != CTL_DONE)
		return r;
	r = ctl_applied(ctl, answer, applied, sizeof(applied));
	if (ctl->options.json)
		ctl_print_json(answer);
	else if (seconds)
		printf("%s takes nothing new and is removed in %s, %s\n", ctl->name, drain,
		       applied);
	else
		printf("%s is removed, %s\n", ctl->name, applied);
	return r;
}

/* In both tables: what can be said of a service at any time. */
#define ADDRESS_OPTION                                                                             \
	CTL_OPTION("address", "A", KK_OPTION_STRING, address,                                      \
		   "publish on this address of a gateway only (default all: the first of each "    \
		   "family)")
#define POLICY_OPTIONS                                                                             \
	CTL_OPTION("access", "open|rules", KK_OPTION_STRING, access,                               \
		   "whether all may come in, or only whom rules and --allow let in (default "      \
		   "open)"),                                                                       \
		CTL_OPTION("allow", "PREFIX", KK_OPTION_LIST, allow,                               \
			   "let in these sources and no others; may be repeated, none: all"),      \
		CTL_OPTION("deny", "PREFIX", KK_OPTION_LIST, deny,                                 \
			   "shut out these sources; may be repeated, none: nobody"),               \
		CTL_OPTION("limit-packets", "N/s", KK_OPTION_STRING, limit_packets,                \
			   "packets a second of one source, or none"),                             \
		CTL_OPTION("limit-connections", "N/s", KK_OPTION_STRING, limit_connections,        \
			   "new connections a second of one source, or none")

static const struct kk_option add_options[] = {
	CTL_OPTION(
		"agent", "NAME", KK_OPTION_LIST, agents,
		"the Agent that reaches the target, or a plain peer that is it; repeated: they share the "
		"clients"),
	CTL_OPTION("tcp", "PORT", KK_OPTION_STRING, tcp, "TCP port or FIRST-LAST on every gateway"),
	CTL_OPTION("udp", "PORT", KK_OPTION_STRING, udp, "UDP port or FIRST-LAST on every gateway"),
	CTL_OPTION("target", "HOST:PORT", KK_OPTION_STRING, target,
		   "where the Agent finds it; a bare PORT is the Agent's own machine, FIRST-LAST "
		   "are as many ports"),
	CTL_OPTION("proxy-protocol", NULL, KK_OPTION_FLAG, proxy_protocol,
		   "send the PROXY protocol header (v2) to the target"),
	ADDRESS_OPTION,
	POLICY_OPTIONS,
};

static const struct kk_option set_options[] = {
	CTL_OPTION("port", "P", KK_OPTION_STRING, port,
		   "another port or FIRST-LAST on every gateway"),
	CTL_OPTION("agent", "NAME", KK_OPTION_LIST, agents, "other Agents; all are to be named"),
	CTL_OPTION("target", "HOST:PORT", KK_OPTION_STRING, target, "another target"),
	CTL_OPTION("proxy-protocol", "on|off", KK_OPTION_STRING, proxy_switch,
		   "switch the PROXY protocol header"),
	ADDRESS_OPTION,
	POLICY_OPTIONS,
};

static const struct kk_option rm_options[] = {
	CTL_OPTION("drain", "TIME", KK_OPTION_STRING, drain,
		   "let established connections finish for so long, as 60s or 5m"),
};

static const struct ctl_command commands[] = {
	{"add", "NAME", "publishes a service", CTL_OPTIONS(add_options), .run = add},
	{"set", "NAME", "changes a service", CTL_OPTIONS(set_options), .run = set},
	{"list", NULL, "lists the services", .run = list},
	{"show", "NAME", "shows one service", .run = show},
	{"rm", "NAME", "ends the publishing of a service", CTL_OPTIONS(rm_options), .run = rm},
};

const struct ctl_noun ctl_service = {
	"service",
	"what is published",
	commands,
	ARRAY_SIZE(commands),
};
