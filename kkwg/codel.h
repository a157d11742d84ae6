/* SPDX-License-Identifier: MIT */
/*
 * Keeps a queue short whose senders react to loss (CoDel, RFC 8289): once everything waited longer than
 * the target for a whole interval, one packet is dropped or marked, then one more often each time
 * until the queue is short again.
 */
#ifndef KKWG_CODEL_H
#define KKWG_CODEL_H

#include <stdbool.h>
#include <stdint.h>

/* Far below those of RFC 8289, since the queue is inside one machine. ns */
#define CODEL_TARGET   120000ull
#define CODEL_INTERVAL 10000000ull

/* Zeroed memory is a queue that was short so far. */
struct codel {
	/* When waiting first exceeded the target, plus an interval; 0: it does not. */
	uint64_t above_since;
	uint64_t drop_next;
	uint32_t count; /* drops of this phase */
	bool dropping;
};

/* Something that waited for @sojourn ns leaves the queue at @now. Returns whether to drop or mark. */
bool codel_should_drop(struct codel *c, uint64_t sojourn, uint64_t now);

#endif
