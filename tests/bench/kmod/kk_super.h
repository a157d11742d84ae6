/* SPDX-License-Identifier: GPL-2.0 */
/* What kk_super.ko is told to send, by a write to /dev/kk_super. */
#ifndef KK_BENCH_SUPER_H
#define KK_BENCH_SUPER_H

#include <linux/types.h>

#define KK_SUPER_SEGMENTS                                                                          \
	16		 /* of a super-packet, each in a fragment of its own, as GRO leaves them */
#define KK_SUPER_HEAD 54 /* Ethernet, IPv4 and TCP without options */

struct kk_super_order {
	__u32 ifindex; /* of the writer's network namespace */
	__u32 packets;
	__u16 segment; /* bytes of TCP's payload; 0: there is none, nor is it a super-packet */
	__u16 flows;   /* ports of the client, from that of the head on */
	__u16 received; /* they come in by the interface, which has no link header; 0: they leave by it */
	__u8 head[KK_SUPER_HEAD]; /* for a checksum of TCP that the device completes */
};

#endif
