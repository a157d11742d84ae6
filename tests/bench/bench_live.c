// SPDX-License-Identifier: MIT
/*
 * Nanoseconds of processor for each datagram that is delivered, from the interface it comes in by to the one it leaves by:
 * the tc program beside nftables DNAT with conntrack and beside a bare redirect. Live frames (live.h) cross a veth
 * and go up the stack in the calling thread, whose time is taken; the outgoing interface counts what is delivered to its peer, which drops
 * it first thing. The three take turns; medians of the rounds, ours divided by theirs. Needs root.
 */
#include <sched.h>

#include "live.h"
#include "kk_tc.skel.h"

#define FRAMES 100000 /* in a turn */
#define ROUNDS 15
#define TRIES  5 /* a turn that lost more than 1 % because the machine was busy is taken again */

enum way { OURS, NFT, REDIRECT, N_WAYS };
static const char *const names[N_WAYS] = {"tc program", "nftables DNAT", "bare redirect"};

static void world(void)
{
	if (unshare(CLONE_NEWNET) < 0)
		bench_die("a network namespace: %s", strerror(errno));
	bench_run(
		"ip link set lo up; ip link add pub address " LIVE_MAC " type veth peer name far; "
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

static struct kk_tc *tc_load(uint32_t sink)
{
	const struct kk_listener listener = {
		.protocol = IPPROTO_UDP,
		.address = {.family = AF_INET, .v4.s_addr = htonl(LIVE_ADDRESS)},
		.port = LIVE_PORT,
		.agent_address.s_addr = htonl(LIVE_AGENT),
		.agent_port = LIVE_PORT,
		.service = 1};
	struct kk_tc *skel = kk_tc__open();
	struct kk_tables tables;
	struct kk_err err = {0};

	if (!skel)
		bench_die("the tc programs: %s", strerror(errno));
	skel->rodata->kk_settings = live_settings;
	skel->rodata->kk_tunnel_ifindex = sink;
	skel->data->kk_edge_here = 0; /* as behind XDP */
	if (kk_tables_size(skel->obj, 1, &err) < 0)
		bench_die("%s", err.msg);
	if (kk_tc__load(skel) < 0)
		bench_die("loading the tc programs: %s", strerror(errno));
	if (kk_tables_init(&tables, skel->obj, &err) < 0)
		bench_die("%s", err.msg);
	tables.settings = live_settings;
	if (kk_tables_sync(&tables, &listener, 1, &err) < 0)
		bench_die("%s", err.msg);
	kk_tables_clean(&tables);
	return skel;
}

/* One turn: ns of this thread for each datagram that came out. */
static double turn(const struct live *live, int ifindex)
{
	uint64_t n = 0;

	for (int i = 0; i < TRIES; i++) {
		uint64_t before = live_received("drain");
		double start = bench_seconds(CLOCK_THREAD_CPUTIME_ID), spent;

		live_send(live->progs.kk_live, ifindex, FRAMES);
		spent = bench_seconds(CLOCK_THREAD_CPUTIME_ID) - start;
		n = live_received("drain") - before;
		if (n >= FRAMES * 99 / 100)
			return spent * 1e9 / (double)n;
	}
	bench_die("only %llu of %d datagrams came out", (unsigned long long)n, FRAMES);
}

static void measure(uint32_t flows, double result[N_WAYS])
{
	int pub = (int)if_nametoindex("pub"), far = (int)if_nametoindex("far");
	int drain = (int)if_nametoindex("drain");
	uint32_t sink = if_nametoindex("sink");
	struct live *live = live_load(flows, sink);
	struct kk_tc *tc = tc_load(sink);
	/* nftables get what no filter takes. */
	const int prog_fd[N_WAYS] = {[OURS] = bpf_program__fd(tc->progs.kk_tc_public),
				     [NFT] = -1,
				     [REDIRECT] = bpf_program__fd(live->progs.kk_live_redirect)};
	double ns[N_WAYS][ROUNDS];

	live_set_tc(drain, bpf_program__fd(live->progs.kk_live_drain));
	live_set_xdp(far, live->progs.kk_live_sink);
	live_set_xdp(pub, live->progs.kk_live_pass);
	for (int round = -1; round < ROUNDS; round++)
		for (int way = 0; way < N_WAYS; way++) {
			double one;

			live_set_tc(pub, prog_fd[way]);
			one = turn(live, far);
			if (round >= 0) /* the first one warms up */
				ns[way][round] = one;
		}
	printf("%u flows\n", flows);
	for (int way = 0; way < N_WAYS; way++) {
		result[way] = bench_median(ns[way], ROUNDS);
		printf("  %-14s %5.0f ns (%.0f to %.0f)\n", names[way], result[way], ns[way][0],
		       ns[way][ROUNDS - 1]);
	}
	live_set_tc(pub, -1);
	live_set_xdp(pub, NULL);
	live_set_xdp(far, NULL);
	live__destroy(live);
	kk_tc__destroy(tc);
}

int main(void)
{
	double few[N_WAYS], many[N_WAYS];

	world();
	measure(4, few);
	measure(16384, many);
	printf("figure tc-vs-nft %.2f x\n", few[OURS] / few[NFT]);
	printf("figure tc-vs-nft-16k-flows %.2f x\n", many[OURS] / many[NFT]);
	printf("figure tc-vs-redirect %.2f x\n", few[OURS] / few[REDIRECT]);
	return 0;
}
