// SPDX-License-Identifier: MIT
/*
 * Nanoseconds that XDP programs take for one packet, net of an empty program, under BPF_PROG_TEST_RUN: edge and forwarding
 * in one with every feature compiled in, the edge alone, and what the edge drops. Needs root. As bench_forward does:
 * programs take turns; of each round the difference of two medians counts, of all rounds the median; the Agent has the
 * public address, so that a repetition finds what the first one found.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <linux/if_ether.h>

#include "bpf/tables.h"
#include "kk_xdp_forward.skel.h"
#include "kk_xdp.skel.h"
#include "bench.h"

#define ADDRESS	    0xc6336401 /* 198.51.100.1 */
#define HOT_REPEAT  250	       /* the time to live allows no more */
#define HOT_RUNS    8 /* the kernel waits for others at each: it changes its XDP dispatcher */
#define RANDOM_RUNS 20000
#define ROUNDS	    10

static struct {
	uint8_t ethernet[ETH_HLEN];
	struct kk_ip4 ip;
	uint8_t tcp[20];
} __attribute__((packed)) packet = {
	.ethernet = {[12] = ETH_P_IP >> 8},
	.ip = {.version_ihl = 0x45, .ttl = 255, .protocol = KK_TCP},
};

#define ACK 0x10
#define SYN 0x02

static void packet_init(void)
{
	packet.ip.source = htonl(0xcb007107);
	packet.ip.dest = htonl(ADDRESS);
	packet.ip.total = htons(sizeof(packet) - ETH_HLEN);
	packet.tcp[0] = 4;
	packet.tcp[12] = 0x50;
	packet.tcp[13] = ACK;
}

static int load_empty(void)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "empty", "MIT", insns, 2, NULL);

	if (fd < 0)
		bench_die("the empty program: %s", strerror(errno));
	return fd;
}

/* What is measured: a program, what it has to answer, and over how many ports. */
struct job {
	int prog_fd;
	uint32_t action, ports;
	int runs, repeat;
};

static double run(const struct job *job, uint16_t port)
{
	struct bpf_test_run_opts opts = {
		.sz = sizeof(opts),
		.data_in = &packet,
		.data_size_in = sizeof(packet),
		.repeat = job->repeat,
	};

	packet.tcp[2] = (uint8_t)(port >> 8);
	packet.tcp[3] = (uint8_t)port;
	if (bpf_prog_test_run_opts(job->prog_fd, &opts) < 0)
		bench_die("BPF_PROG_TEST_RUN: %s", strerror(errno));
	if (opts.retval != job->action)
		bench_die("port %u: action %u, not %u", port, opts.retval, job->action);
	return opts.duration;
}

static double median(const struct job *job)
{
	static double times[RANDOM_RUNS];
	unsigned int seed = 1;

	for (int i = 0; i < job->runs; i++)
		times[i] = run(job, (uint16_t)((uint32_t)rand_r(&seed) % job->ports + 1));
	return bench_median(times, (size_t)job->runs);
}

static double net(const char *what, const struct job *job, int empty_fd)
{
	const struct job empty = {.prog_fd = empty_fd,
				  .action = XDP_PASS,
				  .ports = job->ports,
				  .runs = job->runs,
				  .repeat = job->repeat};
	double rounds[ROUNDS], result;

	for (int i = 0; i < ROUNDS; i++)
		rounds[i] = median(job) - median(&empty);
	result = bench_median(rounds, ROUNDS);
	printf("%-44s %4.0f ns (%.0f to %.0f)\n", what, result, rounds[0], rounds[ROUNDS - 1]);
	return result;
}

static void publish(struct bpf_object *obj, const struct kk_settings *settings, uint32_t n)
{
	struct kk_listener *list = calloc(n, sizeof(*list));
	struct kk_tables tables;
	struct kk_err err = {0};

	if (!list)
		bench_die("out of memory");
	for (uint32_t i = 0; i < n; i++)
		list[i] = (struct kk_listener){
			.protocol = IPPROTO_TCP,
			.address = {.family = AF_INET, .v4.s_addr = htonl(ADDRESS)},
			.port = (uint16_t)(i + 1),
			.agent_address.s_addr = htonl(ADDRESS),
			.agent_port = (uint16_t)(i + 1),
			.service = i + 1,
		};
	if (kk_tables_init(&tables, obj, &err) < 0)
		bench_die("%s", err.msg);
	tables.settings = *settings;
	if (kk_tables_sync(&tables, list, n, &err) < 0)
		bench_die("%s", err.msg);
	*tables.features |= KK_FEATURE_CLOSED_PORTS | KK_FEATURE_SYN_COOKIES;
	kk_tables_clean(&tables);
	free(list);
}

