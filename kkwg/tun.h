/* SPDX-License-Identifier: MIT */
/*
 * The TUN interface: packets in and out, each with a virtio header that says what offload it needs.
 * The descriptor stays good when the interface moves to another network namespace.
 */
#ifndef KKWG_TUN_H
#define KKWG_TUN_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include <linux/virtio_net.h>

#include "util/err.h"

/* Newer than the headers of Debian 12. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

#define TUN_MTU 1420
/*
 * Packets that the interface holds for us. Nothing slows down a program that sends UDP: on a kernel that does not preempt,
 * it sends so many before the next tick, while we wait for its processor.
 */
#define TUN_QUEUE      1000
#define TUN_PACKET_MAX 65535

typedef struct virtio_net_hdr tun_header;

struct tun {
	int fd;
	char name[IFNAMSIZ];
	uint32_t ifindex; /* in the namespace that we started in */
	bool vnet;	  /* packets have a virtio header */
	bool tso, uso;	  /* what the kernel agreed to */
};

/* Creates @name (MTU 1420, down), or attaches to it where it exists without a user. 0 or -errno. */
int tun_open(struct tun *t, const char *name, struct kk_err *err);
/*
 * The same with a queue for each of @n threads, an array. Where the interface can have one only, *@ret_n is 1.
 */
int tun_open_queues(struct tun *t, unsigned int n, const char *name, unsigned int *ret_n,
		    struct kk_err *err);
void tun_close(struct tun *t);

/*
 * Reads one packet to @data of @max bytes; sizeof(tun_header) bytes in front of it are overwritten.
 * Without a virtio header in the device *@hdr is zeroed. Returns the packet's length, -EAGAIN, or
 * another -errno: the interface is gone.
 */
int tun_read(struct tun *t, tun_header *hdr, uint8_t *data, size_t max);
/*
 * Writes one packet in @n pieces; sizeof(tun_header) bytes in front of the first are overwritten, and
 * the first piece is changed. Returns 0 or -errno: -EIO while the interface is down.
 */
int tun_write(struct tun *t, const tun_header *hdr, struct iovec *iov, int n);

/*
 * Lets the kernel build super-packets of at most @segments, so that each becomes one send. Where that
 * is refused, or the interface is in another namespace, they are cut in two.
 */
#define TUN_SEGMENTS_MAX 65535 /* what an interface begins with */
void tun_set_segments(const struct tun *t, uint32_t segments);

enum tun_state {
	TUN_DOWN,
	TUN_UP,
	TUN_GONE,
};
/* Works wherever the interface is: asks the descriptor, not the namespace. */
enum tun_state tun_state(const struct tun *t);

#endif
