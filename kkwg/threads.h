/* SPDX-License-Identifier: MIT */
/* The threads of the workers; the first worker's is the one that calls threads_run(). */
#ifndef KKWG_THREADS_H
#define KKWG_THREADS_H

#include <stdbool.h>

struct engine;
struct worker;

/* Runs all workers until one of them fails or threads_stop() is called. Returns 0 or -errno. */
int threads_run(struct engine *e);
/* From any thread. */
void threads_stop(struct engine *e);
/* In the first thread: between these nobody else touches anything of the workers. They may be nested. */
void threads_pause(struct engine *e);
void threads_resume(struct engine *e);

/* Whether something for @w, the calling worker, waits that it must not sleep over. */
bool threads_want(struct engine *e, const struct worker *w);

#endif
