/* SPDX-License-Identifier: MIT */
/*
 * TCP super-packets, sent to an interface out of a ring that is shared with the kernel: it takes the pages as they are,
 * so that copying is not what is measured.
 */
#ifndef KK_GSO_RING_H
#define KK_GSO_RING_H

#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>

#include "tests/bench/live.h"

#define GSO_FRAMES   128
#define GSO_ROOM     32768
#define GSO_SEGMENT  1360
#define GSO_SEGMENTS 16

struct gso_ring {
	int fd;
	uint8_t *frames;
};

struct gso_packet {
	struct virtio_net_hdr virtio;
	uint8_t ethernet[ETH_HLEN];
	struct kk_ip4 ip;
	struct tcphdr tcp;
} __attribute__((packed));

static inline struct tpacket2_hdr *gso_slot(const struct gso_ring *ring, unsigned int i)
{
	return (struct tpacket2_hdr *)(void *)(ring->frames + (size_t)i * GSO_ROOM);
}

static inline void gso_fill(struct tpacket2_hdr *slot, uint32_t address, uint16_t port,
			    uint16_t source)
{
	struct kk_live_frame udp = live_frame(address, port);
	struct gso_packet packet = {
		.virtio = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
			   .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
			   .hdr_len = ETH_HLEN + sizeof(packet.ip) + sizeof(packet.tcp),
			   .gso_size = GSO_SEGMENT,
			   .csum_start = ETH_HLEN + sizeof(packet.ip),
			   .csum_offset = offsetof(struct tcphdr, check)},
		.ip = udp.ip,
		.tcp = {.source = htons(source),
			.dest = htons(port),
			.seq = htonl(1),
			.ack_seq = htonl(1),
			.doff = 5,
			.ack = 1,
			.window = htons(65535)},
	};
	const size_t len = sizeof(packet.ip) + sizeof(packet.tcp) + GSO_SEGMENT * GSO_SEGMENTS;
	uint32_t sum;

	memcpy(packet.ethernet, udp.ethernet, sizeof(packet.ethernet));
	packet.ip.protocol = IPPROTO_TCP;
	packet.ip.total = htons((uint16_t)len);
	packet.ip.check = 0;
	packet.ip.check = live_checksum(packet.ip);
	/* Of the pseudo header, for whoever completes it. */
	sum = (address >> 16) + (address & 0xffff) + 0xcb00 + 0x7107 + IPPROTO_TCP +
	      (uint32_t)(len - sizeof(packet.ip));
	sum = (sum & 0xffff) + (sum >> 16);
	packet.tcp.check = htons((uint16_t)((sum & 0xffff) + (sum >> 16)));
	memcpy((uint8_t *)slot + TPACKET2_HDRLEN - sizeof(struct sockaddr_ll), &packet,
	       sizeof(packet));
	slot->tp_len = (uint32_t)(sizeof(packet.virtio) + ETH_HLEN + len);
}

/* Out of the interface @ifname of this network namespace, to @address and @port of it. */
static inline struct gso_ring gso_ring_make(const char *ifname, uint32_t address, uint16_t port)
{
	const struct sockaddr_ll to = {.sll_family = AF_PACKET,
				       .sll_protocol = htons(ETH_P_IP),
				       .sll_ifindex = (int)if_nametoindex(ifname)};
	const struct tpacket_req req = {.tp_block_size = GSO_ROOM,
					.tp_block_nr = GSO_FRAMES,
					.tp_frame_size = GSO_ROOM,
					.tp_frame_nr = GSO_FRAMES};
	struct gso_ring ring = {.fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)};
	int version = TPACKET_V2, on = 1, room = 64 << 20;

	if (ring.fd < 0 ||
	    setsockopt(ring.fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) < 0 ||
	    setsockopt(ring.fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) < 0 ||
	    setsockopt(ring.fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) < 0 ||
	    setsockopt(ring.fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)) < 0 ||
	    setsockopt(ring.fd, SOL_PACKET, PACKET_TX_RING, &req, sizeof(req)) < 0 ||
	    bind(ring.fd, (const struct sockaddr *)&to, sizeof(to)) < 0)
		bench_die("a ring of packets on %s: %s", ifname, strerror(errno));
	ring.frames = mmap(NULL, (size_t)GSO_FRAMES * GSO_ROOM, PROT_READ | PROT_WRITE, MAP_SHARED,
			   ring.fd, 0);
	if (ring.frames == MAP_FAILED)
		bench_die("a ring of packets: %s", strerror(errno));
	for (unsigned int i = 0; i < GSO_FRAMES; i++)
		gso_fill(gso_slot(&ring, i), address, port, (uint16_t)(1024 + i % 4));
	return ring;
}

/* Marks all of them, and sends them. */
static inline void gso_ring_send(const struct gso_ring *ring)
{
	for (unsigned int i = 0; i < GSO_FRAMES; i++)
		__atomic_store_n(&gso_slot(ring, i)->tp_status, TP_STATUS_SEND_REQUEST,
				 __ATOMIC_RELEASE);
	if (send(ring->fd, NULL, 0, 0) < 0)
		bench_die("sending packets: %s", strerror(errno));
}

#endif
