/* SPDX-License-Identifier: MIT */
/*
 * Nanoseconds that a program takes for one packet, net of an empty program, under BPF_PROG_TEST_RUN. Both are called by
 * drive.bpf.c, which writes each packet anew, to a random one of the published ports: what the kernel does around a test run
 * and what it takes to make the packets is in both and so in neither. Both take turns; of each round the difference counts,
 * of all rounds the median, and the range says how far to trust it.
 */
#ifndef KK_BENCH_DRIVE_H
#define KK_BENCH_DRIVE_H

#include <arpa/inet.h>
#include <errno.h>
#include <unistd.h>
#include <bpf/bpf.h>

#include "bench.h"
#include "bpf/bans.h"
#include "bpf/tables.h"
#include "tests/bench/drive_frame.h"
#include "util/cleanup.h"
#include "drive.skel.h"

#define DRIVE_ADDRESS 0xc6336401 /* 198.51.100.1 */
#define DRIVE_AGENTS  0x0a000064 /* 10.0.0.100, 10.0.1.100 ... */
#define DRIVE_REPEAT  400000
#define DRIVE_ROUNDS  15
#define DRIVE_ACK     0x10
#define DRIVE_SYN     0x02

static const struct kk_settings drive_settings = {
	.address4 = {KK_BE32(DRIVE_ADDRESS)},
	.pool = KK_BE32(0x0a000000),
	.pool_mask = KK_BE32(0xff000000),
	.mtu = 1420,
};

struct driver {
	struct drive *skel;
	int driver_fd, empty_fd;
};

/* For programs of @type; the empty one returns @action. */
static inline struct driver drive_open(enum bpf_prog_type type, int action)
{
	bool xdp = type == BPF_PROG_TYPE_XDP;
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = action},
		{.code = BPF_JMP | BPF_EXIT},
	};
	struct bpf_prog_load_opts opts = {.sz = sizeof(opts),
					  .expected_attach_type = xdp ? BPF_XDP : 0,
					  .prog_flags = xdp ? BPF_F_XDP_HAS_FRAGS : 0};
	struct driver d = {.skel = drive__open()};

	if (!d.skel)
		bench_die("the driver: %s", strerror(errno));
	bpf_program__set_autoload(xdp ? d.skel->progs.kk_drive_tc : d.skel->progs.kk_drive_xdp,
				  false);
	if (drive__load(d.skel) < 0)
		bench_die("loading the driver: %s", strerror(errno));
	d.driver_fd = bpf_program__fd(xdp ? d.skel->progs.kk_drive_xdp : d.skel->progs.kk_drive_tc);
	d.empty_fd = bpf_prog_load(type, "empty", "MIT", insns, 2, &opts);
	if (d.empty_fd < 0)
		bench_die("the empty program: %s", strerror(errno));
	d.skel->data->kk_drive_frame = (union kk_drive_frame){
		.ethernet = {[12] = ETH_P_IP >> 8},
		.ip = {.version_ihl = 0x45,
		       .total = KK_BE16(sizeof(union kk_drive_frame) - ETH_HLEN),
		       .ttl = 64,
		       .protocol = KK_TCP,
		       .source = KK_BE32(0xcb007107),
		       .dest = KK_BE32(DRIVE_ADDRESS)},
		.source = KK_BE16(40000),
		.header = 0x50,
		.flags = DRIVE_ACK,
	};
	return d;
}

static inline void drive_close(struct driver *d)
{
	close(d->empty_fd);
	drive__destroy(d->skel);
}

static inline double drive_run(const struct driver *d, int prog_fd, uint32_t action)
{
	union kk_drive_frame frame = d->skel->data->kk_drive_frame;
	struct bpf_test_run_opts opts = {
		.sz = sizeof(opts),
		.data_in = &frame,
		.data_size_in = sizeof(frame),
		.repeat = DRIVE_REPEAT,
	};
	const uint32_t zero = 0;

	if (bpf_map_update_elem(bpf_map__fd(d->skel->maps.kk_drive_to), &zero, &prog_fd, 0) < 0)
		bench_die("the driver cannot call the program: %s", strerror(errno));
	if (bpf_prog_test_run_opts(d->driver_fd, &opts) < 0)
		bench_die("BPF_PROG_TEST_RUN: %s", strerror(errno));
	if (opts.retval != action)
		bench_die("action %u, not %u", opts.retval, action);
	return opts.duration;
}

/* To random ones of the ports from 1 to @ports; the program has to answer @action, as the empty one does. */
static inline double drive_net(const struct driver *d, const char *what, int prog_fd,
			       uint32_t ports, uint32_t action)
{
	double rounds[DRIVE_ROUNDS], result;

	d->skel->data->kk_drive_ports = ports;
	for (int i = 0; i < DRIVE_ROUNDS; i++) {
		double empty = drive_run(d, d->empty_fd, action);

		rounds[i] = drive_run(d, prog_fd, action) - empty;
	}
	result = bench_median(rounds, DRIVE_ROUNDS);
	printf("%-40s %5u ports %4.0f ns (%.0f to %.0f)\n", what, ports, result, rounds[0],
	       rounds[DRIVE_ROUNDS - 1]);
	return result;
}

/*
 * @n services, at TCP ports 1 to @n, of as many Agents as there are /24 in the pool up to 65536; the gateway denies what is on
 * @deny and @banned, unless they are NULL.
 */
static inline void drive_fill(struct bpf_object *obj, uint32_t n, uint64_t features,
			      const struct kk_list *deny, const struct kk_ban_entry *banned)
{
	struct kk_listener *list = calloc(n ? n : 1, sizeof(*list));
	struct kk_datapath_tables wanted = {
		.n_listeners = n, .lists = deny, .n_lists = deny ? 1 : 0};
	struct kk_tables tables;
	struct kk_err err = {0};

	if (!list)
		bench_die("out of memory");
	for (uint32_t i = 0; i < n; i++)
		list[i] = (struct kk_listener){
			.protocol = IPPROTO_TCP,
			.address = {.family = AF_INET, .v4.s_addr = htonl(DRIVE_ADDRESS)},
			.port = (uint16_t)(i + 1),
			.agent_address.s_addr = htonl(DRIVE_AGENTS + (i << 8)),
			.agent_port = (uint16_t)(i + 1),
			.service = i + 1,
		};
	if (kk_tables_init(&tables, obj, &err) < 0)
		bench_die("%s", err.msg);
	tables.settings = drive_settings;
	wanted.listeners = list;
	if (kk_tables_set(&tables, &wanted, &err) < 0 ||
	    (banned && kk_bans_put(&tables, banned, 1, &err) < 0))
		bench_die("%s", err.msg);
	kk_tables_feature(&tables, KK_FEATURE_BANS, banned);
	kk_tables_feature(&tables, features, true);
	kk_tables_clean(&tables);
	free(list);
}

static inline void drive_publish(struct bpf_object *obj, uint32_t n, uint64_t features)
{
	drive_fill(obj, n, features, NULL, NULL);
}

#endif
