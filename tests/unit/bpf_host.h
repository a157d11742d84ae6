/* SPDX-License-Identifier: MIT */
/* A program as a host of the core under BPF_PROG_TEST_RUN: its tables filled as a world says, and the reason that it counted. */
#ifndef KK_TEST_BPF_HOST_H
#define KK_TEST_BPF_HOST_H

#include "packet_cases.h"

#include <errno.h>
#include <sched.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/tables.h"
#include "net/net.h"

#define SLOTS 4 /* two addresses of each family */

struct bpf_host {
	const char *name;
	struct bpf_object *obj;
	struct kk_tables tables;
	struct kk_counter *per_cpu;
	struct kk_counter before[KK_REASON_MAX];
};

/* Of what is loaded into @host->obj. */
static inline void fill(struct bpf_host *host, struct packet_world *world)
{
	const struct kk_datapath_tables wanted = tables_of(world);
	struct kk_err err = {0};

	host->tables = (struct kk_tables){0};
	assert_int_equal(kk_tables_init(&host->tables, host->obj, &err), 0);
	host->tables.settings = world->settings;
	if (kk_tables_set(&host->tables, &wanted, &err) < 0)
		fail_msg("%s", err.msg);
	host->per_cpu = calloc((size_t)host->tables.n_cpus * KK_REASON_MAX, sizeof(*host->per_cpu));
	assert_non_null(host->per_cpu);
	memset(host->before, 0, sizeof(host->before));
}

static inline void host_clean(struct bpf_host *host)
{
	free(host->per_cpu);
	kk_tables_clean(&host->tables);
}

static inline void read_counters(struct bpf_host *host, struct kk_counter counters[KK_REASON_MAX])
{
	__u32 keys[KK_REASON_MAX], n = KK_REASON_MAX, token;

	if (bpf_map_lookup_batch(host->tables.counters_fd, NULL, &token, keys, host->per_cpu, &n,
				 NULL) < 0)
		assert_int_equal(errno, ENOENT);
	assert_int_equal(n, KK_REASON_MAX);
	memset(counters, 0, KK_REASON_MAX * sizeof(*counters));
	for (__u32 i = 0; i < n; i++)
		for (int cpu = 0; cpu < host->tables.n_cpus; cpu++) {
			const struct kk_counter *c =
				&host->per_cpu[i * (__u32)host->tables.n_cpus + (__u32)cpu];

			counters[keys[i]].packets += c->packets;
			counters[keys[i]].bytes += c->bytes;
		}
}

/* The counters as they are now, and the reason that has been counted since @host->before; KK_REASON_MAX: none. */
static inline enum kk_reason read_reason(struct bpf_host *host,
					 struct kk_counter after[KK_REASON_MAX])
{
	enum kk_reason reason = KK_REASON_MAX;

	read_counters(host, after);
	for (int i = 0; i < KK_REASON_MAX; i++)
		if (after[i].packets != host->before[i].packets)
			reason = i;
	return reason;
}

/* Set-up of a group of tests: a namespace of its own, whose lo is the device of the test runs. */
static inline int own_namespace(void **state)
{
	struct kk_err err = {0};

	(void)state;
	if (unshare(CLONE_NEWNET) < 0)
		return -1;
	return kk_net_link_set("lo", true, 0, &err);
}

#endif
