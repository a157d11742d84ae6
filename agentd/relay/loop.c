// SPDX-License-Identifier: MIT
#include "agentd/relay/loop.h"

#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <time.h>

#include "util/cleanup.h"

#define EVENTS_AT_ONCE 64

static int64_t clock_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int loop_init(struct loop *loop)
{
	*loop = (struct loop){.now = clock_ms()};
	TAILQ_INIT(&loop->work);
	TAILQ_INIT(&loop->timers);
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return loop->epoll_fd < 0 ? -errno : 0;
}

static void run_work(struct loop *loop)
{
	struct loop_work *work;
	unsigned int n = 0;

	/* Work that is queued by work waits for the next turn, else events would starve. */
	TAILQ_FOREACH(work, &loop->work, link)
	n++;
	while (n-- && (work = TAILQ_FIRST(&loop->work))) {
		TAILQ_REMOVE(&loop->work, work, link);
		work->queued = false;
		work->run(work);
	}
}

void loop_clean(struct loop *loop)
{
	while (!TAILQ_EMPTY(&loop->work))
		run_work(loop);
	loop->epoll_fd = kk_close(loop->epoll_fd);
}

static int control(struct loop *loop, int op, int fd, uint32_t events, struct loop_io *io)
{
	struct epoll_event event = {.events = events, .data.ptr = io};

	return epoll_ctl(loop->epoll_fd, op, fd, &event) < 0 ? -errno : 0;
}

int loop_add(struct loop *loop, int fd, uint32_t events, struct loop_io *io)
{
	return control(loop, EPOLL_CTL_ADD, fd, events, io);
}

int loop_mod(struct loop *loop, int fd, uint32_t events, struct loop_io *io)
{
	return control(loop, EPOLL_CTL_MOD, fd, events, io);
}

int loop_del(struct loop *loop, int fd)
{
	return control(loop, EPOLL_CTL_DEL, fd, 0, NULL);
}

void loop_later(struct loop *loop, struct loop_work *work)
{
	if (work->queued)
		return;
	work->queued = true;
	TAILQ_INSERT_TAIL(&loop->work, work, link);
}

void loop_cancel(struct loop *loop, struct loop_work *work)
{
	if (!work->queued)
		return;
	work->queued = false;
	TAILQ_REMOVE(&loop->work, work, link);
}

void loop_timer_add(struct loop *loop, struct loop_timer *timer)
{
	TAILQ_INSERT_TAIL(&loop->timers, timer, link);
}

static void run_timers(struct loop *loop)
{
	struct loop_timer *timer;

	TAILQ_FOREACH(timer, &loop->timers, link)
	{
		if (!timer->at || timer->at > loop->now)
			continue;
		timer->at = 0;
		timer->run(timer);
	}
}

static int wait_ms(const struct loop *loop)
{
	const struct loop_timer *timer;
	int64_t at = 0;

	if (!TAILQ_EMPTY(&loop->work))
		return 0;
	TAILQ_FOREACH(timer, &loop->timers, link)
	if (timer->at && (!at || timer->at < at))
		at = timer->at;
	if (!at)
		return -1;
	if (at <= loop->now)
		return 0;
	return at - loop->now > INT_MAX ? INT_MAX : (int)(at - loop->now);
}

int loop_run(struct loop *loop)
{
	struct epoll_event events[EVENTS_AT_ONCE];

	while (!loop->quit) {
		int n = epoll_wait(loop->epoll_fd, events, EVENTS_AT_ONCE, wait_ms(loop));

		if (n < 0 && errno != EINTR)
			return -errno;
		loop->now = clock_ms();
		for (int i = 0; i < n; i++) {
			struct loop_io *io = events[i].data.ptr;

			if (io->ready)
				io->ready(io, events[i].events);
		}
		run_timers(loop);
		run_work(loop);
	}
	return 0;
}
