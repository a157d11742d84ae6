// SPDX-License-Identifier: MIT
/* kkctl status: the whole system on one screen, from what Control knows and the nodes report. */
#include "ctl/ctl.h"

#include <stdio.h>
#include <string.h>

#include "ctl/api.h"
#include "ctl/node.h"
#include "ctl/print.h"
#include "ctl/resource.h"
#include "util/cleanup.h"
#include "util/json.h"

static const json_t *report_of(const json_t *node, const char *part)
{
	return json_object_get(json_object_get(node, "report"), part);
}

static void format_dataplane(const json_t *node, char *text, size_t size)
{
	const json_t *dataplane = report_of(node, "dataplane");
	const char *kind = ctl_text(dataplane, "kind"), *xdp = ctl_text(dataplane, "xdp");
	bool has_xdp = *xdp && strcmp(xdp, "off") != 0;

	snprintf(text, size, "%s%s%s", *kind ? kind : "-", has_xdp ? ", xdp " : "",
		 has_xdp ? xdp : "");
}

static void format_tunnel(const json_t *node, char *text, size_t size)
{
	const json_t *tunnel = report_of(node, "tunnel");
	const char *kind = ctl_text(tunnel, "kind");
	const char *interface = ctl_text(tunnel, "interface");

	snprintf(text, size, "%s%s%s", *kind ? kind : "-", *interface ? " " : "", interface);
}

static const struct ctl_column gateway_columns[] = {
	{"GATEWAY", "name", NULL},
	{"ADDRESS", "address", NULL},
	{"CONNECTED", NULL, ctl_format_connected},
	{"GENERATION", "acked_generation", NULL},
	{"DATA PLANE", NULL, format_dataplane},
	{"TUNNEL", NULL, format_tunnel},
};

static const struct ctl_column agent_columns[] = {
	{"AGENT", "name", NULL},
	{"SUBNET", "subnet", NULL},
	{"CONNECTED", NULL, ctl_format_connected},
	{"GENERATION", "acked_generation", NULL},
	{"TUNNEL", NULL, format_tunnel},
};

static void format_handshake(const json_t *peer, char *text, size_t size)
{
	ctl_format_ago(json_integer_value(json_object_get(peer, "last_handshake")), text, size);
}

static void format_rx(const json_t *peer, char *text, size_t size)
{
	ctl_format_bytes((uint64_t)json_integer_value(json_object_get(peer, "rx_bytes")), text,
			 size);
}

static void format_tx(const json_t *peer, char *text, size_t size)
{
	ctl_format_bytes((uint64_t)json_integer_value(json_object_get(peer, "tx_bytes")), text,
			 size);
}

static const struct ctl_column peer_columns[] = {
	{"TUNNEL OF", "of", NULL},
	{"TO", "to", NULL},
	{"HANDSHAKE", NULL, format_handshake},
	{"RECEIVED", NULL, format_rx},
	{"SENT", NULL, format_tx},
	{"ENDPOINT", "endpoint", NULL},
};

/* The name of the object with @id in @items; the id where it is gone. */
static json_t *name_of(const json_t *items, json_int_t id)
{
	const json_t *obj;
	size_t i;

	json_array_foreach((json_t *)items, i, obj)
		if (json_integer_value(json_object_get(obj, "id")) == id)
			return json_string(ctl_text(obj, "name"));
	return json_sprintf("#%lld", id);
}

/* Appends to @peers what @nodes report of theirs, which are @others and named by @key. */
static void add_peers(json_t *peers, const json_t *nodes, const json_t *others, const char *key)
{
	const json_t *node, *peer;
	size_t i, j;

	json_array_foreach((json_t *)nodes, i, node) {
		json_array_foreach((json_t *)report_of(node, "peers"), j, peer) {
			json_t *row = json_is_object(peer) ? json_copy((json_t *)peer) : NULL;

			if (!row)
				continue;
			json_object_set_new(row, "of", json_string(ctl_text(node, "name")));
			json_object_set_new(
				row, "to",
				name_of(others, json_integer_value(json_object_get(row, key))));
			json_array_append_new(peers, row);
		}
	}
}

/* Adds "NODE: @what @which: @text" to the remarks, unless there is nothing to say. */
static void add_remark(json_t *remarks, const json_t *node, const char *what, const char *which,
		       const char *text)
{
	if (*text)
		json_array_append_new(remarks, json_sprintf("%s: %s %s: %s", ctl_text(node, "name"),
							    what, which, text));
}

/* Agents that a gateway hears nothing of, and so passes by where others serve the same. */
static void add_silent(json_t *remarks, const json_t *gateway)
{
	const json_t *agent;
	size_t i;

	json_array_foreach((json_t *)report_of(gateway, "silent_agents"), i, agent) {
		const char *name = json_string_value(agent);

		add_remark(remarks, gateway, "agent", name ? name : "?",
			   "does not answer and gets no connections of services that it shares");
	}
}

/* Agents whose target is down, where others serve the same. */
static void add_refusing(json_t *remarks, const json_t *gateway)
{
	const json_t *one;
	size_t i;

	json_array_foreach((json_t *)report_of(gateway, "refusing"), i, one) {
		char which[96];

		snprintf(which, sizeof(which), "%.32s of service %.32s", ctl_text(one, "agent"),
			 ctl_text(one, "service"));
		add_remark(
			remarks, gateway, "agent", which,
			"refuses connections or datagrams, its target is down, and gets no more of them");
	}
}

