// SPDX-License-Identifier: MIT
#include "bpf/wanted.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <linux/if_ether.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "kk_socket.skel.h"
#include "util/cleanup.h"

struct kk_wanted {
	uint32_t ifindex;
	struct kk_socket *skel;
};

void kk_wanted_close(struct kk_wanted *wanted)
{
	if (!wanted)
		return;
	kk_socket__destroy(wanted->skel);
	free(wanted);
}

static void wanted_freep(struct kk_wanted **wanted)
{
	kk_wanted_close(*wanted);
}

int kk_wanted_open(uint32_t ifindex, struct kk_wanted **ret, struct kk_err *err)
{
	KK_CLEANUP(wanted_freep) struct kk_wanted *wanted = calloc(1, sizeof(*wanted));

	if (!wanted)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	wanted->ifindex = ifindex;
	wanted->skel = kk_socket__open_and_load();
	if (!wanted->skel)
		return kk_err_set(err, errno, NULL,
				  "cannot look for sockets of the gateway's own: %s",
				  strerror(errno));
	*ret = KK_STEAL(wanted);
	return 0;
}

int kk_wanted_ask(struct kk_wanted *wanted, const struct kk_wanted_tuple *tuple, struct kk_err *err)
{
	/* The kernel wants a frame; the question is not in it. */
	uint8_t frame[ETH_HLEN + 1] = {0};
	struct __sk_buff ctx = {.ifindex = wanted->ifindex};
	struct bpf_test_run_opts opts = {
		.sz = sizeof(opts),
		.data_in = frame,
		.data_size_in = sizeof(frame),
		.ctx_in = &ctx,
		.ctx_size_in = sizeof(ctx),
	};

	wanted->skel->bss->kk_family = tuple->family;
	wanted->skel->bss->kk_protocol = tuple->protocol;
	wanted->skel->bss->kk_source = tuple->source;
	wanted->skel->bss->kk_dest = tuple->dest;
	wanted->skel->bss->kk_source_port = tuple->source_port;
	wanted->skel->bss->kk_dest_port = tuple->dest_port;
	if (bpf_prog_test_run_opts(bpf_program__fd(wanted->skel->progs.kk_wanted), &opts) < 0)
		return kk_err_set(err, errno, NULL,
				  "cannot look for a socket of the gateway's own: %s",
				  strerror(errno));
	return opts.retval != 0;
}
