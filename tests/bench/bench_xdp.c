// SPDX-License-Identifier: MIT
/*
 * What XDP programs take for a packet to a published port, net of an empty one: edge and forwarding in one with every
 * feature compiled in, the edge alone, and what the edge drops. Needs root.
 */
#include "drive.h"
#include "kk_xdp.skel.h"
#include "kk_xdp_forward.skel.h"

#define FEATURES (KK_FEATURE_CLOSED_PORTS | KK_FEATURE_SYN_COOKIES)

static void ban(struct bpf_object *obj, uint32_t source)
{
	const struct kk_ban_key key = {.address = {.word = {0, 0, htonl(0xffff), source}}};
	const uint64_t until = UINT64_MAX, features = FEATURES | KK_FEATURE_BANS;
	const uint32_t zero = 0;

	if (bpf_map_update_elem(bpf_object__find_map_fd_by_name(obj, "kk_bans"), &key, &until, 0) <
		    0 ||
	    bpf_map_update_elem(bpf_object__find_map_fd_by_name(obj, "kk_features"), &zero,
				&features, 0) < 0)
		bench_die("a ban: %s", strerror(errno));
}

/* What the edge drops: a SYN to a closed port, with the look for a socket; any packet of a banned source. */
static double drops(const struct kk_xdp *skel)
{
	struct driver driver = drive_open(BPF_PROG_TYPE_XDP, XDP_DROP);
	struct kk_drive_frame *frame = &driver.skel->data->kk_drive_frame;
	int prog_fd = bpf_program__fd(skel->progs.kk_xdp);
	double result;

	frame->flags = DRIVE_SYN;
	drive_publish(skel->obj, 0, FEATURES);
	drive_net(&driver, "edge: SYN to a closed port", prog_fd, 1000, XDP_DROP);
	frame->flags = DRIVE_ACK;
	drive_publish(skel->obj, 1000, FEATURES);
	ban(skel->obj, frame->ip.source);
	result = drive_net(&driver, "edge: packet of a banned source", prog_fd, 1000, XDP_DROP);
	drive_close(&driver);
	return result;
}

#define LOAD(skel, prefix)                                                                         \
	do {                                                                                       \
		(skel) = prefix##__open();                                                         \
		if (!(skel))                                                                       \
			bench_die("the programs: %s", strerror(errno));                            \
		(skel)->rodata->kk_settings = drive_settings;                                      \
		(skel)->rodata->kk_edge_settings =                                                 \
			(struct kk_edge_settings){.syn_rate = 10000, .ephemeral = 32768};          \
		(skel)->rodata->kk_tunnel_ifindex = 1;                                             \
		/* The driver takes frames of several buffers or none. */                          \
		bpf_object__for_each_program(prog, (skel)->obj)                                    \
		{                                                                                  \
			bpf_program__set_flags(prog, BPF_F_XDP_HAS_FRAGS);                         \
		}                                                                                  \
		if (kk_tables_size((skel)->obj, 1, &err) < 0)                                      \
			bench_die("%s", err.msg);                                                  \
		if (prefix##__load(skel) < 0)                                                      \
			bench_die("loading the programs: %s", strerror(errno));                    \
	} while (0)

int main(void)
{
	static const uint32_t sizes[] = {1, 1000, 65535};
	struct driver redirect = drive_open(BPF_PROG_TYPE_XDP, XDP_REDIRECT);
	struct driver pass = drive_open(BPF_PROG_TYPE_XDP, XDP_PASS);
	double hot = 0, random = 0;
	struct kk_xdp_forward *both;
	struct bpf_program *prog;
	struct kk_err err = {0};
	struct kk_xdp *edge;

	LOAD(both, kk_xdp_forward);
	LOAD(edge, kk_xdp);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		int both_fd = bpf_program__fd(both->progs.kk_xdp_both);
		int edge_fd = bpf_program__fd(edge->progs.kk_xdp);

		drive_publish(both->obj, sizes[i], FEATURES);
		drive_publish(edge->obj, sizes[i], FEATURES);
		printf("%u listeners\n", sizes[i]);
		hot = drive_net(&redirect, "edge and forwarding, hot", both_fd, 1, XDP_REDIRECT);
		random = drive_net(&redirect, "edge and forwarding, random", both_fd, sizes[i],
				   XDP_REDIRECT);
		drive_net(&pass, "edge alone, hot", edge_fd, 1, XDP_PASS);
		drive_net(&pass, "edge alone, random", edge_fd, sizes[i], XDP_PASS);
	}
	printf("figure xdp-ns-hot %.0f ns\n", hot);
	printf("figure xdp-ns-random-65k %.0f ns\n", random);
	printf("figure xdp-drop-ns %.0f ns\n", drops(edge));
	kk_xdp_forward__destroy(both);
	kk_xdp__destroy(edge);
	drive_close(&redirect);
	drive_close(&pass);
	return 0;
}
