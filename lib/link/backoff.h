/* SPDX-License-Identifier: MIT */
/*
 * How long to wait before the next try: doubling from 0.5 s to 15 s, each wait anywhere in the upper half of
 * that, so that nodes that lost Control together do not come back together. Microseconds.
 */
#ifndef KK_LINK_BACKOFF_H
#define KK_LINK_BACKOFF_H

#include <stdint.h>

#define KK_BACKOFF_FIRST_US 500000ull
#define KK_BACKOFF_LAST_US  15000000ull

struct kk_backoff {
	uint64_t us;
};

void kk_backoff_reset(struct kk_backoff *backoff);
/* The wait before the next try. */
uint64_t kk_backoff_next(struct kk_backoff *backoff);
/* A random time of half @us to all of it. */
uint64_t kk_backoff_jitter(uint64_t us);

#endif