/* Why a data plane or tunnel is what it is, and what an Agent could not serve. */
static void add_remarks(json_t *remarks, const json_t *nodes, const json_t *services)
{
	const json_t *node, *service;
	size_t i, j;

	json_array_foreach((json_t *)nodes, i, node) {
		const json_t *dataplane = report_of(node, "dataplane");
		const json_t *tunnel = report_of(node, "tunnel");

		add_remark(remarks, node, "data plane", ctl_text(dataplane, "kind"),
			   ctl_text(dataplane, "reason"));
		add_remark(remarks, node, "xdp", ctl_text(dataplane, "xdp"),
			   ctl_text(dataplane, "xdp_reason"));
		add_remark(remarks, node, "tunnel", ctl_text(tunnel, "kind"),
			   ctl_text(tunnel, "reason"));
		add_silent(remarks, node);
		add_refusing(remarks, node);
		json_array_foreach((json_t *)report_of(node, "services"), j, service) {
			KK_CLEANUP_JSON json_t *name = NULL;

			if (strcmp(ctl_text(service, "state"), "failed") != 0)
				continue;
			name = name_of(services,
				       json_integer_value(json_object_get(service, "id")));
			add_remark(remarks, node, "failed service", json_string_value(name),
				   ctl_text(service, "message"));
		}
	}
}

static void print_remarks(const json_t *remarks)
{
	const json_t *remark;
	size_t i;

	if (json_array_size(remarks))
		putchar('\n');
	json_array_foreach((json_t *)remarks, i, remark) {
		ctl_print_text(json_string_value(remark));
		putchar('\n');
	}
}

static size_t count_connected(const json_t *nodes)
{
	const json_t *node;
	size_t i, n = 0;

	json_array_foreach((json_t *)nodes, i, node)
		n += json_is_true(json_object_get(node, "connected"));
	return n;
}

/* Agents and plain peers: a gateway's tunnels lead to both. */
static json_t *all_behind(const json_t *status)
{
	json_t *all = json_array();

	json_array_extend(all, json_object_get(status, "agents"));
	json_array_extend(all, json_object_get(status, "peers"));
	return all;
}

/* ", 2 bans" unless there is none. */
static void print_count(const json_t *items, const char *what)
{
	size_t n = json_array_size(items);

	if (n)
		printf(", %zu %s%s", n, what,
		       n == 1			       ? ""
		       : what[strlen(what) - 1] == 'x' ? "es"
						       : "s");
}

static void print_status(const struct ctl *ctl, const json_t *status, const json_t *others)
{
	const json_t *services = json_object_get(others, "services");
	const json_t *gateways = json_object_get(status, "gateways");
	const json_t *agents = json_object_get(status, "agents");
	KK_CLEANUP_JSON json_t *peers = json_array(), *remarks = json_array();
	KK_CLEANUP_JSON json_t *behind = all_behind(status);
	size_t n_plain = json_array_size(json_object_get(status, "peers"));
	json_int_t n = json_integer_value(json_object_get(status, "services"));

	printf("Control %s at %s, generation %lld, %lld service%s", ctl_text(status, "version"),
	       ctl->server.url, json_integer_value(json_object_get(status, "generation")), n,
	       n == 1 ? "" : "s");
	print_count(json_object_get(others, "bans"), "ban");
	print_count(json_object_get(others, "denials"), "denied prefix");
	printf("\ngateways %zu/%zu connected, agents %zu/%zu connected", count_connected(gateways),
	       json_array_size(gateways), count_connected(agents), json_array_size(agents));
	if (n_plain)
		printf(", %zu plain peer%s", n_plain, n_plain == 1 ? "" : "s");
	fputs("\n\n", stdout);
	ctl_print_list(gateways, gateway_columns, ARRAY_SIZE(gateway_columns),
		       "There is no gateway yet: kkctl gateway add");
	putchar('\n');
	ctl_print_list(agents, agent_columns, ARRAY_SIZE(agent_columns),
		       "There is no agent yet: kkctl agent add");
	add_peers(peers, gateways, behind, "agent");
	add_peers(peers, agents, gateways, "gateway");
	if (json_array_size(peers)) {
		putchar('\n');
		ctl_print_list(peers, peer_columns, ARRAY_SIZE(peer_columns), "");
	}
	add_remarks(remarks, gateways, services);
	add_remarks(remarks, agents, services);
	print_remarks(remarks);
}

/* Puts the items of a collection, page by page, into @obj. */
static int read_into(struct ctl *ctl, json_t *obj, const char *key, const char *collection)
{
	KK_CLEANUP_JSON json_t *all = NULL;
	int r = ctl_read_all(ctl, collection, &all);

	if (r == CTL_DONE)
		json_object_set(obj, key, json_object_get(all, "items"));
	return r;
}

static int run(struct ctl *ctl)
{
	KK_CLEANUP_JSON json_t *status = NULL, *others = json_object();
	int r = ctl_call(ctl, &status, NULL, "GET", "/api/v1/status");

	/* In place of how many there are. */
	if (r == CTL_DONE)
		r = read_into(ctl, status, "gateways", "status/gateways");
	if (r == CTL_DONE)
		r = read_into(ctl, status, "agents", "status/agents");
	if (r == CTL_DONE)
		r = read_into(ctl, status, "peers", "peers");
	if (r != CTL_DONE || ctl_printed_json(ctl, status))
		return r;
	r = read_into(ctl, others, "services", "services");
	if (r == CTL_DONE)
		r = read_into(ctl, others, "bans", "bans");
	if (r == CTL_DONE)
		r = read_into(ctl, others, "denials", "denials");
	if (r == CTL_DONE)
		print_status(ctl, status, others);
	return r;
}

static const struct ctl_command commands[] = {
	{NULL, NULL, "shows Control, the nodes and their tunnels", .run = run},
};

const struct ctl_noun ctl_status = {
	"status",
	"the system at a glance",
	commands,
	ARRAY_SIZE(commands),
};
