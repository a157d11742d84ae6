// SPDX-License-Identifier: MIT
/*
 * Nanoseconds of processor for each datagram that is delivered, from the interface it comes in by to the one it leaves by:
 * the tc program beside nftables DNAT with conntrack and beside a bare redirect. Live frames of BPF_PROG_TEST_RUN cross a veth
 * and go up the stack in the calling thread, whose time is taken; the outgoing interface counts what is delivered to its peer, which drops
 * it first thing. The three take turns; medians of the rounds, ours divided by theirs. Needs root.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>

#include "bpf/tables.h"
#include "kk_tc.skel.h"
#include "bench.h"

/* As tests/bench/live.bpf.c has it; its skeleton needs the type. */
struct kk_live_frame {
	uint8_t ethernet[ETH_HLEN];
	struct kk_ip4 ip;
	__be16 source, dest, len, check;
	uint8_t payload[22];
} __attribute__((packed));
#include "live.skel.h"

#ifndef BPF_F_TEST_XDP_LIVE_FRAMES
#define BPF_F_TEST_XDP_LIVE_FRAMES (1U << 1)
#endif

#define ADDRESS 0xc6336401 /* 198.51.100.1 */
#define AGENT	0x0a010064 /* 10.1.0.100 */
#define PORT	27015
#define FRAMES	100000 /* in a turn */
#define ROUNDS	11
#define MAC	"02:00:00:00:00:01"

enum way { OURS, NFT, REDIRECT, N_WAYS };
static const char *const names[N_WAYS] = {"tc program", "nftables DNAT", "bare redirect"};

static void world(void)
{
	if (unshare(CLONE_NEWNET) < 0)
		bench_die("a network namespace: %s", strerror(errno));
	bench_run(
		"ip link set lo up; ip link add pub address " MAC " type veth peer name far; "
		"ip link set pub up; ip link set far up; ip addr add 198.51.100.1/24 dev pub; "
		"ip link add sink type veth peer name drain; ip link set sink up; "
		"ip link set drain up; ip addr add 10.255.0.1/24 dev sink; "
		"ip neigh add 10.255.0.2 lladdr 02:00:00:00:00:03 dev sink; "
		"ip route add 10.0.0.0/8 via 10.255.0.2; tc qdisc add dev drain clsact; "
		"ip route add 203.0.113.0/24 dev pub; tc qdisc add dev pub clsact; "
		"sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 "
		"net.ipv4.conf.pub.rp_filter=0 net.netfilter.nf_conntrack_max=262144 2>/dev/null; "
		"nft 'add table ip t; "
		"add chain ip t p { type nat hook prerouting priority -100; }; "
		"add rule ip t p ip daddr 198.51.100.1 udp dport 27015 dnat to 10.1.0.100:27015'");
}

static struct live *live_load(uint32_t flows, uint32_t sink)
{
	struct live *skel = live__open();
	struct kk_live_frame frame = {
		.ethernet = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0},
		.ip = {.version_ihl = 0x45,
		       .total = htons(sizeof(frame) - ETH_HLEN),
		       .ttl = 64,
		       .protocol = IPPROTO_UDP,
		       .source = htonl(0xcb007107),
		       .dest = htonl(ADDRESS)},
		.dest = htons(PORT),
		.len = htons(30),
	};
	uint32_t sum = 0;

	for (size_t i = 0; i < sizeof(frame.ip) / 2; i++)
		sum += ((const uint16_t *)(const void *)&frame.ip)[i];
	sum = (sum & 0xffff) + (sum >> 16);
	frame.ip.check = (uint16_t) ~((sum & 0xffff) + (sum >> 16));
	if (!skel)
		bench_die("the generator: %s", strerror(errno));
	skel->rodata->kk_live_frame = frame;
	skel->rodata->kk_live_flows = flows;
	skel->rodata->kk_live_to = sink;
	if (live__load(skel) < 0)
		bench_die("loading the generator: %s", strerror(errno));
	return skel;
}

static struct kk_tc *tc_load(uint32_t sink)
{
	const struct kk_settings settings = {.address4 = {htonl(ADDRESS)},
					     .pool = htonl(0x0a000000),
					     .pool_mask = htonl(0xff000000),
					     .mtu = 1420};
	const struct kk_listener listener = {
		.protocol = IPPROTO_UDP,
		.address = {.family = AF_INET, .v4.s_addr = htonl(ADDRESS)},
		.port = PORT,
		.agent_address.s_addr = htonl(AGENT),
		.agent_port = PORT,
		.service = 1};
	struct kk_tc *skel = kk_tc__open();
	struct kk_tables tables;
	struct kk_err err = {0};

	if (!skel)
		bench_die("the tc programs: %s", strerror(errno));
	skel->rodata->kk_settings = settings;
	skel->rodata->kk_tunnel_ifindex = sink;
	skel->data->kk_edge_here = 0; /* as behind XDP */
	if (kk_tc__load(skel) < 0)
		bench_die("loading the tc programs: %s", strerror(errno));
	if (kk_tables_init(&tables, skel->obj, &err) < 0)
		bench_die("%s", err.msg);
	tables.settings = settings;
	if (kk_tables_sync(&tables, &listener, 1, &err) < 0)
		bench_die("%s", err.msg);
	kk_tables_clean(&tables);
	return skel;
}

