/* SPDX-License-Identifier: MIT */
/*
 * The two UDP sockets of a tunnel (IPv4 and IPv6, one port), with segmentation offload both ways where
 * the kernel has it, and the source address of answers kept.
 */
#ifndef KKWG_UDP_H
#define KKWG_UDP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/err.h"
#include "wg/endpoint.h"

#define UDP_PAYLOAD_MAX 65507 /* bytes of one send, all segments together */
#define UDP_SEGMENTS	64    /* of one send, at most; what every kernel with UDP_SEGMENT takes */
#define UDP_BATCH	16    /* messages of one recvmmsg() */
#define UDP_SENDS	64    /* messages of one sendmmsg() */
#define KKWG_RUN	(32 << 10) /* bytes in line after which the other direction has its turn */
/*
 * The same where nobody is in a hurry. What the other end's TCP acknowledges of so much then goes out by one send, and
 * comes in by one wake-up.
 */
#define KKWG_RUN_BULK (256 << 10)
#define KKWG_SLICE    16 /* datagrams that are handled in a row, about 15 us */
/*
 * How long one short packet with content lets us expect another, ns. Before that, nothing is taken in
 * early: what is copied long before its turn is out of the cache when that comes.
 */
#define KKWG_SHORT_MEMORY 100000000ull
#define KKWG_EMPTY_ACK                                                                             \
	80 /* bytes of an empty TCP acknowledgement, at most: nobody waits for those */
/*
 * Bytes from which a packet is a part of something longer, and no question or answer: what TCP cuts a stream into on
 * any path, and the least first datagram of QUIC (RFC 9000 section 14.1).
 */
#define KKWG_FULL     1200
#define KKWG_AHEAD    4		/* super-packets that are taken in where nobody is in a hurry */
#define UDP_GSO_PAUSE 10000	/* sends that go without segmentation once it was refused */
#define UDP_BUFFER    (8 << 20) /* of each socket, bytes */

struct udp {
	int fd4, fd6;  /* fd6 is -1 where the kernel has no IPv6 */
	uint16_t port; /* host byte order */
	uint32_t mark;
	bool gso, gro;
	uint32_t
		gso_pause; /* sends until segmenting is tried again; 0 where it was never refused */
	bool gso_warned;
};

/*
 * Opens both sockets on @port (0: the kernel picks) with @mark. Returns 0 or -errno (-EADDRINUSE), *@u
 * untouched on failure.
 */
int udp_open(struct udp *u, uint16_t port, uint32_t mark, struct kk_err *err);
/* Opens sockets beside those of @first, which let others share their port. Returns 0 or -errno. */
int udp_join(struct udp *u, const struct udp *first);
void udp_close(struct udp *u);
int udp_set_mark(struct udp *u, uint32_t mark);

/* Datagrams of one size to one place. All but the last are @segment bytes long, the last not longer. */
struct udp_send {
	/* Its source is forgotten where it turns out not to be ours any more. */
	struct wg_endpoint *to;
	uint8_t *data;
	uint32_t len; /* all together */
	uint16_t segment;
	uint16_t count;
	uint8_t ecn;
};

/* Sends what can be sent; what cannot is dropped. @n is at most UDP_SENDS. */
void udp_send(struct udp *u, struct udp_send *batch, unsigned int n);

/* One received message: datagrams of @segment bytes one after another, the last perhaps shorter. */
struct udp_received {
	struct wg_endpoint from; /* with our address as source */
	uint8_t *data;		 /* set by the caller, along with @max */
	uint32_t max;
	uint32_t len;
	uint32_t segment;
	uint8_t ecn;
};

/* Fills in at most @n messages (UDP_BATCH at most) from @fd. Returns how many, or -errno (-EAGAIN). */
int udp_receive(int fd, struct udp_received *batch, unsigned int n);

#endif
