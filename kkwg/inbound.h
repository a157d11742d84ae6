/* SPDX-License-Identifier: MIT */
/*
 * From UDP to TUN: takes received messages apart, opens each datagram, writes what comes out.
 *
 * What the sockets hold is taken out at once, up to INBOUND_QUEUE messages. Trains (messages of many
 * datagrams) wait in line, one is handled at a time; a single short datagram goes before them unless
 * they hold packets of its own flow. So a request does not wait behind somebody else's download, and
 * the order within a flow is kept. Standing queues are kept short by CoDel.
 */
#ifndef KKWG_INBOUND_H
#define KKWG_INBOUND_H

#include <stdbool.h>
#include <stdint.h>

#include "kkwg/coalesce.h"
#include "kkwg/codel.h"
#include "kkwg/udp.h"
#include "wg/device.h"

#define INBOUND_MESSAGE 65536	    /* largest received message, bytes */
#define INBOUND_ARENA	(2 * 65536) /* opened packets that wait for one write */
#define INBOUND_QUEUE	16	    /* messages in hand */
#define INBOUND_SHORT	2048	    /* longest message that may go before others */
#define INBOUND_FLOWS	4	    /* flows of a message that are told apart */
/*
 * Datagrams of UDP after which who receives them has a turn. A socket with a buffer of the usual size has room for 92 of
 * full size and 277 small ones, and nothing but the reader keeps it from running over.
 */
#define INBOUND_DATAGRAMS 64

/* A received message that waits. */
struct inbound_message {
	struct udp_received received;
	uint64_t since; /* when it was taken out of the socket, ns */
	unsigned int buffer;
	unsigned int flows; /* INBOUND_FLOWS + 1: too many to tell; valid once looked at */
	bool looked_at;
	struct wg_flow_key flow[INBOUND_FLOWS];
};

struct inbound {
	struct wg_device *dev;
	/* Called every KKWG_SLICE datagrams of a train, so that short packets need not wait for its end. */
	void (*between)(void *ctx);
	/* Takes what of a message is of another device than @dev; returns whether that is all. NULL: there is no other. */
	bool (*elsewhere)(void *ctx, const struct udp_received *r);
	void *ctx;
	struct coalesce coalesce;
	struct codel codel;
	bool junk; /* something without content came last: more of it may be between us and what counts */
	bool drop_one;		/* CoDel wants the next packet gone */
	bool delivered;		/* something that somebody waits for reached the interface */
	bool filled;		/* many datagrams did: somebody has to read them before more come */
	uint64_t last_delivery; /* when a short packet with content came in, or went out, ns */
	uint64_t last_bulk;	/* when a train was received, ns */
	uint64_t dropped;	/* packets that CoDel dropped or marked */
	unsigned int head, count;
	uint32_t busy_buffers; /* bit set */
	struct inbound_message queue[INBOUND_QUEUE];
	size_t used;
	uint8_t headroom[WG_AEAD_HEADROOM];
	uint8_t arena[INBOUND_ARENA];
	struct {
		uint8_t headroom[WG_AEAD_HEADROOM];
		uint8_t data[INBOUND_MESSAGE + WG_AEAD_TAILROOM];
	} buffers[INBOUND_QUEUE];
};

/* Takes in what @fd holds. Short datagrams may be handled at once. Returns whether there was anything. */
bool inbound_receive(struct inbound *in, int fd, uint64_t now);
/* Handles the first messages in line. Returns whether more wait. */
bool inbound_work(struct inbound *in, uint64_t now);
/*
 * Handles a message that somebody else has received. It has WG_AEAD_HEADROOM bytes in front and WG_AEAD_TAILROOM behind
 * that may be overwritten.
 */
void inbound_take(struct inbound *in, const struct udp_received *r, uint64_t now);

#endif
