/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The frame of live.bpf.c, whose skeleton needs the type. */
#ifndef KK_LIVE_FRAME_H
#define KK_LIVE_FRAME_H

#include <linux/if_ether.h>

#include <kk/core/types.h>

struct kk_live_frame {
	__u8 ethernet[ETH_HLEN];
	struct kk_ip4 ip;
	__be16 source, dest, len, check;
	__u8 payload[22];
} __attribute__((packed));

#endif
