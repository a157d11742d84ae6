// SPDX-License-Identifier: MIT
/*
 * Nanoseconds of processor for each datagram that is delivered, from the interface it comes in by to the one it leaves by:
 * the tc program, and edge and forwarding at XDP, beside nftables DNAT with conntrack and beside a bare redirect. Live frames (live.h) cross a veth
 * and go up the stack in the calling thread, whose time is taken; the outgoing interface counts what is delivered to its peer, which drops
 * it first thing. They take turns, short ones, for a machine's speed may change within seconds; ours is divided by theirs of the
 * same round, and figures are medians of that. Needs root.
 *
 * All of them pay for making the frames and for the first veth. What that is shows where XDP drops the frames as they arrive; "net" is
 * without it.
 */
#include <sched.h>

#include "live.h"
#include "bpf/summed.h"
#include "kk_tc.skel.h"
#include "kk_xdp_forward.skel.h"

#define FRAMES 40000 /* in a turn */
#define ROUNDS 41
#define TRIES  5 /* a turn that lost more than 1 % because the machine was busy is taken again */

enum way { OURS, NFT, REDIRECT, XDP, ARRIVAL, N_WAYS };
static const char *const names[N_WAYS] = {"tc program", "nftables DNAT", "bare redirect",
					  "XDP program", "arrival alone"};

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

static void publish(struct bpf_object *obj)
{
	const struct kk_listener listener = {
		.protocol = IPPROTO_UDP,
		.address = {.family = AF_INET, .v4.s_addr = htonl(LIVE_ADDRESS)},
		.port = LIVE_PORT,
		.agent_address.s_addr = htonl(LIVE_AGENT),
		.agent_port = LIVE_PORT,
		.service = 1};
	struct kk_tables tables;
	struct kk_err err = {0};

	if (kk_tables_init(&tables, obj, &err) < 0)
		bench_die("%s", err.msg);
	tables.settings = live_settings;
	if (kk_tables_sync(&tables, &listener, 1, &err) < 0)
		bench_die("%s", err.msg);
	kk_tables_clean(&tables);
}

