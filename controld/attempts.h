/* SPDX-License-Identifier: MIT */
/*
 * How often something may fail for one who does it (an account, an address): a burst, then one for every
 * @refill_s. Bounded: with too many at once, the one that has failed least is forgotten.
 */
#ifndef KK_CONTROLD_ATTEMPTS_H
#define KK_CONTROLD_ATTEMPTS_H

#include <stdbool.h>
#include <stdint.h>

#define KK_ATTEMPTS_SLOTS 1024

struct kk_attempts {
	unsigned int burst, refill_s;
	uint64_t seed;
	struct kk_attempts_slot {
		uint64_t who;  /* hash, 0: free */
		int64_t until; /* when nothing will be left of it, CLOCK_MONOTONIC seconds */
	} slots[KK_ATTEMPTS_SLOTS];
};

/* @seed is random, so that nobody can choose whose slot he takes. */
void kk_attempts_init(struct kk_attempts *attempts, unsigned int burst, unsigned int refill_s,
		      uint64_t seed);
bool kk_attempts_allowed(const struct kk_attempts *attempts, const char *who);
void kk_attempts_failed(struct kk_attempts *attempts, const char *who);

#endif
