// SPDX-License-Identifier: MIT
/*
 * Nanoseconds that the program at the public interface takes for one packet to a published port, net of an
 * empty program, under BPF_PROG_TEST_RUN. Needs root. Both programs take turns: of each round the
 * difference of the two medians counts, of all rounds the median, and the range says how far to
 * trust it.
 *
 * A run repeats the program on one packet, so each repetition has to find what the first one found: the
 * Agent has the public address here (of which the pool is), and only the time to live tells one round from the next. `hot' repeats
 * one packet, `random' sends each packet once, to a random one of the published ports.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include <kk/core/types.h>

#include "bpf/tables.h"
#include "kk_tc.skel.h"
#include "util/cleanup.h"

#define ADDRESS	    0xc6336401 /* 198.51.100.1 */
#define HOT_REPEAT  250	       /* the time to live allows no more */
#define HOT_RUNS    200
#define RANDOM_RUNS 20000
#define ROUNDS	    10

static struct {
	uint8_t ethernet[ETH_HLEN];
	struct kk_ip4 ip;
	uint8_t tcp[20];
} __attribute__((packed)) packet = {
	.ethernet = {[12] = ETH_P_IP >> 8},
	.ip = {.version_ihl = 0x45, .ttl = 255, .protocol = KK_TCP},
	.tcp = {[12] = 0x50, [13] = 0x10},
};

static void die(const char *what, int error)
{
	fprintf(stderr, "bench_forward: %s: %s\n", what, strerror(error));
	exit(1);
}

static int load_empty(void)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = TC_ACT_REDIRECT},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "empty", "MIT", insns, 2, NULL);

	if (fd < 0)
		die("the empty program", errno);
	return fd;
}

static uint32_t run(int prog_fd, uint16_t port, int repeat)
{
	struct bpf_test_run_opts opts = {
		.sz = sizeof(opts),
		.data_in = &packet,
		.data_size_in = sizeof(packet),
		.repeat = repeat,
	};

	packet.tcp[2] = (uint8_t)(port >> 8);
	packet.tcp[3] = (uint8_t)port;
	if (bpf_prog_test_run_opts(prog_fd, &opts) < 0)
		die("BPF_PROG_TEST_RUN", errno);
	if (opts.retval != TC_ACT_REDIRECT)
		die("the packet was not forwarded", EINVAL);
	return opts.duration;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int compare_net(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Median over @runs, to ports drawn from the first @n. */
static int median(int prog_fd, uint32_t n, int runs, int repeat)
{
	uint32_t *times = calloc((size_t)runs, sizeof(*times));
	unsigned int seed = 1;
	int result;

	if (!times)
		die("memory", ENOMEM);
	for (int i = 0; i < runs; i++)
		times[i] = run(prog_fd, (uint16_t)((uint32_t)rand_r(&seed) % n + 1), repeat);
	qsort(times, (size_t)runs, sizeof(*times), compare);
	result = (int)times[runs / 2];
	free(times);
	return result;
}

struct net {
	int median, min, max;
};

static struct net rounds(int prog_fd, int empty_fd, uint32_t n, int runs, int repeat)
{
	int net[ROUNDS];

	for (int i = 0; i < ROUNDS; i++)
		net[i] = median(prog_fd, n, runs, repeat) - median(empty_fd, n, runs, repeat);
	qsort(net, ROUNDS, sizeof(*net), compare_net);
	return (struct net){.median = net[ROUNDS / 2], .min = net[0], .max = net[ROUNDS - 1]};
}

static void publish(struct kk_tables *tables, uint32_t n)
{
	struct kk_listener *list = calloc(n, sizeof(*list));
	struct kk_err err = {0};

	if (!list)
		die("memory", ENOMEM);
	for (uint32_t i = 0; i < n; i++)
		list[i] = (struct kk_listener){
			.protocol = IPPROTO_TCP,
			.address = {.family = AF_INET, .v4.s_addr = htonl(ADDRESS)},
			.port = (uint16_t)(i + 1),
			.agent_address.s_addr = htonl(ADDRESS),
			.agent_port = (uint16_t)(i + 1),
			.service = i % (KK_SERVICES_MAX - 1) + 1,
		};
	if (kk_tables_sync(tables, list, n, &err) < 0)
		die(err.msg, err.code);
	free(list);
}

int main(void)
{
	static const uint32_t sizes[] = {1, 1000, 65535};
	struct kk_tc *skel = kk_tc__open();
	struct kk_tables tables;
	struct kk_err err = {0};
	int empty = load_empty(), prog;
	struct net hot, random;

	if (!skel)
		die("the programs", errno);
	packet.ip.source = htonl(0xcb007107);
	packet.ip.dest = htonl(ADDRESS);
	packet.ip.total = htons(sizeof(packet) - ETH_HLEN);
	skel->rodata->kk_settings = (struct kk_settings){.address4 = {htonl(ADDRESS)},
							 .pool = htonl(ADDRESS & 0xff000000),
							 .pool_mask = htonl(0xff000000),
							 .mtu = 1420};
	skel->data->kk_edge_here = 0; /* XDP does that part */
	if (kk_tc__load(skel) < 0)
		die("loading the programs", errno);
	if (kk_tables_init(&tables, skel->obj, &err) < 0)
		die(err.msg, err.code);
	tables.settings = skel->rodata->kk_settings;
	prog = bpf_program__fd(skel->progs.kk_tc_public);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint32_t n = sizes[i];

		publish(&tables, n);
		hot = rounds(prog, empty, 1, HOT_RUNS, HOT_REPEAT);
		random = rounds(prog, empty, n, RANDOM_RUNS, 1);
		printf("%5u listeners: hot %3d ns (%d to %d), random %3d ns (%d to %d)\n", n,
		       hot.median, hot.min, hot.max, random.median, random.min, random.max);
	}
	printf("figure tc-ns-hot %d ns\n", hot.median);
	printf("figure tc-ns-random-65k %d ns\n", random.median);
	kk_tables_clean(&tables);
	kk_tc__destroy(skel);
	kk_close(empty);
	return 0;
}
