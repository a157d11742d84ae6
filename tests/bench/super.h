/* SPDX-License-Identifier: MIT */
/* TCP super-packets, sent by a kernel module of the benchmark (kmod/kk_super.c), in the datagrams' place (live.h). */
#ifndef KK_SUPER_H
#define KK_SUPER_H

#include <fcntl.h>
#include <netinet/tcp.h>

#include "tests/bench/kmod/kk_super.h"
#include "tests/bench/live.h"

#define SUPER_SEGMENT 1360
#define SUPER_FLOWS   4

struct super_head {
	uint8_t ethernet[ETH_HLEN];
	struct kk_ip4 ip;
	struct tcphdr tcp;
} __attribute__((packed));
_Static_assert(sizeof(struct super_head) == KK_SUPER_HEAD, "what the module wants");

static inline struct super_head super_head(uint32_t address, uint16_t port)
{
	const struct kk_live_frame udp = live_frame(address, port);
	struct super_head head = {
		.ip = udp.ip,
		.tcp = {.source = htons(1024),
			.dest = htons(port),
			.seq = htonl(1),
			.ack_seq = htonl(1),
			.doff = 5,
			.ack = 1,
			.window = htons(65535)},
	};
	const size_t len = sizeof(head.tcp) + SUPER_SEGMENT * KK_SUPER_SEGMENTS;
	uint32_t sum;

	memcpy(head.ethernet, udp.ethernet, sizeof(head.ethernet));
	head.ip.protocol = IPPROTO_TCP;
	head.ip.total = htons((uint16_t)(sizeof(head.ip) + len));
	head.ip.check = 0;
	head.ip.check = live_checksum(head.ip);
	/* Of the pseudo header, for whoever completes it. */
	sum = (address >> 16) + (address & 0xffff) + (LIVE_CLIENT >> 16) + (LIVE_CLIENT & 0xffff) +
	      IPPROTO_TCP + (uint32_t)len;
	sum = (sum & 0xffff) + (sum >> 16);
	head.tcp.check = htons((uint16_t)((sum & 0xffff) + (sum >> 16)));
	return head;
}

/* @n of them out of interface @ifindex of this network namespace, to @address and @port of it. */
static inline void super_send(uint32_t ifindex, uint32_t address, uint16_t port, uint32_t n)
{
	static int fd = -1;
	const struct super_head head = super_head(address, port);
	struct kk_super_order order = {
		.ifindex = ifindex, .packets = n, .segment = SUPER_SEGMENT, .flows = SUPER_FLOWS};

	memcpy(order.head, &head, sizeof(order.head));
	if (fd < 0)
		fd = open("/dev/kk_super", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, &order, sizeof(order)) != sizeof(order))
		bench_die("/dev/kk_super: %s", strerror(errno));
}

#endif
