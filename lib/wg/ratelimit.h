/* SPDX-License-Identifier: MIT */
/* Token buckets for handshakes of each source (paper section 5.3): a fixed table, nothing to exhaust. */
#ifndef WG_RATELIMIT_H
#define WG_RATELIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "wg/endpoint.h"
#include "wg/siphash.h"

struct wg_bucket {
	uint64_t last;	 /* when it was last refilled, ns */
	uint64_t tokens; /* in ns of waiting that they stand for */
};

/* @rate a second, at most @burst at once. Returns whether one more is allowed. Zeroed memory is full. */
bool wg_bucket_take(struct wg_bucket *b, uint64_t now, uint64_t rate, uint64_t burst);

#define WG_RATELIMIT_SLOTS 1024

/* Sources share a slot by chance only, since the hash is keyed. */
struct wg_ratelimit {
	struct wg_siphash_key key;
	struct wg_bucket slots[WG_RATELIMIT_SLOTS];
};

/* One IPv4 address, or one IPv6 /64, is a source. */
bool wg_ratelimit_allow(struct wg_ratelimit *r, const struct wg_endpoint *from, uint64_t now);

#endif
