// SPDX-License-Identifier: MIT
/*
 * What XDP programs take for a packet to a published port, net of an empty one: edge and forwarding in one with every
 * feature compiled in, the edge alone, and what the edge drops. Needs root.
 */
#include "drive.h"
#include "kk_xdp.skel.h"
#include "kk_xdp_forward.skel.h"

#define FEATURES (KK_FEATURE_CLOSED_PORTS | KK_FEATURE_SYN_COOKIES)

#define DENIED 10000

/*
 * Spread over all addresses (golden section, so that no two fall into one /16) and none about @source, but for the first, which is
 * beside it: a list tells the source by its /24, not by its /16.
 */
static struct kk_list deny_others(uint32_t source)
{
	static const uint8_t lens[] = {24, 32, 22, 24, 20, 32, 24, 16};
	struct kk_rule *rules = calloc(DENIED, sizeof(*rules));
	size_t n = 0;

	if (!rules)
		bench_die("out of memory");
	for (uint32_t i = 0; n < DENIED; i++) {
		uint8_t len = i ? lens[i % ARRAY_SIZE(lens)] : 24;
		uint32_t address =
			i ? i * 0x9e3779b1 & ~0U << (32 - len) : (source ^ 0x100) & 0xffffff00;

		if (i && address >> 16 == source >> 16)
			continue;
		rules[n++].prefix = (struct kk_prefix){
			.addr = {.family = AF_INET, .v4.s_addr = htonl(address)}, .len = len};
	}
	return (struct kk_list){.rules = rules, .n_rules = n};
}

/*
 * What the edge drops: a SYN to a closed port, with the look for a socket; any packet of a banned source, and of one on the
 * gateway's list of 10,000 prefixes.
 */
static double drops(const struct kk_xdp *skel)
{
	struct driver driver = drive_open(BPF_PROG_TYPE_XDP, XDP_DROP);
	union kk_drive_frame *frame = &driver.skel->data->kk_drive_frame;
	const struct kk_ban_entry ban = {
		.source = {.family = AF_INET, .v4.s_addr = frame->ip.source}};
	struct kk_list deny = deny_others(ntohl(frame->ip.source));
	int prog_fd = bpf_program__fd(skel->progs.kk_xdp);
	double result;

	frame->flags = DRIVE_SYN;
	drive_publish(skel->obj, 0, FEATURES);
	drive_net(&driver, "edge: SYN to a closed port", prog_fd, 1000, XDP_DROP);
	frame->flags = DRIVE_ACK;
	drive_fill(skel->obj, 1000, FEATURES, &deny, NULL);
	frame->ip.source ^= htonl(0x100);
	drive_net(&driver, "edge: packet of a denied source", prog_fd, 1000, XDP_DROP);
	frame->ip.source ^= htonl(0x100);
	drive_fill(skel->obj, 1000, FEATURES, NULL, &ban);
	result = drive_net(&driver, "edge: packet of a banned source", prog_fd, 1000, XDP_DROP);
	free((void *)deny.rules);
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
	const union kk_drive_frame *frame = &redirect.skel->data->kk_drive_frame;
	struct kk_list deny = deny_others(ntohl(frame->ip.source));
	double hot = 0, random = 0, denying;
	int both_fd, edge_fd;
	struct kk_xdp_forward *both;
	struct bpf_program *prog;
	struct kk_err err = {0};
	struct kk_xdp *edge;

	LOAD(both, kk_xdp_forward);
	LOAD(edge, kk_xdp);
	both_fd = bpf_program__fd(both->progs.kk_xdp_both);
	edge_fd = bpf_program__fd(edge->progs.kk_xdp);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		drive_publish(both->obj, sizes[i], FEATURES);
		drive_publish(edge->obj, sizes[i], FEATURES);
		printf("%u listeners\n", sizes[i]);
		hot = drive_net(&redirect, "edge and forwarding, hot", both_fd, 1, XDP_REDIRECT);
		random = drive_net(&redirect, "edge and forwarding, random", both_fd, sizes[i],
				   XDP_REDIRECT);
		drive_net(&pass, "edge alone, hot", edge_fd, 1, XDP_PASS);
		drive_net(&pass, "edge alone, random", edge_fd, sizes[i], XDP_PASS);
	}
	printf("%zu prefixes denied, one beside the source\n", deny.n_rules);
	drive_fill(both->obj, 1000, FEATURES, &deny, NULL);
	drive_fill(edge->obj, 1000, FEATURES, &deny, NULL);
	denying = drive_net(&redirect, "edge and forwarding, hot", both_fd, 1, XDP_REDIRECT);
	drive_net(&pass, "edge alone, hot", edge_fd, 1, XDP_PASS);
	free((void *)deny.rules);
	printf("figure xdp-ns-hot %.0f ns\n", hot);
	printf("figure xdp-ns-random-65k %.0f ns\n", random);
	printf("figure xdp-ns-hot-with-bans %.0f ns\n", denying);
	printf("figure xdp-drop-ns %.0f ns\n", drops(edge));
	kk_xdp_forward__destroy(both);
	kk_xdp__destroy(edge);
	drive_close(&redirect);
	drive_close(&pass);
	return 0;
}
