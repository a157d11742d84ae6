// SPDX-License-Identifier: MIT
/*
 * Nanoseconds for each packet that is delivered, from the interface it comes in by to the one it leaves by: the kernel
 * module beside nftables DNAT with conntrack, with a flowtable, beside IPVS NAT and plain forwarding. Small datagrams
 * are live frames of BPF_PROG_TEST_RUN, super-packets are a module's (kmod/kk_super.c). On one processor the whole way is done before the call
 * returns, so the clock on the wall is what it cost. The ways take turns; medians of the rounds, ours
 * divided by theirs. Needs root, one processor, and the module; made for a virtual machine (make bench-module).
 *
 *   bench_module [ROUNDS]
 */
#include "module_ways.h"

#define FRAMES	   16384
#define SUPERS	   4096
#define ROUNDS_MAX 101
#define FLOWS_FEW  4
#define FLOWS_MANY 16384

struct load {
	const char *name, *suffix;
	uint32_t flows; /* of datagrams; 0: super-packets */
};

static const struct load loads[] = {
	{"64-byte datagrams, 4 flows", "", FLOWS_FEW},
	{"64-byte datagrams, 16384 flows", "-16k-flows", FLOWS_MANY},
	{"TCP super-packets, 4 flows", "-gso", 0},
};

static struct live *generator(uint32_t to, uint32_t flows, bool all_ports)
{
	const struct kk_live_frame frame = live_frame(to, all_ports ? 1 : LIVE_PORT);

	return live_load_frame(&frame, flows, all_ports ? WAY_LISTENERS : 1, 0);
}

static void set_xdp(const struct gateway *way, const struct live *skel)
{
	live_set_xdp((int)way->far, skel ? skel->progs.kk_live : NULL);
	live_set_xdp((int)way->pub, skel ? skel->progs.kk_live_pass : NULL);
}

/* One turn: ns for each packet that came out. */
static double turn(const struct way_setup *setup, const struct gateway *way, struct live *skel)
{
	unsigned int sent = skel ? FRAMES : SUPERS;
	double start, spent;
	uint64_t before, n;

	way_enter(way);
	before = way_delivered();
	start = bench_seconds(CLOCK_MONOTONIC);
	if (skel)
		live_send(skel->progs.kk_live, (int)way->far, FRAMES);
	else
		super_send(way->far, setup->to, LIVE_PORT, SUPERS);
	spent = bench_seconds(CLOCK_MONOTONIC) - start;
	n = way_delivered() - before;
	if (n < sent * 99ULL / 100 || n > sent * 101ULL / 100)
		bench_die("%s: %llu of %u packets came out", setup->name, (unsigned long long)n,
			  sent);
	return spent * 1e9 / (double)n;
}

static void measure(const struct gateway all[N_WAYS], const struct load *load, int rounds,
		    double medians[N_WAYS])
{
	struct live *skels[N_WAYS] = {0};
	double ns[N_WAYS][ROUNDS_MAX];

	for (int way = 0; way < N_WAYS && load->flows; way++) {
		skels[way] = generator(ways[way].to, load->flows, way == MODULE_65K);
		way_enter(&all[way]);
		set_xdp(&all[way], skels[way]);
	}
	for (int round = -1; round < rounds; round++)
		for (int way = 0; way < N_WAYS; way++) {
			double one = turn(&ways[way], &all[way], skels[way]);

			if (round >= 0) /* the first one warms up, and makes the flows */
				ns[way][round] = one;
		}
	printf("%s\n", load->name);
	for (int way = 0; way < N_WAYS; way++) {
		medians[way] = bench_median(ns[way], (size_t)rounds);
		if (skels[way]) {
			way_enter(&all[way]);
			set_xdp(&all[way], NULL);
			live__destroy(skels[way]);
		}
	}
	for (int way = 0; way < N_WAYS; way++)
		printf("  %-26s %6.0f ns (%.0f to %.0f), less the bed's %6.0f ns\n", ways[way].name,
		       medians[way], ns[way][0], ns[way][rounds - 1],
		       medians[way] - medians[REDIRECT]);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 11;
	double medians[sizeof(loads) / sizeof(*loads)][N_WAYS];
	const struct sched_param last = {0};
	struct gateway all[N_WAYS];

	if (rounds < 1 || rounds > ROUNDS_MAX)
		bench_die("%d rounds: 1 to %d", rounds, ROUNDS_MAX);
	bench_run("sysctl -qw net.netfilter.nf_conntrack_max=262144");
	for (int way = 0; way < N_WAYS; way++)
		all[way] = way_make(&ways[way]);
	/* What is left to the kernel's own thread is done before more is sent. */
	if (sched_setscheduler(0, SCHED_IDLE, &last) < 0)
		bench_die("SCHED_IDLE: %s", strerror(errno));
	for (size_t i = 0; i < sizeof(loads) / sizeof(*loads); i++)
		measure(all, &loads[i], rounds, medians[i]);
	for (size_t i = 0; i < sizeof(loads) / sizeof(*loads); i++)
		for (int way = 0; way < N_WAYS; way++)
			if (ways[way].figure)
				printf("figure module-vs-%s%s %.2f x\n", ways[way].figure,
				       loads[i].suffix, medians[i][MODULE] / medians[i][way]);
	printf("figure module-slope-65k %.2f x\n", medians[0][MODULE_65K] / medians[0][MODULE]);
	return 0;
}
