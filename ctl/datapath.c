// SPDX-License-Identifier: MIT
/* kkctl datapath: what the gateway on this machine forwards, from its tables and not from its daemon. */
#include "ctl/datapath.h"

#include <stdio.h>
#include <string.h>

#include "ctl/api.h"
#include "ctl/print.h"
#include "util/cleanup.h"
#include "util/json.h"

void ctl_datapath_closep(struct kk_plane **plane)
{
	kk_plane_close(*plane);
}

int ctl_datapath_open(const struct ctl *ctl, struct kk_plane **ret)
{
	const char *pin_dir = ctl->options.pin_dir ? ctl->options.pin_dir : PIN_DIR_DEFAULT;
	struct kk_err err = {0};

	if (kk_plane_open_readonly(pin_dir, ret, &err) < 0)
		return ctl_fail(CTL_REFUSED, "%s", err.msg);
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

static int read_counters(struct kk_plane *plane, json_t *items, struct kk_err *err)
{
	KK_CLEANUP_FREE struct kk_datapath_counter *list = NULL;
	int n = kk_plane_counters(plane, &list, err);

	for (int i = 0; i < n; i++)
		json_array_append_new(items, json_pack("{s:s, s:s, s:I, s:I}", "verdict",
						       list[i].verdict, "reason", list[i].name,
						       "packets", (json_int_t)list[i].packets,
						       "bytes", (json_int_t)list[i].bytes));
	return n;
}

static int read_services(struct kk_plane *plane, json_t *items, struct kk_err *err)
{
	KK_CLEANUP_FREE struct kk_datapath_service *list = NULL;
	int n = kk_plane_services(plane, &list, err);

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
	KK_CLEANUP(ctl_datapath_closep) struct kk_plane *plane = NULL;
	KK_CLEANUP_JSON json_t *counters = json_array(), *services = json_array();
	KK_CLEANUP_JSON json_t *answer = NULL, *some = NULL;
	struct kk_err err = {0};
	int r = ctl_datapath_open(ctl, &plane);

	if (r != CTL_DONE)
		return r;
	if (read_counters(plane, counters, &err) < 0 || read_services(plane, services, &err) < 0)
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

#define PIN_DIR_OPTION                                                                             \
	CTL_OPTION("pin-dir", "DIR", KK_OPTION_STRING, pin_dir,                                    \
		   "where the gateway pins its tables (default " PIN_DIR_DEFAULT ")")

static const struct kk_option options[] = {PIN_DIR_OPTION};

static const struct kk_option trace_options[] = {
	PIN_DIR_OPTION,
	CTL_OPTION("flags", "FLAGS", KK_OPTION_STRING, tcp_flags,
		   "of a TCP segment, letters of FSRPAU (default S: a connection begins)"),
	CTL_OPTION("size", "BYTES", KK_OPTION_INT, size, "of the payload (default 0)", .min = 0,
		   .max = KK_TRACE_PAYLOAD_MAX),
};

static const struct ctl_command commands[] = {
	{.verb = "show",
	 .help = "on a gateway's machine: the ports in its tables, and who may reach them",
	 CTL_OPTIONS(options),
	 .run = ctl_datapath_show},
	{.verb = "stats",
	 .help = "on a gateway's machine: traffic and what was dropped, and why",
	 CTL_OPTIONS(options),
	 .run = stats},
	{.verb = "trace",
	 .argument = "PROTOCOL SOURCE DESTINATION",
	 .n_arguments = 3,
	 .help = "on a gateway's machine: what becomes of such a packet, or of \"packet FROM HEX\", step by step",
	 CTL_OPTIONS(trace_options),
	 .run = ctl_datapath_trace},
};

const struct ctl_noun ctl_datapath = {
	"datapath",
	"the forwarding on this machine",
	commands,
	ARRAY_SIZE(commands),
};
