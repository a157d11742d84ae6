// SPDX-License-Identifier: MIT
/* kkctl datapath: what the gateway on this machine forwards, from its tables and not from its daemon. */
#include "ctl/ctl.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "bpf/datapath.h"
#include "ctl/api.h"
#include "ctl/print.h"
#include "util/cleanup.h"
#include "util/json.h"

#define PIN_DIR_DEFAULT "/sys/fs/bpf/kakuremichi/kk0"

static void datapath_closep(struct kk_datapath **dp)
{
	kk_datapath_close(*dp);
}

static int open_tables(const struct ctl *ctl, struct kk_datapath **ret)
{
	const char *pin_dir = ctl->options.pin_dir ? ctl->options.pin_dir : PIN_DIR_DEFAULT;
	struct kk_err err = {0};

	if (kk_datapath_open_readonly(pin_dir, ret, &err) < 0)
		return ctl_fail(CTL_REFUSED, "%s", err.msg);
	return CTL_DONE;
}

/* ---- show ---- */

static void format_port(const json_t *obj, char *text, size_t size)
{
	snprintf(text, size, "%lld/%s", json_integer_value(json_object_get(obj, "port")),
		 ctl_text(obj, "protocol"));
}

static void format_agent(const json_t *obj, char *text, size_t size)
{
	snprintf(text, size, "%s:%lld", ctl_text(obj, "agent_address"),
		 json_integer_value(json_object_get(obj, "agent_port")));
}

static const struct ctl_column listener_columns[] = {
	{"ADDRESS", "address", NULL},
	{"PORT", NULL, format_port},
	{"TO", NULL, format_agent},
	{"SERVICE ID", "service", NULL},
};

static json_t *listeners_json(const struct kk_listener *list, int n)
{
	json_t *items = json_array();

	for (int i = 0; i < n; i++) {
		char public[KK_ADDRESS_TEXT], agent[INET_ADDRSTRLEN];

		kk_address_text(&list[i].address, public);
		inet_ntop(AF_INET, &list[i].agent_address, agent, sizeof(agent));
		json_array_append_new(
			items,
			json_pack("{s:s, s:s, s:i, s:s, s:i, s:I}", "address", public, "protocol",
				  list[i].protocol == IPPROTO_TCP ? "tcp" : "udp", "port",
				  list[i].port, "agent_address", agent, "agent_port",
				  list[i].agent_port, "service", (json_int_t)list[i].service));
	}
	return items;
}

static int show(struct ctl *ctl)
{
	KK_CLEANUP(datapath_closep) struct kk_datapath *dp = NULL;
	KK_CLEANUP_FREE struct kk_listener *list = NULL;
	KK_CLEANUP_JSON json_t *answer = NULL;
	struct kk_err err = {0};
	int n, r = open_tables(ctl, &dp);

	if (r != CTL_DONE)
		return r;
	n = kk_datapath_list(dp, &list, &err);
	if (n < 0)
		return ctl_fail(CTL_REFUSED, "%s", err.msg);
	answer = json_pack("{s:o}", "listeners", listeners_json(list, n));
	if (ctl->options.json)
		ctl_print_json(answer);
	else
		ctl_print_list(json_object_get(answer, "listeners"), listener_columns,
			       ARRAY_SIZE(listener_columns), "Nothing is published here.");
	return CTL_DONE;
}

/* ---- stats ---- */

static void format_in(const json_t *obj, char *text, size_t size)
{
	ctl_format_bytes((uint64_t)json_integer_value(json_object_get(obj, "in_bytes")), text,
			 size);
}

static void format_out(const json_t *obj, char *text, size_t size)
{
	ctl_format_bytes((uint64_t)json_integer_value(json_object_get(obj, "out_bytes")), text,
			 size);
}

static void format_bytes(const json_t *obj, char *text, size_t size)
{
	ctl_format_bytes((uint64_t)json_integer_value(json_object_get(obj, "bytes")), text, size);
}

