// SPDX-License-Identifier: MIT
/*
 * The loader: how long 10,000 services take into empty tables, and a change of one of them; what memory a listener takes; and
 * whether packets are lost while 10,000 services come and go. Needs root; attaches nothing.
 *
 * `load' is the harder case, every Agent port another than the public one, so that each listener has an
 * origin; `load, same port' is what Control gives by itself. Memory is what the kernel says the tables
 * take (memlock in /proc/self/fdinfo) that are sized or filled by listeners, with 100,000 of them.
 *
 * Churn: one thread replaces 10,000 services by 10,000 others over and over; the other sends packets to and from
 * services that stay, a plain one, one with an origin and one of a group, through the programs under
 * BPF_PROG_TEST_RUN. Lost is what was not forwarded.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include "bpf/amend.h"
#include "bpf/tables.h"
#include "kk_tc.skel.h"
#include "util/cleanup.h"

#define ADDRESS	  0xc6336401 /* 198.51.100.1 */
#define CLIENT	  0xcb007107 /* 203.0.113.7 */
#define AGENT(i)  (0x0a000064u | ((i) % 254 + 1) << 16 | ((i) / 254 % 256) << 8)
#define SERVICES  10000
#define LISTENERS 100000
#define ROUNDS	  20
#define TURNS	  40 /* of churn */

static struct kk_tc *skel;
static struct kk_tables tables;

static void die(const char *what, int error)
{
	fprintf(stderr, "bench_tables: %s: %s\n", what, strerror(error));
	exit(1);
}

static double milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void open_tables(void)
{
	struct kk_err err = {0};
	struct kk_settings settings = {.address4 = {htonl(ADDRESS)},
				       .pool = htonl(0x0a000000),
				       .pool_mask = htonl(0xff000000),
				       .host = htonl(1),
				       .mtu = 1420};

	skel = kk_tc__open();
	if (!skel)
		die("the programs", errno);
	skel->rodata->kk_settings = settings;
	skel->rodata->kk_public_ifindex = skel->rodata->kk_tunnel_ifindex = 1;
	if (kk_tables_size(skel->obj, 1, &err) < 0)
		die(err.msg, err.code);
	if (kk_tc__load(skel) < 0)
		die("loading the programs", errno);
	if (kk_tables_init(&tables, skel->obj, &err) < 0)
		die(err.msg, err.code);
	tables.settings = settings;
}

static void set(const struct kk_datapath_tables *wanted)
{
	struct kk_err err = {0};

	if (kk_tables_set(&tables, wanted, &err) < 0)
		die(err.msg, err.code);
}

