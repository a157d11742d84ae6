/* SPDX-License-Identifier: MIT */
/* Whether a socket of the gateway's own takes a packet, as the edge would find out: by the kernel's look-up, in BPF. */
#ifndef KK_BPF_WANTED_H
#define KK_BPF_WANTED_H

#include <stdint.h>

#include <kk/core/types.h>

#include "util/err.h"

struct kk_wanted;

struct kk_wanted_tuple {
	uint8_t family, protocol; /* KK_IP4 or KK_IP6; KK_TCP or KK_UDP */
	struct kk_in6 source, dest;
	__be16 source_port, dest_port;
};

/*
 * For packets that would come by @ifindex, in the network namespace of the caller; -EPERM without the right to run
 * programs.
 */
int kk_wanted_open(uint32_t ifindex, struct kk_wanted **ret, struct kk_err *err);
void kk_wanted_close(struct kk_wanted *wanted);
/* 1: one does, 0: none, or a negative errno. */
int kk_wanted_ask(struct kk_wanted *wanted, const struct kk_wanted_tuple *tuple,
		  struct kk_err *err);

#endif
