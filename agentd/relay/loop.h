/* SPDX-License-Identifier: MIT */
/*
 * The relay's event loop: epoll without an allocation or an epoll_ctl per event. It is not sd-event
 * because that asks the kernel again between any two events, which a relay of many small messages feels.
 */
#ifndef KK_AGENTD_RELAY_LOOP_H
#define KK_AGENTD_RELAY_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

/* The struct of @type that has *@ptr as its @member. */
#define LOOP_OWNER(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Embedded in what owns a descriptor. Its memory must stay until loop_later has run (see below). */
struct loop_io {
	void (*ready)(struct loop_io *io, uint32_t events); /* NULL: takes no more events */
};

/* Runs once, soon: after the events that are at hand. */
struct loop_work {
	void (*run)(struct loop_work *work);
	bool queued;
	TAILQ_ENTRY(loop_work) link;
};

/* Runs when its time has come; a module has one and keeps its own order behind it. */
struct loop_timer {
	void (*run)(struct loop_timer *timer);
	int64_t at; /* loop time in ms, 0: off */
	TAILQ_ENTRY(loop_timer) link;
};

struct loop {
	int epoll_fd;
	bool quit;
	int64_t now; /* CLOCK_MONOTONIC in ms, fresh in every turn */
	TAILQ_HEAD(, loop_work) work;
	TAILQ_HEAD(, loop_timer) timers;
};

int loop_init(struct loop *loop);
void loop_clean(struct loop *loop);
/* Until loop->quit; returns 0 or a negative errno when the kernel refuses to wait. */
int loop_run(struct loop *loop);

/* @events as epoll_ctl(2); negative errno. Closing @fd removes it unless another process has it too. */
int loop_add(struct loop *loop, int fd, uint32_t events, struct loop_io *io);
int loop_del(struct loop *loop, int fd);
int loop_mod(struct loop *loop, int fd, uint32_t events, struct loop_io *io);
/*
 * Work queued while events are handled runs after all of them: the place to free what had a loop_io,
 * since events for it may still be in hand.
 */
void loop_later(struct loop *loop, struct loop_work *work);
void loop_cancel(struct loop *loop, struct loop_work *work);
void loop_timer_add(struct loop *loop, struct loop_timer *timer);

#endif
