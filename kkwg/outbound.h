/* SPDX-License-Identifier: MIT */
/*
 * From TUN to UDP: completes checksums, cuts super-packets into segments, seals each and sends them
 * in as few calls as possible. Segments are cut without a copy: the header of each is written over
 * the end of the one before, which is sealed already.
 *
 * What the interface holds is read at once, up to OUTBOUND_QUEUE packets. Long ones wait in line, one
 * is handled at a time; a short one goes before them unless they are of its own flow.
 */
#ifndef KKWG_OUTBOUND_H
#define KKWG_OUTBOUND_H

#include <stddef.h>
#include <stdint.h>

#include "kkwg/tun.h"
#include "kkwg/udp.h"
#include "wg/device.h"

#define OUTBOUND_ARENA (3 * 65536) /* sealed messages that wait for one sendmmsg() */

#define OUTBOUND_QUEUE 16   /* packets in line */
#define OUTBOUND_SHORT 2048 /* longest packet that may go before others */
#define OUTBOUND_READS 64   /* packets read in a row */

/* A packet that waits, or is being read. */
struct outbound_packet {
	tun_header hdr;
	uint32_t len;
	bool has_flow;
	struct wg_flow_key flow;
	uint8_t headroom[2 * WG_AEAD_HEADROOM];
	uint8_t data[TUN_PACKET_MAX + 1];
	uint8_t tailroom[WG_AEAD_TAILROOM];
};

struct outbound {
	struct wg_device *dev;
	void (*between)(void *ctx); /* as in struct inbound */
	/* Takes a packet for a peer of another device than @dev; never called where there is no other. */
	void (*elsewhere)(void *ctx, struct wg_peer *p, const struct outbound_packet *q);
	void *ctx;
	struct udp *udp;
	size_t mtu;		      /* of the interface, bytes; bounds the padding */
	unsigned int head, count;     /* of the line */
	uint8_t line[OUTBOUND_QUEUE]; /* which packet stands at each place */
	uint32_t busy;		      /* packets that stand in line, bit set */
	uint64_t last_short; /* when a short packet with content went out, or came in, ns */
	uint64_t last_bulk;  /* when a long one was, ns */
	unsigned int n;
	struct udp_send sends[UDP_SENDS];
	struct wg_peer *peers[UDP_SENDS];
	size_t used;
	uint8_t headroom[WG_AEAD_HEADROOM];
	uint8_t arena[OUTBOUND_ARENA];
	uint8_t tailroom[WG_AEAD_TAILROOM];
	/* One more than the line: it is read into. The lowest free one is taken, so that it is in the cache. */
	struct outbound_packet packets[OUTBOUND_QUEUE + 1];
};

/* Reads what the interface holds and sends the short packets of it. Returns 0, or -errno: look at it. */
int outbound_read(struct outbound *o, struct tun *t, uint64_t now);
/* Sends the first packets in line. Returns whether more wait. */
bool outbound_work(struct outbound *o, uint64_t now);
/*
 * Sends a packet that somebody else has read for @p, a peer of @o->dev. @data has as much room before and behind it as
 * that of struct outbound_packet, and is overwritten. outbound_flush() afterwards.
 */
void outbound_take(struct outbound *o, struct wg_peer *p, const tun_header *hdr, uint8_t *data,
		   size_t len, uint64_t now);
void outbound_flush(struct outbound *o, uint64_t now);

#endif