static const struct ctl_column service_columns[] = {
	{"SERVICE ID", "service", NULL}, {"PACKETS IN", "in_packets", NULL},
	{"BYTES IN", NULL, format_in},	 {"PACKETS OUT", "out_packets", NULL},
	{"BYTES OUT", NULL, format_out},
};

static const struct ctl_column counter_columns[] = {
	{"VERDICT", "verdict", NULL},
	{"REASON", "reason", NULL},
	{"PACKETS", "packets", NULL},
	{"BYTES", NULL, format_bytes},
};

static int read_counters(struct kk_datapath *dp, json_t *items, struct kk_err *err)
{
	KK_CLEANUP_FREE struct kk_datapath_counter *list = NULL;
	int n = kk_datapath_counters(dp, &list, err);

	for (int i = 0; i < n; i++)
		json_array_append_new(items, json_pack("{s:s, s:s, s:I, s:I}", "verdict",
						       list[i].verdict, "reason", list[i].name,
						       "packets", (json_int_t)list[i].packets,
						       "bytes", (json_int_t)list[i].bytes));
	return n;
}

static int read_services(struct kk_datapath *dp, json_t *items, struct kk_err *err)
{
	KK_CLEANUP_FREE struct kk_datapath_service *list = NULL;
	int n = kk_datapath_services(dp, &list, err);

	for (int i = 0; i < n; i++)
		json_array_append_new(items, json_pack("{s:I, s:I, s:I, s:I, s:I}", "service",
						       (json_int_t)list[i].service, "in_packets",
						       (json_int_t)list[i].in_packets, "in_bytes",
						       (json_int_t)list[i].in_bytes, "out_packets",
						       (json_int_t)list[i].out_packets, "out_bytes",
						       (json_int_t)list[i].out_bytes));
	return n;
}

/* Of the many reasons a person wants those that happened. */
static json_t *without_zeros(const json_t *counters)
{
	json_t *some = json_array(), *counter;
	size_t i;

	json_array_foreach((json_t *)counters, i, counter)
		if (json_integer_value(json_object_get(counter, "packets")))
			json_array_append(some, counter);
	return some;
}

static int stats(struct ctl *ctl)
{
	KK_CLEANUP(datapath_closep) struct kk_datapath *dp = NULL;
	KK_CLEANUP_JSON json_t *counters = json_array(), *services = json_array();
	KK_CLEANUP_JSON json_t *answer = NULL, *some = NULL;
	struct kk_err err = {0};
	int r = open_tables(ctl, &dp);

	if (r != CTL_DONE)
		return r;
	if (read_counters(dp, counters, &err) < 0 || read_services(dp, services, &err) < 0)
		return ctl_fail(CTL_REFUSED, "%s", err.msg);
	if (ctl->options.json) {
		answer = json_pack("{s:O, s:O}", "counters", counters, "services", services);
		ctl_print_json(answer);
		return CTL_DONE;
	}
	some = without_zeros(counters);
	ctl_print_list(services, service_columns, ARRAY_SIZE(service_columns),
		       "Nothing is published here.");
	putchar('\n');
	ctl_print_list(some, counter_columns, ARRAY_SIZE(counter_columns),
		       "No packet has come yet.");
	return CTL_DONE;
}

static const struct kk_option options[] = {
	CTL_OPTION("pin-dir", "DIR", KK_OPTION_STRING, pin_dir,
		   "where the gateway pins its tables (default " PIN_DIR_DEFAULT ")"),
};

static const struct ctl_command commands[] = {
	{"show", NULL, "on a gateway's machine: the ports in its tables", CTL_OPTIONS(options),
	 .run = show},
	{"stats", NULL, "on a gateway's machine: traffic and what was dropped, and why",
	 CTL_OPTIONS(options), .run = stats},
};

const struct ctl_noun ctl_datapath = {
	"datapath",
	"the forwarding on this machine",
	commands,
	ARRAY_SIZE(commands),
};