/* Listener number @i; the Agent's port is @shift further. */
static struct kk_listener listener(uint32_t i, uint32_t first_port, uint32_t shift,
				   uint32_t service)
{
	uint32_t port = first_port + i % 60000;

	return (struct kk_listener){
		.protocol = i < 60000 ? IPPROTO_TCP : IPPROTO_UDP,
		.address = {.family = AF_INET, .v4.s_addr = htonl(ADDRESS)},
		.port = (uint16_t)port,
		.agent_address.s_addr = htonl(AGENT(i)),
		.agent_port = (uint16_t)(port + shift),
		.service = service + i,
	};
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Median of loading into empty tables. */
static double load(uint32_t shift, double *ret_min, double *ret_max)
{
	KK_CLEANUP_FREE struct kk_listener *list = calloc(SERVICES, sizeof(*list));
	const struct kk_datapath_tables some = {.listeners = list, .n_listeners = SERVICES},
					none = {0};
	double times[ROUNDS];

	if (!list)
		die("memory", ENOMEM);
	for (int round = 0; round < ROUNDS; round++) {
		for (uint32_t i = 0; i < SERVICES; i++)
			list[i] = listener(i, 1000, shift, 1 + (uint32_t)round * SERVICES);
		set(&none);
		times[round] = milliseconds();
		set(&some);
		times[round] = milliseconds() - times[round];
	}
	qsort(times, ROUNDS, sizeof(*times), compare);
	*ret_min = times[0];
	*ret_max = times[ROUNDS - 1];
	set(&none);
	return times[ROUNDS / 2];
}

static void amend(const struct kk_datapath_tables *from, const struct kk_datapath_tables *to)
{
	struct kk_err err = {0};

	if (kk_tables_amend(&tables, from, to, &err) < 0)
		die(err.msg, err.code);
}

/* Median of giving one of @n listeners another Agent: by itself, or by the whole configuration. */
static double change_one(uint32_t n, bool whole, double *ret_max)
{
	KK_CLEANUP_FREE struct kk_listener *list = calloc(n, sizeof(*list));
	const struct kk_datapath_tables all = {.listeners = list, .n_listeners = n}, none = {0};
	double times[ROUNDS];

	if (!list)
		die("memory", ENOMEM);
	for (uint32_t i = 0; i < n; i++)
		list[i] = listener(i, 1000, 1, 1);
	set(&all);
	amend(&none, &none); /* counts what there is, once */
	for (uint32_t round = 0; round < ROUNDS; round++) {
		const struct kk_listener before = list[n / 2];
		const struct kk_datapath_tables from = {.listeners = &before, .n_listeners = 1},
						to = {.listeners = &list[n / 2], .n_listeners = 1};

		list[n / 2].agent_address.s_addr = htonl(AGENT(n + round));
		times[round] = milliseconds();
		if (whole)
			set(&all);
		else
			amend(&from, &to);
		times[round] = milliseconds() - times[round];
	}
	qsort(times, ROUNDS, sizeof(*times), compare);
	set(&none);
	*ret_max = times[ROUNDS - 1];
	return times[ROUNDS / 2];
}

static unsigned long long memory_of(int fd)
{
	unsigned long long bytes = 0;
	char path[64], line[128];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	if (!f)
		die(path, errno);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "memlock: %llu", &bytes) == 1)
			break;
	fclose(f);
	return bytes;
}

