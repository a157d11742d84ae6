/* SPDX-License-Identifier: MIT */
/*
 * Stops all workers but one at a place where none of them is in the middle of anything, so that this one may look at
 * and change what belongs to all. What he writes meanwhile the others see, without a cost at any other time.
 */
#ifndef KKWG_PARK_H
#define KKWG_PARK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct park {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	atomic_bool wanted;
	unsigned int others; /* that have to stop */
	unsigned int stopped;
};

void park_init(struct park *p);

/* Asks the others to stop, who have to be woken; park_wait() returns once they have. */
void park_ask(struct park *p);
void park_wait(struct park *p);
/* Lets them go on. */
void park_end(struct park *p);

/* One of the others is at the place: stays here as long as it was asked to. */
void park_stay(struct park *p);
static inline bool park_wanted(struct park *p)
{
	return atomic_load(&p->wanted);
}
/* There is one more of the others; one of them ends and needs not be waited for any more. */
void park_join(struct park *p);
void park_leave(struct park *p);

#endif
