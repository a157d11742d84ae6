// SPDX-License-Identifier: MIT
#include "kkwg/threads.h"

#include <errno.h>
#include <string.h>

#include "kkwg/engine.h"
#include "util/log.h"

void threads_stop(struct engine *e)
{
	atomic_store(&e->stop, true);
	for (unsigned int i = 0; e->n > 1 && i < e->n; i++)
		worker_wake(&e->workers[i]);
}

static void *thread(void *arg)
{
	struct worker *w = arg;
	int r = wg_crypto_init();

	if (r == 0)
		r = worker_run(w);
	if (r < 0)
		kk_error("worker %u: %s", w->number, strerror(-r));
	park_leave(&w->engine->park);
	threads_stop(w->engine);
	wg_crypto_thread_clean();
	return NULL;
}

/* All but the first. Returns how many run, the first included. */
static unsigned int start(struct engine *e)
{
	unsigned int i = 1;

	for (; i < e->n; i++) {
		int r;

		park_join(&e->park);
		r = pthread_create(&e->workers[i].thread, NULL, thread, &e->workers[i]);
		if (r) {
			kk_error("worker %u: %s", i, strerror(r));
			park_leave(&e->park);
			threads_stop(e);
			break;
		}
	}
	return i;
}

int threads_run(struct engine *e)
{
	unsigned int running = start(e);
	int r = worker_run(&e->workers[0]);

	threads_stop(e);
	for (unsigned int i = 1; i < running; i++)
		pthread_join(e->workers[i].thread, NULL);
	for (unsigned int i = 0; e->n > 1 && i < e->n; i++)
		kk_debug("worker %u: %llu handed to others, %llu lost for want of room", i,
			 (unsigned long long)e->workers[i].handed,
			 (unsigned long long)e->workers[i].lost);
	return running < e->n ? -EAGAIN : r;
}

void threads_pause(struct engine *e)
{
	if (e->paused++ || e->n == 1)
		return;
	park_ask(&e->park);
	for (unsigned int i = 1; i < e->n; i++)
		worker_wake(&e->workers[i]);
	park_wait(&e->park);
}

void threads_resume(struct engine *e)
{
	if (--e->paused || e->n == 1)
		return;
	e->generation++;
	park_end(&e->park);
}

bool threads_want(struct engine *e, const struct worker *w)
{
	return handover_waits(w) || atomic_load(&e->stop) ||
	       (w->number ? park_wanted(&e->park) : atomic_load(&e->suspicious));
}