/* Received by the sink's peer. */
static uint64_t delivered(void)
{
	FILE *f = fopen("/proc/thread-self/net/dev", "re");
	unsigned long long bytes, packets = 0;
	char line[512];

	if (!f)
		bench_die("/proc/thread-self/net/dev: %s", strerror(errno));
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, " drain: %llu %llu", &bytes, &packets) == 2)
			break;
	fclose(f);
	return packets;
}

/* nftables get what no filter takes. */
static void set_way(int ifindex, int prog_fd)
{
	struct bpf_tc_hook hook = {
		.sz = sizeof(hook), .ifindex = ifindex, .attach_point = BPF_TC_INGRESS};
	struct bpf_tc_opts opts = {.sz = sizeof(opts), .handle = 1, .priority = 1};

	bpf_tc_detach(&hook, &opts);
	if (prog_fd < 0)
		return;
	opts = (struct bpf_tc_opts){
		.sz = sizeof(opts), .handle = 1, .priority = 1, .prog_fd = prog_fd};
	if (bpf_tc_attach(&hook, &opts) < 0)
		bench_die("tc: %s", strerror(errno));
}

/* One turn: ns of this thread for each datagram that came out. */
static double turn(int generator_fd, int ifindex)
{
	static uint8_t frame[sizeof(struct kk_live_frame)];
	struct xdp_md ctx = {.data_end = sizeof(frame), .ingress_ifindex = (uint32_t)ifindex};
	struct bpf_test_run_opts opts = {
		.sz = sizeof(opts),
		.data_in = frame,
		.data_size_in = sizeof(frame),
		.ctx_in = &ctx,
		.ctx_size_in = sizeof(ctx),
		.repeat = FRAMES,
		.flags = BPF_F_TEST_XDP_LIVE_FRAMES,
	};
	uint64_t before = delivered();
	double start = bench_seconds(CLOCK_THREAD_CPUTIME_ID), spent;
	uint64_t n;

	if (bpf_prog_test_run_opts(generator_fd, &opts) < 0)
		bench_die("live frames: %s", strerror(errno));
	spent = bench_seconds(CLOCK_THREAD_CPUTIME_ID) - start;
	n = delivered() - before;
	if (n < FRAMES * 99 / 100)
		bench_die("only %llu of %d datagrams came out", (unsigned long long)n, FRAMES);
	return spent * 1e9 / (double)n;
}

/* What has arrived at the sink's peer costs no more than it must. */
static void drain(void)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = TC_ACT_SHOT},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "drain", "MIT", insns, 2, NULL);

	if (fd < 0)
		bench_die("the drain: %s", strerror(errno));
	set_way((int)if_nametoindex("drain"), fd);
	close(fd);
}

static void measure(uint32_t flows, double result[N_WAYS])
{
	int pub = (int)if_nametoindex("pub"), far = (int)if_nametoindex("far");
	uint32_t sink = if_nametoindex("sink");
	struct live *live = live_load(flows, sink);
	struct kk_tc *tc = tc_load(sink);
	const int prog_fd[N_WAYS] = {[OURS] = bpf_program__fd(tc->progs.kk_tc_public),
				     [NFT] = -1,
				     [REDIRECT] = bpf_program__fd(live->progs.kk_live_redirect)};
	int generator = bpf_program__fd(live->progs.kk_live);
	double ns[N_WAYS][ROUNDS];

	/* Frames are made only for interfaces that take XDP natively, and taken only by such. */
	if (bpf_xdp_attach(far, generator, XDP_FLAGS_DRV_MODE, NULL) < 0 ||
	    bpf_xdp_attach(pub, bpf_program__fd(live->progs.kk_live_pass), XDP_FLAGS_DRV_MODE,
			   NULL) < 0)
		bench_die("XDP on a veth: %s", strerror(errno));
	for (int round = -1; round < ROUNDS; round++)
		for (int way = 0; way < N_WAYS; way++) {
			double one;

			set_way(pub, prog_fd[way]);
			one = turn(generator, far);
			if (round >= 0) /* the first one warms up */
				ns[way][round] = one;
		}
	printf("%u flows\n", flows);
	for (int way = 0; way < N_WAYS; way++) {
		result[way] = bench_median(ns[way], ROUNDS);
		printf("  %-14s %5.0f ns (%.0f to %.0f)\n", names[way], result[way], ns[way][0],
		       ns[way][ROUNDS - 1]);
	}
	set_way(pub, -1);
	bpf_xdp_detach(pub, XDP_FLAGS_DRV_MODE, NULL);
	bpf_xdp_detach(far, XDP_FLAGS_DRV_MODE, NULL);
	live__destroy(live);
	kk_tc__destroy(tc);
}

int main(void)
{
	double few[N_WAYS], many[N_WAYS];

	world();
	drain();
	measure(4, few);
	measure(16384, many);
	printf("figure tc-vs-nft %.2f x\n", few[OURS] / few[NFT]);
	printf("figure tc-vs-nft-16k-flows %.2f x\n", many[OURS] / many[NFT]);
	printf("figure tc-vs-redirect %.2f x\n", few[OURS] / few[REDIRECT]);
	return 0;
}