#define LOAD(skel, prefix, sink)                                                                   \
	do {                                                                                       \
		struct kk_err err_ = {0};                                                          \
		(skel) = prefix##__open();                                                         \
		if (!(skel))                                                                       \
			bench_die("the programs: %s", strerror(errno));                            \
		(skel)->rodata->kk_settings = live_settings;                                       \
		(skel)->rodata->kk_tunnel_ifindex = (sink);                                        \
		(skel)->rodata->kk_skb_summed = kk_summed_prepare((skel)->obj);                    \
		if (kk_tables_size((skel)->obj, 1, &err_) < 0)                                     \
			bench_die("%s", err_.msg);                                                 \
		if (prefix##__load(skel) < 0)                                                      \
			bench_die("loading the programs: %s", strerror(errno));                    \
		publish((skel)->obj);                                                              \
	} while (0)

/* What the interfaces have to have: XDP where frames come in, and where they go to if they are sent there by XDP. */
static void set_xdp(const struct live *live, const struct bpf_program *xdp, enum way way)
{
	int pub = (int)if_nametoindex("pub"), drain = (int)if_nametoindex("drain");

	live_set_xdp(pub, way == ARRIVAL ? live->progs.kk_live_sink
			  : way == XDP	 ? xdp
					 : live->progs.kk_live_pass);
	live_set_xdp(drain, way == XDP ? live->progs.kk_live_sink : NULL);
}

/* One turn: ns of this thread for each datagram that came to @out. */
static double turn(const struct live *live, int ifindex, const char *out)
{
	uint64_t n = 0;

	for (int i = 0; i < TRIES; i++) {
		uint64_t before = live_received(out);
		double start = bench_seconds(CLOCK_THREAD_CPUTIME_ID), spent;

		live_send(live->progs.kk_live, ifindex, FRAMES);
		spent = bench_seconds(CLOCK_THREAD_CPUTIME_ID) - start;
		n = live_received(out) - before;
		if (n >= FRAMES * 99 / 100)
			return spent * 1e9 / (double)n;
	}
	bench_die("only %llu of %d datagrams came out", (unsigned long long)n, FRAMES);
}

/* ns for each datagram that was delivered, by way and round. */
struct measured {
	double ns[N_WAYS][ROUNDS];
};

static void tell(uint32_t flows, const struct measured *m)
{
	printf("%u flows\n", flows);
	for (int way = 0; way < N_WAYS; way++) {
		double sorted[ROUNDS], median;

		memcpy(sorted, m->ns[way], sizeof(sorted));
		median = bench_median(sorted, ROUNDS);
		printf("  %-14s %5.0f ns (%.0f to %.0f)\n", names[way], median, sorted[0],
		       sorted[ROUNDS - 1]);
	}
}

static void measure(uint32_t flows, struct measured *m)
{
	int pub = (int)if_nametoindex("pub"), far = (int)if_nametoindex("far");
	int drain = (int)if_nametoindex("drain");
	uint32_t sink = if_nametoindex("sink");
	struct live *live = live_load(flows, sink);
	struct kk_xdp_forward *xdp;
	struct kk_tc *tc;
	int prog_fd[N_WAYS] = {-1, -1, -1, -1, -1}; /* nftables get what no filter takes */

	LOAD(tc, kk_tc, sink);
	LOAD(xdp, kk_xdp_forward, sink);
	tc->data->kk_edge_here = 0; /* as behind XDP */
	prog_fd[OURS] = bpf_program__fd(tc->progs.kk_tc_public);
	prog_fd[REDIRECT] = bpf_program__fd(live->progs.kk_live_redirect);
	live_set_tc(drain, bpf_program__fd(live->progs.kk_live_drain));
	live_set_xdp(far, live->progs.kk_live_sink);
	for (int round = -1; round < ROUNDS; round++)
		for (int way = 0; way < N_WAYS; way++) {
			double one;

			live_set_tc(pub, prog_fd[way]);
			set_xdp(live, xdp->progs.kk_xdp_both, way);
			one = turn(live, far, way == ARRIVAL ? "pub" : "drain");
			if (round >= 0) /* the first one warms up */
				m->ns[way][round] = one;
		}
	tell(flows, m);
	live_set_tc(pub, -1);
	live_set_xdp(pub, NULL);
	live_set_xdp(drain, NULL);
	live_set_xdp(far, NULL);
	live__destroy(live);
	kk_tc__destroy(tc);
	kk_xdp_forward__destroy(xdp);
}

enum less { GROSS, NET }; /* with what every way pays, and without */

/* The median of ours divided by theirs, round by round. */
static double ratio(const struct measured *m, enum way ours, enum way theirs, enum less less)
{
	double ratios[ROUNDS];

	for (int round = 0; round < ROUNDS; round++) {
		double bed = less == NET ? m->ns[ARRIVAL][round] : 0;

		ratios[round] = (m->ns[ours][round] - bed) / (m->ns[theirs][round] - bed);
	}
	return bench_median(ratios, ROUNDS);
}

int main(void)
{
	struct measured few, many;

	world();
	measure(4, &few);
	measure(16384, &many);
	printf("figure tc-vs-nft %.2f x\n", ratio(&few, OURS, NFT, GROSS));
	printf("figure tc-vs-nft-16k-flows %.2f x\n", ratio(&many, OURS, NFT, GROSS));
	printf("figure tc-vs-redirect %.2f x\n", ratio(&few, OURS, REDIRECT, GROSS));
	printf("figure xdp-vs-nft %.2f x\n", ratio(&few, XDP, NFT, GROSS));
	printf("figure tc-vs-nft-net %.2f x\n", ratio(&few, OURS, NFT, NET));
	printf("figure tc-vs-nft-16k-flows-net %.2f x\n", ratio(&many, OURS, NFT, NET));
	printf("figure tc-vs-redirect-net %.2f x\n", ratio(&few, OURS, REDIRECT, NET));
	printf("figure redirect-vs-nft %.2f x\n", ratio(&few, REDIRECT, NFT, GROSS));
	return 0;
}
