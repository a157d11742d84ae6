/* SPDX-License-Identifier: MIT */
/* Sliding window over the counters of received packets (paper section 5.4.6, RFC 6479). */
#ifndef WG_REPLAY_H
#define WG_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#define WG_REPLAY_WORDS	 129 /* one word more than the window, so that it never wraps onto itself */
#define WG_REPLAY_WINDOW ((WG_REPLAY_WORDS - 1) * 64)

/* Zeroed memory is an empty window. */
struct wg_replay {
	uint64_t next; /* one above the highest counter accepted */
	uint64_t bits[WG_REPLAY_WORDS];
};

/* Whether @counter can still be accepted; changes nothing. */
bool wg_replay_may(const struct wg_replay *r, uint64_t counter);
/* Accepts @counter of an authenticated packet, once: false the second time, or when it is too old. */
bool wg_replay_accept(struct wg_replay *r, uint64_t counter);

#endif
