/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The frame of drive.bpf.c, whose skeleton needs the type: TCP over IPv4. */
#ifndef KK_DRIVE_FRAME_H
#define KK_DRIVE_FRAME_H

#include <linux/if_ether.h>

#include <kk/core/types.h>

union kk_drive_frame {
	struct {
		__u8 ethernet[ETH_HLEN];
		struct kk_ip4 ip;
		__be16 source, dest; /* dest: 0, the driver fills it in */
		__be32 seq, ack;
		__u8 header, flags;
		__be16 window, check, urgent;
	} __attribute__((packed));
	__u8 bytes[ETH_HLEN + 40];
};

#endif
