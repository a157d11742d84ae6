/* SPDX-License-Identifier: MIT */
/* TCP packets, made by a kernel module of the benchmark (kmod/kk_super.c) as live.h has datagrams made. */
#ifndef KK_SUPER_H
#define KK_SUPER_H

#include <fcntl.h>
#include <stdbool.h>
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

/* From port @source of @from to @dest of @to, with @payload bytes. */
static inline struct super_head super_head(uint32_t from, uint16_t source, uint32_t to,
					   uint16_t dest, size_t payload)
{
	const struct kk_live_frame udp = live_frame(to, dest);
	struct super_head head = {
		.ip = udp.ip,
		.tcp = {.source = htons(source),
			.dest = htons(dest),
			.seq = htonl(1),
			.ack_seq = htonl(1),
			.doff = 5,
			.ack = 1,
			.window = htons(65535)},
	};
	const size_t len = sizeof(head.tcp) + payload;
	uint32_t sum;

	memcpy(head.ethernet, udp.ethernet, sizeof(head.ethernet));
	head.ip.source = htonl(from);
	head.ip.protocol = IPPROTO_TCP;
	head.ip.total = htons((uint16_t)(sizeof(head.ip) + len));
	head.ip.check = 0;
	head.ip.check = live_checksum(head.ip);
	/* Of the pseudo header, for whoever completes it. */
	sum = (from >> 16) + (from & 0xffff) + (to >> 16) + (to & 0xffff) + IPPROTO_TCP +
	      (uint32_t)len;
	sum = (sum & 0xffff) + (sum >> 16);
	head.tcp.check = htons((uint16_t)((sum & 0xffff) + (sum >> 16)));
	return head;
}

static inline void super_order(struct kk_super_order *order, const struct super_head *head)
{
	static int fd = -1;

	memcpy(order->head, head, sizeof(order->head));
	if (fd < 0)
		fd = open("/dev/kk_super", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, order, sizeof(*order)) != sizeof(*order))
		bench_die("/dev/kk_super: %s", strerror(errno));
}

/* @n super-packets of the client's out of interface @ifindex of this network namespace, to @address. */
static inline void super_send(uint32_t ifindex, uint32_t address, uint32_t n)
{
	const struct super_head head = super_head(LIVE_CLIENT, 1024, address, LIVE_PORT,
						  SUPER_SEGMENT * KK_SUPER_SEGMENTS);
	struct kk_super_order order = {
		.ifindex = ifindex, .packets = n, .segment = SUPER_SEGMENT, .flows = SUPER_FLOWS};

	super_order(&order, &head);
}

/* @n answers of @agent's to those, in by interface @ifindex: super-packets, or segments with nothing in them. */
static inline void super_receive(uint32_t ifindex, uint32_t agent, uint32_t n, bool super)
{
	const size_t segment = super ? SUPER_SEGMENT : 0;
	const struct super_head head =
		super_head(agent, LIVE_PORT, LIVE_CLIENT, 1024, segment * KK_SUPER_SEGMENTS);
	struct kk_super_order order = {.ifindex = ifindex,
				       .packets = n,
				       .segment = (uint16_t)segment,
				       .flows = SUPER_FLOWS,
				       .received = 1};

	super_order(&order, &head);
}

#endif
