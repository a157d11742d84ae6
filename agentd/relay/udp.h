/* SPDX-License-Identifier: MIT */
/*
 * UDP sessions: one per listener and client address, each with a connected socket of its own to the
 * target, so that the target's answers find their client. Ends by idling, or when
 * another needs the room and this one idled longest.
 */
#ifndef KK_AGENTD_RELAY_UDP_H
#define KK_AGENTD_RELAY_UDP_H

#include <stddef.h>
#include <stdint.h>

#include "agentd/relay/loop.h"
#include "agentd/relay/udp_table.h"

#define UDP_BATCH	 32    /* datagrams for one system call */
#define UDP_DATAGRAM	 65536 /* more than the longest payload, 65507 */
#define UDP_SESSIONS_MAX 16384
#define UDP_HELD_SESSION 8 /* datagrams kept while the target's name is looked up */
#define UDP_HELD_ALL	 256

struct relay;
struct listener;
struct udp_batch;

struct udp {
	struct relay *relay;
	struct udp_table table;
	struct udp_batch *batch; /* buffers, used by one call at a time */
	struct loop_timer idle_timer;
	int64_t idle_ms;
	unsigned int held;
	uint64_t dropped; /* datagrams that could not be passed on */
};

int udp_init(struct udp *udp, struct relay *relay, unsigned int max, int64_t idle_ms);
/* Ends every session. */
void udp_clean(struct udp *udp);
/* A listener's loop_io->ready. */
void udp_receive(struct loop_io *io, uint32_t events);
/* Ends the sessions of a listener that is no more. */
void udp_end_listener(struct listener *listener);

#endif
