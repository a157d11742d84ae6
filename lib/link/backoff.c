// SPDX-License-Identifier: MIT
#include "link/backoff.h"

#include <sys/random.h>

void kk_backoff_reset(struct kk_backoff *backoff)
{
	backoff->us = KK_BACKOFF_FIRST_US;
}

uint64_t kk_backoff_next(struct kk_backoff *backoff)
{
	uint64_t wait = kk_backoff_jitter(backoff->us);

	backoff->us *= 2;
	if (backoff->us > KK_BACKOFF_LAST_US)
		backoff->us = KK_BACKOFF_LAST_US;
	return wait;
}

uint64_t kk_backoff_jitter(uint64_t us)
{
	uint64_t random = 0;

	/* Without randomness, which is no reason not to wait, it is the shortest time. */
	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
		random = 0;
	return us / 2 + random % (us / 2 + 1);
}