static void ban(struct bpf_object *obj)
{
	const struct kk_ban_key key = {
		.address = {.word = {0, 0, htonl(0xffff), packet.ip.source}}};
	const uint64_t until = UINT64_MAX;
	const uint32_t zero = 0;
	uint64_t features = KK_FEATURE_BANS | KK_FEATURE_CLOSED_PORTS | KK_FEATURE_SYN_COOKIES;

	if (bpf_map_update_elem(bpf_object__find_map_fd_by_name(obj, "kk_bans"), &key, &until, 0) <
		    0 ||
	    bpf_map_update_elem(bpf_object__find_map_fd_by_name(obj, "kk_features"), &zero,
				&features, 0) < 0)
		bench_die("a ban: %s", strerror(errno));
}

/* What the edge drops: a SYN to a closed port, with the look for a socket; any packet of a banned source. */
static double drops(const struct kk_xdp *skel, int empty)
{
	const struct job closed = {.prog_fd = bpf_program__fd(skel->progs.kk_xdp),
				   .action = XDP_DROP,
				   .ports = 1,
				   .runs = HOT_RUNS,
				   .repeat = HOT_REPEAT};
	double result;

	packet.tcp[13] = SYN;
	publish(skel->obj, (const struct kk_settings *)&skel->rodata->kk_settings, 0);
	net("edge: SYN to a closed port", &closed, empty);
	packet.tcp[13] = ACK;
	publish(skel->obj, (const struct kk_settings *)&skel->rodata->kk_settings, 1000);
	ban(skel->obj);
	result = net("edge: packet of a banned source", &closed, empty);
	return result;
}

#define LOAD(skel, prefix)                                                                         \
	do {                                                                                       \
		(skel) = prefix##__open();                                                         \
		if (!(skel))                                                                       \
			bench_die("the programs: %s", strerror(errno));                            \
		(skel)->rodata->kk_settings = settings;                                            \
		(skel)->rodata->kk_edge_settings =                                                 \
			(struct kk_edge_settings){.syn_rate = 10000, .ephemeral = 32768};          \
		(skel)->rodata->kk_tunnel_ifindex = 1;                                             \
		if (prefix##__load(skel) < 0)                                                      \
			bench_die("loading the programs: %s", strerror(errno));                    \
	} while (0)

int main(void)
{
	static const uint32_t sizes[] = {1, 1000, 65535};
	const struct kk_settings settings = {.address4 = {htonl(ADDRESS)},
					     .pool = htonl(ADDRESS & 0xff000000),
					     .pool_mask = htonl(0xff000000),
					     .mtu = 1420};
	struct kk_xdp_forward *both;
	struct kk_xdp *edge;
	double hot = 0, random = 0;
	int empty = load_empty();

	packet_init();
	LOAD(both, kk_xdp_forward);
	LOAD(edge, kk_xdp);
	for (size_t i = 0; i < 3; i++) {
		struct job job = {.prog_fd = bpf_program__fd(both->progs.kk_xdp_both),
				  .action = XDP_REDIRECT,
				  .ports = 1,
				  .runs = HOT_RUNS,
				  .repeat = HOT_REPEAT};

		publish(both->obj, &settings, sizes[i]);
		publish(edge->obj, &settings, sizes[i]);
		printf("%u listeners\n", sizes[i]);
		hot = net("edge and forwarding, hot", &job, empty);
		job = (struct job){job.prog_fd, XDP_REDIRECT, sizes[i], RANDOM_RUNS, 1};
		random = net("edge and forwarding, random", &job, empty);
		job = (struct job){bpf_program__fd(edge->progs.kk_xdp), XDP_PASS, 1, HOT_RUNS,
				   HOT_REPEAT};
		net("edge alone, hot", &job, empty);
		job = (struct job){job.prog_fd, XDP_PASS, sizes[i], RANDOM_RUNS, 1};
		net("edge alone, random", &job, empty);
	}
	printf("figure xdp-ns-hot %.0f ns\n", hot);
	printf("figure xdp-ns-random-65k %.0f ns\n", random);
	printf("figure xdp-drop-ns %.0f ns\n", drops(edge, empty));
	kk_xdp_forward__destroy(both);
	kk_xdp__destroy(edge);
	close(empty);
	return 0;
}