static bool is_of_listeners(const char *name)
{
	static const char *const names[] = {"kk_listeners", "kk_origins", "kk_services",
					    "kk_traffic", "kk_totals"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

static void measure_memory(void)
{
	KK_CLEANUP_FREE struct kk_listener *list = calloc(LISTENERS, sizeof(*list));
	const struct kk_datapath_tables many = {.listeners = list, .n_listeners = LISTENERS},
					none = {0};
	unsigned long long ours = 0, all = 0;
	struct bpf_map *map;

	if (!list)
		die("memory", ENOMEM);
	for (uint32_t i = 0; i < LISTENERS; i++)
		list[i] = listener(i, 1000, i % 2, 1);
	set(&many);
	bpf_object__for_each_map(map, skel->obj) {
		unsigned long long bytes = memory_of(bpf_map__fd(map));

		all += bytes;
		if (is_of_listeners(bpf_map__name(map)))
			ours += bytes;
	}
	printf("%d listeners, half with an origin, %d CPUs: %llu KiB; all tables %llu KiB\n",
	       LISTENERS, tables.n_cpus, ours / 1024, all / 1024);
	printf("figure bytes-per-listener %llu bytes\n", ours / LISTENERS);
	set(&none);
}

/* ---- churn ---- */

static atomic_bool over;
static unsigned long long sent, lost;

static struct {
	uint8_t ethernet[ETH_HLEN];
	struct kk_ip4 ip;
	uint8_t tcp[20];
} __attribute__((packed)) frame = {
	.ethernet = {[12] = ETH_P_IP >> 8},
	.ip = {.version_ihl = 0x45, .ttl = 64, .protocol = KK_TCP},
	.tcp = {[12] = 0x50, [13] = 0x10},
};

static void send_one(bool inbound, uint32_t agent, uint16_t port)
{
	struct bpf_test_run_opts opts = {
		.sz = sizeof(opts),
		.data_in = inbound ? (void *)&frame : (void *)&frame.ip,
		.data_size_in = inbound ? sizeof(frame) : sizeof(frame) - ETH_HLEN,
	};
	int fd = bpf_program__fd(inbound ? skel->progs.kk_tc_public : skel->progs.kk_tc_tunnel);
	__be16 p = htons(port);

	frame.ip.total = htons(sizeof(frame) - ETH_HLEN);
	frame.ip.source = htonl(inbound ? CLIENT : agent);
	frame.ip.dest = htonl(inbound ? ADDRESS : CLIENT);
	memcpy(frame.tcp + (inbound ? 2 : 0), &p, sizeof(p));
	memset(frame.tcp + (inbound ? 0 : 2), 0x11, sizeof(p));
	if (bpf_prog_test_run_opts(fd, &opts) < 0)
		die("BPF_PROG_TEST_RUN", errno);
	sent++;
	lost += opts.retval != TC_ACT_REDIRECT;
}

/* Those that stay: port 100, 101 (to Agent port 102) and 103 (of a group). */
static void *send_on(void *unused)
{
	(void)unused;
	while (!atomic_load(&over)) {
		send_one(true, 0, 100);
		send_one(false, AGENT(0), 100);
		send_one(true, 0, 101);
		send_one(false, AGENT(1), 102);
		send_one(true, 0, 103);
		send_one(false, AGENT(3), 104);
	}
	return NULL;
}

static void fill_churn(struct kk_listener *list, uint32_t turn)
{
	for (uint32_t i = 0; i < SERVICES; i++)
		list[i] = listener(i, 1000 + turn % 2 * 5000, turn % 3, 1000 + turn * SERVICES);
	for (uint32_t i = 0; i < 3; i++) {
		list[SERVICES + i] = listener(i, 100, i > 0, 1);
		list[SERVICES + i].agent_address.s_addr = htonl(AGENT(i));
	}
	list[SERVICES + 2].port = 103;
	list[SERVICES + 2].agent_port = 104;
	list[SERVICES + 2].group = 1;
}

static void churn(void)
{
	KK_CLEANUP_FREE struct kk_listener *list = calloc(SERVICES + 3, sizeof(*list));
	const struct kk_member members[] = {{{htonl(AGENT(2))}, true}, {{htonl(AGENT(3))}, true}};
	const struct kk_group group = {1, members, 2};
	const struct kk_datapath_tables wanted = {
		.listeners = list, .n_listeners = SERVICES + 3, .groups = &group, .n_groups = 1};
	double start;
	pthread_t thread;
	int r;

	if (!list)
		die("memory", ENOMEM);
	fill_churn(list, 0);
	set(&wanted);
	r = pthread_create(&thread, NULL, send_on, NULL);
	if (r)
		die("a thread", r);
	start = milliseconds();
	for (uint32_t turn = 1; turn <= TURNS; turn++) {
		fill_churn(list, turn);
		set(&wanted);
	}
	start = milliseconds() - start;
	atomic_store(&over, true);
	pthread_join(thread, NULL);
	printf("%d services replaced %d times, %.1f ms each: %llu of %llu packets of others lost\n",
	       SERVICES, TURNS, start / TURNS, lost, sent);
	printf("figure churn-lost-packets %llu packets\n", lost);
}

int main(void)
{
	double median, min, max;

	open_tables();
	median = load(0, &min, &max);
	printf("%d services, same port: %.1f ms (%.1f to %.1f)\n", SERVICES, median, min, max);
	median = load(1, &min, &max);
	printf("%d services: %.1f ms (%.1f to %.1f)\n", SERVICES, median, min, max);
	printf("figure load-10k-ms %.1f ms\n", median);
	median = change_one(SERVICES, true, &max);
	printf("one of %d listeners changed by the whole: %.2f ms; of 100: %.2f ms\n", SERVICES,
	       median, change_one(100, true, &max));
	median = change_one(SERVICES, false, &max);
	printf("one of %d listeners changed by itself: %.4f ms (up to %.4f)\n", SERVICES, median,
	       max);
	printf("figure change-one-of-10k-ms %.3f ms\n", median);
	measure_memory();
	churn();
	kk_tables_clean(&tables);
	kk_tc__destroy(skel);
	return 0;
}
