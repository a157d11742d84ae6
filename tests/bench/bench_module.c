// SPDX-License-Identifier: MIT
/*
 * Nanoseconds for each packet that is delivered, from the interface it comes in by to the one it leaves by: the kernel
 * module beside nftables DNAT with conntrack, with a flowtable, beside IPVS NAT and plain forwarding. Small datagrams
 * are live frames of BPF_PROG_TEST_RUN, super-packets are a module's (kmod/kk_super.c). On one processor the whole way is done before the call
 * returns, so the clock on the wall is what it cost. The ways take turns; ours divided by theirs in each round, and
 * the median of those. Needs root, one processor, and the module; made for a virtual machine (make bench-module).
 *
 *   bench_module [ROUNDS]
 */
#include "module_ways.h"
#include "util/cleanup.h"

#define FRAMES	   16384
#define SUPERS	   4096
#define ROUNDS_MAX 101
#define FLOWS_FEW  4
#define FLOWS_MANY 16384

struct load {
	const char *name;
	const char *suffix; /* of figures; NULL: there are none */
	uint32_t flows;	    /* of datagrams; 0: TCP, whose flows are four */
	bool super, answers;
};

/* The answers last: only then there are connections that they could belong to. */
static const struct load loads[] = {
	{"64-byte datagrams, 4 flows", "", FLOWS_FEW, false, false},
	{"64-byte datagrams, 16384 flows", "-16k-flows", FLOWS_MANY, false, false},
	{"TCP super-packets, 4 flows", "-gso", 0, true, false},
	{"back: TCP acknowledgements, 4 flows", NULL, 0, false, true},
	{"back: TCP super-packets, 4 flows", NULL, 0, true, true},
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
static double turn(const struct way_setup *setup, const struct gateway *way,
		   const struct load *load, struct live *skel)
{
	unsigned int sent = skel ? FRAMES : SUPERS;
	double start, spent;
	uint64_t before, n;

	way_enter(way);
	before = way_delivered(load->answers);
	start = bench_seconds(CLOCK_MONOTONIC);
	if (skel)
		live_send(skel->progs.kk_live, (int)way->far, FRAMES);
	else if (load->answers)
		super_receive(way->tun, way_agent(LIVE_PORT - 1, setup->listeners), SUPERS,
			      load->super);
	else
		super_send(way->far, setup->to, SUPERS);
	spent = bench_seconds(CLOCK_MONOTONIC) - start;
	n = way_delivered(load->answers) - before;
	if (n < sent * 99ULL / 100 || n > sent * 101ULL / 100)
		bench_die("%s: %llu of %u packets came out", setup->name, (unsigned long long)n,
			  sent);
	return spent * 1e9 / (double)n;
}

static double ns[ARRAY_SIZE(loads)][N_WAYS][ROUNDS_MAX];

static double median_of(const double *values, int n)
{
	double sorted[ROUNDS_MAX];

	memcpy(sorted, values, (size_t)n * sizeof(*values));
	return bench_median(sorted, (size_t)n);
}

static void measure(const struct gateway all[N_WAYS], size_t load, int rounds)
{
	struct live *skels[N_WAYS] = {0};

	for (int way = 0; way < N_WAYS && loads[load].flows; way++) {
		skels[way] = generator(ways[way].to, loads[load].flows, way == MODULE_65K);
		way_enter(&all[way]);
		set_xdp(&all[way], skels[way]);
	}
	for (int round = -1; round < rounds; round++)
		for (int way = 0; way < N_WAYS; way++) {
			double one = turn(&ways[way], &all[way], &loads[load], skels[way]);

			if (round >= 0) /* the first one warms up, and makes the flows */
				ns[load][way][round] = one;
		}
	for (int way = 0; way < N_WAYS && loads[load].flows; way++) {
		way_enter(&all[way]);
		set_xdp(&all[way], NULL);
		live__destroy(skels[way]);
	}
}

/* Ours to another's, round by round: what drifts is in both. */
static double ratio(size_t load, enum way way, enum way to, int rounds, double range[2])
{
	double ratios[ROUNDS_MAX] = {0}, median;

	for (int round = 0; round < rounds; round++)
		ratios[round] = ns[load][way][round] / ns[load][to][round];
	median = bench_median(ratios, (size_t)rounds);
	range[0] = ratios[0];
	range[1] = ratios[rounds - 1];
	return median;
}

static void tell(size_t load, int rounds)
{
	const double *bed = ns[load][REDIRECT];
	double drift =
		median_of(bed + rounds / 2, (rounds + 1) / 2) / median_of(bed, (rounds + 1) / 2);

	printf("%s (from the first half to the second the bed drifted by %+.1f %%)\n",
	       loads[load].name, (drift - 1) * 100);
	for (int way = 0; way < N_WAYS; way++) {
		double median = median_of(ns[load][way], rounds), range[2];

		printf("  %-26s %6.0f ns, less the bed's %5.0f; module to it", ways[way].name,
		       median, median - median_of(bed, rounds));
		printf(" %.2f", ratio(load, MODULE, (enum way)way, rounds, range));
		printf(" (%.2f to %.2f)\n", range[0], range[1]);
	}
	fflush(stdout);
}

static void figures(int rounds)
{
	double range[2];

	for (size_t load = 0; load < ARRAY_SIZE(loads); load++)
		for (int way = 0; way < N_WAYS; way++)
			if (ways[way].figure && loads[load].suffix)
				printf("figure module-vs-%s%s %.2f x\n", ways[way].figure,
				       loads[load].suffix,
				       ratio(load, MODULE, (enum way)way, rounds, range));
	printf("figure module-slope-65k %.2f x\n", ratio(0, MODULE_65K, MODULE, rounds, range));
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 11;
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
	for (size_t load = 0; load < ARRAY_SIZE(loads); load++) {
		if (loads[load].answers && !loads[load - 1].answers)
			way_redirect_answers(&all[REDIRECT]);
		measure(all, load, rounds);
		tell(load, rounds);
	}
	figures(rounds);
	return 0;
}
