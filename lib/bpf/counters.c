// SPDX-License-Identifier: MIT
/* Counters of the data plane, summed over CPUs. */
#include "bpf/tables.h"

#include <errno.h>
#include <sched.h>
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

/* False: a word was being moved to the totals meanwhile. */
static bool try_read(const struct kk_tables *tables, enum kk_direction direction, uint32_t slot,
		     struct kk_counter *ret)
{
	struct kk_counter *total = &tables->totals[kk_total_index(direction, slot)];
	__u64 moved = __atomic_load_n(&total->packets, __ATOMIC_SEQ_CST);

	*ret = (struct kk_counter){moved, __atomic_load_n(&total->bytes, __ATOMIC_SEQ_CST)};
	for (uint32_t cpu = 0; cpu < tables->n_traffic; cpu++) {
		__u64 word = __atomic_load_n(
			&tables->traffic[kk_traffic_index(cpu, direction, slot)], __ATOMIC_SEQ_CST);

		if (word == KK_TRAFFIC_MOVING)
			return false;
		ret->packets += kk_traffic_packets(word);
		ret->bytes += kk_traffic_bytes(word);
	}
	return __atomic_load_n(&total->packets, __ATOMIC_SEQ_CST) == moved;
}

#define TRIES 1000 /* a CPU that moves a word is done within nanoseconds */

static struct kk_traffic read_traffic(const struct kk_tables *tables, uint32_t slot)
{
	struct kk_traffic sum;

	for (int d = KK_INBOUND; d <= KK_OUTBOUND; d++)
		for (int i = 0; !try_read(tables, d, slot, &sum.direction[d]) && i < TRIES; i++)
			sched_yield();
	return sum;
}

int kk_tables_services(const struct kk_tables *tables, struct kk_datapath_service **ret,
		       struct kk_err *err)
{
	KK_CLEANUP_FREE struct kk_datapath_service *list = NULL;
	size_t n = 0;

	for (uint32_t slot = 1; slot < KK_SERVICES_MAX; slot++)
		n += tables->services[slot].state == KK_SLOT_USED;
	list = calloc(n ? n : 1, sizeof(*list));
	if (!list)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	n = 0;
	for (uint32_t slot = 1; slot < KK_SERVICES_MAX; slot++) {
		struct kk_traffic sum;

		if (tables->services[slot].state != KK_SLOT_USED)
			continue;
		sum = read_traffic(tables, slot);
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
