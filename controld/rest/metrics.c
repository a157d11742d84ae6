// SPDX-License-Identifier: MIT
/* /metrics in Prometheus' text format, and /healthz. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "controld/rest/call.h"

#define TEXT_TYPE "text/plain; version=0.0.4; charset=utf-8"

static void metric(FILE *f, const char *name, const char *type, const char *help)
{
	fprintf(f, "# HELP kakuremichi_control_%s %s\n# TYPE kakuremichi_control_%s %s\n", name,
		help, name, type);
}

static void number(FILE *f, const char *name, const char *type, const char *help, uint64_t value)
{
	metric(f, name, type, help);
	fprintf(f, "kakuremichi_control_%s %llu\n", name, (unsigned long long)value);
}

/* Pages that are in memory, from /proc/self/statm. */
static uint64_t resident_bytes(void)
{
	unsigned long long size, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f) {
		if (fscanf(f, "%llu %llu", &size, &resident) != 2)
			resident = 0;
		fclose(f);
	}
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void write_metrics(FILE *f, struct kk_control *control, const struct kk_store_counts *counts)
{
	struct kk_push_counts push;

	kk_push_count(control->push, &push);
	metric(f, "info", "gauge", "Version of kkcontrold.");
	fprintf(f, "kakuremichi_control_info{version=\"%s\"} 1\n", KK_VERSION);
	number(f, "generation", "gauge", "Generation of the configuration.",
	       (uint64_t)kk_store_generation(control->store));
	metric(f, "nodes", "gauge", "Nodes that exist.");
	fprintf(f, "kakuremichi_control_nodes{role=\"gateway\"} %lld\n",
		(long long)counts->gateways);
	fprintf(f, "kakuremichi_control_nodes{role=\"agent\"} %lld\n", (long long)counts->agents);
	metric(f, "nodes_connected", "gauge", "Nodes that are connected.");
	fprintf(f, "kakuremichi_control_nodes_connected{role=\"gateway\"} %zu\n",
		push.connected[KK_GATEWAY]);
	fprintf(f, "kakuremichi_control_nodes_connected{role=\"agent\"} %zu\n",
		push.connected[KK_AGENT]);
	number(f, "services", "gauge", "Services that exist.", (uint64_t)counts->services);
	number(f, "organisations", "gauge", "Organisations that exist.",
	       (uint64_t)counts->organisations);
	number(f, "requests_total", "counter", "HTTP requests.", control->requests);
	number(f, "messages_sent_total", "counter", "Snapshots and deltas sent to nodes.",
	       push.messages);
	number(f, "snapshots_sent_total", "counter", "Snapshots among them.", push.snapshots);
	number(f, "message_bytes_sent_total", "counter", "Bytes of text in them.", push.bytes);
	number(f, "resident_bytes", "gauge", "Memory in use.", resident_bytes());
}

int kk_metrics_show(struct kk_call *call)
{
	struct kk_store_counts counts;
	char *text = NULL;
	size_t len = 0;
	FILE *f;
	int r = kk_store_count(call->control->store, &counts, &call->err);

	if (r < 0)
		return r;
	f = open_memstream(&text, &len);
	if (!f)
		return kk_err_set(&call->err, ENOMEM, NULL, "out of memory");
	write_metrics(f, call->control, &counts);
	if (fclose(f) != 0) {
		free(text);
		return kk_err_set(&call->err, ENOMEM, NULL, "out of memory");
	}
	r = kk_call_raw(call, TEXT_TYPE, text, len);
	free(text);
	return r;
}

/* Well is who can still read what he knows. */
int kk_health_show(struct kk_call *call)
{
	struct kk_store_counts counts;
	int r = kk_store_count(call->control->store, &counts, &call->err);

	return r < 0 ? r : kk_call_answer(call, 200, json_pack("{s:s}", "status", "ok"));
}
