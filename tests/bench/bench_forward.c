// SPDX-License-Identifier: MIT
/* What the tc program at the public interface takes for a packet to a published port, net of an empty one. Needs root. */
#include <linux/pkt_cls.h>

#include "drive.h"
#include "bpf/summed.h"
#include "kk_tc.skel.h"

int main(void)
{
	static const uint32_t sizes[] = {1, 1000, 65535};
	struct driver driver = drive_open(BPF_PROG_TYPE_SCHED_CLS, TC_ACT_REDIRECT);
	struct kk_tc *skel = kk_tc__open();
	double hot = 0, random = 0;
	struct kk_err err = {0};

	if (!skel)
		bench_die("the programs: %s", strerror(errno));
	skel->rodata->kk_settings = drive_settings;
	skel->rodata->kk_tunnel_ifindex = 1;
	skel->data->kk_edge_here = 0; /* XDP does that part */
	if (kk_tables_size(skel->obj, 1, &err) < 0)
		bench_die("%s", err.msg);
	skel->rodata->kk_skb_summed = kk_summed_prepare(skel->obj);
	if (kk_tc__load(skel) < 0)
		bench_die("loading the programs: %s", strerror(errno));
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		int prog_fd = bpf_program__fd(skel->progs.kk_tc_public);

		drive_publish(skel->obj, sizes[i], 0);
		printf("%u listeners\n", sizes[i]);
		hot = drive_net(&driver, "tc, hot", prog_fd, 1, TC_ACT_REDIRECT);
		random = drive_net(&driver, "tc, random", prog_fd, sizes[i], TC_ACT_REDIRECT);
	}
	printf("figure tc-ns-hot %.0f ns\n", hot);
	printf("figure tc-ns-random-65k %.0f ns\n", random);
	kk_tc__destroy(skel);
	drive_close(&driver);
	return 0;
}
