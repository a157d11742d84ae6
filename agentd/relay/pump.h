/* SPDX-License-Identifier: MIT */
/*
 * One direction of a TCP connection: moves bytes from a socket through a pipe into another by splice(2),
 * so that they are not copied through this process. It reads only when everything that it read before
 * has gone out: a slow receiver thus slows its sender, and holds one pipe at most.
 */
#ifndef KK_AGENTD_RELAY_PUMP_H
#define KK_AGENTD_RELAY_PUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agentd/relay/pipes.h"

enum pump_state {
	PUMP_WAITS,  /* for @from to be readable (held is 0) or @to to be writable (held is not) */
	PUMP_MORE,   /* has done its share; there may be more to move at once */
	PUMP_DONE,   /* end of file passed on with shutdown(2) */
	PUMP_UNREAD, /* @to takes no more (error says why); what @from still sends is not wanted */
	PUMP_BROKEN, /* reading failed, error says why */
};

struct pump {
	int from, to; /* non-blocking sockets, not owned */
	struct pipe *pipe;
	size_t held;	/* bytes in the pipe */
	uint64_t bytes; /* written to @to so far */
	enum pump_state state;
	/*
	 * Reads until there is nothing left, because an event may have been missed or there will be none: true at first,
	 * and whenever @from was not looked at or has ended. Else what cannot have filled the pipe was all there
	 * was, and the next event tells of more.
	 */
	bool thorough;
	bool eof;
	int error; /* positive errno */
};

/* Moves what can be moved, up to a share that keeps other connections served; returns pump->state. */
enum pump_state pump_run(struct pump *pump, struct pipes *pipes);
/* Gives the pipe back, with or without bytes in it. */
void pump_clean(struct pump *pump, struct pipes *pipes);

static inline bool pump_ended(const struct pump *pump)
{
	return pump->state >= PUMP_DONE;
}

#endif
