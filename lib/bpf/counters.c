// SPDX-License-Identifier: MIT
/* Counters of the data plane, summed over CPUs. */
#include "bpf/tables.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/bpf.h>

#include "core/names.h"
#include "util/cleanup.h"

static void add(struct kk_counter *sum, const struct kk_counter *counter)
{
	sum->packets += counter->packets;
	sum->bytes += counter->bytes;
}

static int lookup(int fd, uint32_t index, void *values, struct kk_err *err)
{
	if (bpf_map_lookup_elem(fd, &index, values) < 0)
		return kk_err_set(err, errno, NULL, "cannot read counter %u: %s", index,
				  strerror(errno));
	return 0;
}

int kk_tables_counters(const struct kk_tables *tables, struct kk_datapath_counter **ret,
		       struct kk_err *err)
{
	KK_CLEANUP_FREE struct kk_counter *values = calloc((size_t)tables->n_cpus, sizeof(*values));
	KK_CLEANUP_FREE struct kk_datapath_counter *list = calloc(KK_REASON_MAX, sizeof(*list));

	if (!values || !list)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	for (uint32_t i = 0; i < KK_REASON_MAX; i++) {
		struct kk_counter sum = {0};
		int r = lookup(tables->counters_fd, i, values, err);

		if (r < 0)
			return r;
		for (int cpu = 0; cpu < tables->n_cpus; cpu++)
			add(&sum, &values[cpu]);
		list[i] = (struct kk_datapath_counter){
			.name = kk_reason_name(i),
			.verdict = kk_verdict_name(kk_verdict(i)),
			.packets = sum.packets,
			.bytes = sum.bytes,
		};
	}
	*ret = KK_STEAL(list);
	return KK_REASON_MAX;
}

static int read_traffic(const struct kk_tables *tables, uint32_t slot, struct kk_traffic *values,
			struct kk_traffic *sum, struct kk_err *err)
{
	int r = lookup(tables->traffic_fd, slot, values, err);

	for (int cpu = 0; cpu < tables->n_cpus && r == 0; cpu++) {
		add(&sum->direction[KK_INBOUND], &values[cpu].direction[KK_INBOUND]);
		add(&sum->direction[KK_OUTBOUND], &values[cpu].direction[KK_OUTBOUND]);
	}
	return r;
}

int kk_tables_services(const struct kk_tables *tables, struct kk_datapath_service **ret,
		       struct kk_err *err)
{
	KK_CLEANUP_FREE struct kk_traffic *values = calloc((size_t)tables->n_cpus, sizeof(*values));
	KK_CLEANUP_FREE struct kk_datapath_service *list = NULL;
	size_t n = 0;

	for (uint32_t slot = 1; slot < KK_SERVICES_MAX; slot++)
		n += tables->services[slot].state == KK_SLOT_USED;
	list = calloc(n ? n : 1, sizeof(*list));
	if (!values || !list)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	n = 0;
	for (uint32_t slot = 1; slot < KK_SERVICES_MAX; slot++) {
		struct kk_traffic sum = {0};
		int r;

		if (tables->services[slot].state != KK_SLOT_USED)
			continue;
		r = read_traffic(tables, slot, values, &sum, err);
		if (r < 0)
			return r;
		list[n++] = (struct kk_datapath_service){
			.service = tables->services[slot].id,
			.in_packets = sum.direction[KK_INBOUND].packets,
			.in_bytes = sum.direction[KK_INBOUND].bytes,
			.out_packets = sum.direction[KK_OUTBOUND].packets,
			.out_bytes = sum.direction[KK_OUTBOUND].bytes,
		};
	}
	*ret = KK_STEAL(list);
	return (int)n;
}
