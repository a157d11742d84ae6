/* SPDX-License-Identifier: MIT */
/*
 * Live frames of BPF_PROG_TEST_RUN: made by live.bpf.c in the calling thread, which also takes them through all that the kernel
 * does with them, so that its processor time is what they cost. They are made only for interfaces that take XDP natively, and
 * taken only by such.
 */
#ifndef KK_BENCH_LIVE_H
#define KK_BENCH_LIVE_H

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>

#include "bpf/tables.h"
#include "bench.h"
#include "tests/bench/live_frame.h"
#include "live.skel.h"

#ifndef BPF_F_TEST_XDP_LIVE_FRAMES
#define BPF_F_TEST_XDP_LIVE_FRAMES (1U << 1)
#endif

#define LIVE_ADDRESS 0xc6336401 /* 198.51.100.1 */
#define LIVE_CLIENT  0xcb007107 /* 203.0.113.7 */
#define LIVE_AGENT   0x0a010064 /* 10.1.0.100 */
#define LIVE_PORT    27015
#define LIVE_MAC     "02:00:00:00:00:01"

static const struct kk_settings live_settings = {
	.address4 = {KK_BE32(LIVE_ADDRESS)},
	.pool = KK_BE32(0x0a000000),
	.pool_mask = KK_BE32(0xff000000),
	.mtu = 1420,
};

static inline __be16 live_checksum(struct kk_ip4 ip)
{
	const uint16_t *word = (const void *)&ip;
	uint32_t sum = 0;

	for (size_t i = 0; i < sizeof(ip) / 2; i++)
		sum += word[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return (__be16) ~((sum & 0xffff) + (sum >> 16));
}

/* To @address, in host byte order; its UDP checksum is left out. */
static inline struct kk_live_frame live_frame(uint32_t address, uint16_t port)
{
	struct kk_live_frame frame = {
		.ethernet = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0},
		.ip = {.version_ihl = 0x45,
		       .total = KK_BE16(sizeof(frame) - ETH_HLEN),
		       .ttl = 64,
		       .protocol = KK_UDP,
		       .source = KK_BE32(LIVE_CLIENT),
		       .dest = KK_BE32(address)},
		.dest = KK_BE16(port),
		.len = KK_BE16(sizeof(frame) - ETH_HLEN - sizeof(frame.ip)),
	};

	frame.ip.check = live_checksum(frame.ip);
	return frame;
}

/* @frame from @flows ports to @ports, from its own on; the bare redirect goes to interface @sink. */
static inline struct live *live_load_frame(const struct kk_live_frame *frame, uint32_t flows,
					   uint32_t ports, uint32_t sink)
{
	struct live *skel = live__open();

	if (!skel)
		bench_die("the generator: %s", strerror(errno));
	skel->rodata->kk_live_frame = *frame;
	skel->rodata->kk_live_flows = flows;
	skel->rodata->kk_live_ports = ports;
	skel->rodata->kk_live_to = sink;
	if (live__load(skel) < 0)
		bench_die("loading the generator: %s", strerror(errno));
	return skel;
}

static inline struct live *live_load(uint32_t flows, uint32_t sink)
{
	const struct kk_live_frame frame = live_frame(LIVE_ADDRESS, LIVE_PORT);

	return live_load_frame(&frame, flows, 1, sink);
}

/* @frames of @generator leave by @ifindex. */
static inline void live_send(const struct bpf_program *generator, int ifindex, int frames)
{
	static uint8_t frame[sizeof(struct kk_live_frame)];
	struct xdp_md ctx = {.data_end = sizeof(frame), .ingress_ifindex = (uint32_t)ifindex};
	struct bpf_test_run_opts opts = {
		.sz = sizeof(opts),
		.data_in = frame,
		.data_size_in = sizeof(frame),
		.ctx_in = &ctx,
		.ctx_size_in = sizeof(ctx),
		.repeat = frames,
		.flags = BPF_F_TEST_XDP_LIVE_FRAMES,
	};

	if (bpf_prog_test_run_opts(bpf_program__fd(generator), &opts) < 0)
		bench_die("live frames: %s", strerror(errno));
}

/* Packets that @ifname has received. */
static inline uint64_t live_received(const char *ifname)
{
	FILE *f = fopen("/proc/thread-self/net/dev", "re");
	unsigned long long bytes, packets = 0;
	char line[512], format[64];

	if (!f)
		bench_die("/proc/thread-self/net/dev: %s", strerror(errno));
	snprintf(format, sizeof(format), " %s: %%llu %%llu", ifname);
	while (fgets(line, sizeof(line), f)) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		if (sscanf(line, format, &bytes, &packets) == 2)
			break;
#pragma GCC diagnostic pop
	}
	fclose(f);
	return packets;
}

#define LIVE_TCX 46 /* linux/bpf.h from Linux 6.6 on: BPF_TCX_INGRESS */

/* At tcx, as the data plane's own loader does; false: the kernel has none. */
static inline bool live_set_tcx(int ifindex, int prog_fd)
{
	__u32 id = 0, n = 1;
	int old_fd;

	if (bpf_prog_query(ifindex, LIVE_TCX, 0, NULL, &id, &n) < 0)
		return false;
	old_fd = n ? bpf_prog_get_fd_by_id(id) : -1;
	if (old_fd >= 0) {
		bpf_prog_detach2(old_fd, ifindex, LIVE_TCX);
		close(old_fd);
	}
	if (prog_fd >= 0 && bpf_prog_attach(prog_fd, ifindex, LIVE_TCX, 0) < 0)
		bench_die("tcx: %s", strerror(errno));
	return true;
}

/* Else at clsact, which is there. A negative @prog_fd: none. */
static inline void live_set_tc(int ifindex, int prog_fd)
{
	struct bpf_tc_hook hook = {
		.sz = sizeof(hook), .ifindex = ifindex, .attach_point = BPF_TC_INGRESS};
	struct bpf_tc_opts opts = {.sz = sizeof(opts), .handle = 1, .priority = 1};

	if (live_set_tcx(ifindex, prog_fd))
		return;
	bpf_tc_detach(&hook, &opts);
	if (prog_fd < 0)
		return;
	opts = (struct bpf_tc_opts){
		.sz = sizeof(opts), .handle = 1, .priority = 1, .prog_fd = prog_fd};
	if (bpf_tc_attach(&hook, &opts) < 0)
		bench_die("tc: %s", strerror(errno));
}

/* NULL: none. */
static inline void live_set_xdp(int ifindex, const struct bpf_program *prog)
{
	if (bpf_xdp_attach(ifindex, prog ? bpf_program__fd(prog) : -1, XDP_FLAGS_DRV_MODE, NULL) <
	    0)
		bench_die("XDP on a veth: %s", strerror(errno));
}

#endif
