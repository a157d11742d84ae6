// SPDX-License-Identifier: MIT
#include "kkwg/worker.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <time.h>
#include <sys/epoll.h>
#include <sys/random.h>

#include "kkwg/engine.h"
#include "util/cleanup.h"
#include "wg/constants.h"

#define EVENTS	   16		       /* of one call */
#define SPIN_MOST  (60 * WG_MS / 1000) /* longest look before sleeping, ns */
#define SPIN_LEAST (5 * WG_MS / 1000)

enum source {
	SOURCE_TUN,
	SOURCE_UDP4,
	SOURCE_UDP6,
	SOURCE_ENGINE, /* and above */
};

uint64_t worker_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * WG_SEC + (uint64_t)t.tv_nsec;
}

/* --- what the protocol engine needs --- */

static void env_random(void *ctx, void *buf, size_t len)
{
	(void)ctx;
	while (getrandom(buf, len, 0) != (ssize_t)len)
		;
}

static uint64_t env_realtime(void *ctx)
{
	struct timespec t;

	(void)ctx;
	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * WG_SEC + (uint64_t)t.tv_nsec;
}

static void env_transmit(void *ctx, struct wg_endpoint *to, const void *data, size_t len,
			 uint8_t ecn)
{
	struct worker *w = ctx;
	struct udp_send s = {
		.to = to,
		.data = (uint8_t *)data,
		.len = (uint32_t)len,
		.segment = (uint16_t)len,
		.count = 1,
		.ecn = ecn,
	};

	udp_send(&w->udp, &s, 1);
}

/* --- set-up --- */

static void watch(struct worker *w, int fd, enum source source)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = source};

	if (fd >= 0)
		epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &ev);
}

void worker_watch_udp(struct worker *w)
{
	watch(w, w->udp.fd4, SOURCE_UDP4);
	watch(w, w->udp.fd6, SOURCE_UDP6);
}

/* While the interface is down, being writable means that it came up. */
void worker_watch_tun(struct worker *w)
{
	struct epoll_event ev = {.events = EPOLLIN | (w->dev->up ? 0 : EPOLLOUT),
				 .data.u64 = SOURCE_TUN};

	epoll_ctl(w->epoll_fd, EPOLL_CTL_MOD, w->tun.fd, &ev);
}

int worker_watch(struct worker *w, int fd, uint32_t events, uint64_t id, bool again)
{
	struct epoll_event ev = {.events = events, .data.u64 = SOURCE_ENGINE + id};

	return epoll_ctl(w->epoll_fd, again ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno
											  : 0;
}

/* In the middle of a train: takes in what came meanwhile. */
static void between(void *ctx)
{
	struct worker *w = ctx;
	struct pollfd fds[] = {
		{.fd = w->udp.fd4, .events = POLLIN},
		{.fd = w->udp.fd6, .events = POLLIN},
		{.fd = w->tun.fd, .events = POLLIN},
	};
	uint64_t now = worker_now();

	/* Nobody but bulk flows: not worth the call. */
	if (now - w->in.last_delivery > KKWG_SHORT_MEMORY)
		return;
	if (w->nested || poll(fds, ARRAY_SIZE(fds), 0) <= 0)
		return;
	w->nested = true;
	for (int i = 0; i < 2; i++)
		if (fds[i].revents & POLLIN)
			inbound_receive(&w->in, fds[i].fd, now);
	if (fds[2].revents & POLLIN)
		outbound_read(&w->out, &w->tun, now);
	w->nested = false;
}

int worker_init(struct worker *w, struct engine *e, unsigned int number)
{
	const struct wg_env env = {w, env_random, env_realtime, env_transmit};

	w->engine = e;
	w->number = number;
	w->dev = wg_device_new(&env);
	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!w->dev || w->epoll_fd < 0)
		return -ENOMEM;
	w->out.dev = w->in.dev = w->dev;
	w->out.between = w->in.between = between;
	w->out.ctx = w->in.ctx = w;
	w->out.udp = &w->udp;
	w->in.coalesce.tun = &w->tun;
	watch(w, w->tun.fd, SOURCE_TUN);
	worker_watch_udp(w);
	worker_watch_tun(w);
	return 0;
}

void worker_clean(struct worker *w)
{
	wg_device_free(w->dev);
	udp_close(&w->udp);
	tun_close(&w->tun);
	w->epoll_fd = kk_close(w->epoll_fd);
}

/* --- events --- */

static void tun_event(struct worker *w, uint32_t events, uint64_t now)
{
	if (events & (EPOLLERR | EPOLLHUP | EPOLLOUT))
		engine_check_tun(w->engine, now);
	if (events & EPOLLIN && outbound_read(&w->out, &w->tun, now) < 0)
		engine_check_tun(w->engine, now);
}

static void handle(struct worker *w, const struct epoll_event *ev, uint64_t now)
{
	switch (ev->data.u64) {
	case SOURCE_TUN:
		tun_event(w, ev->events, now);
		break;
	case SOURCE_UDP4:
		inbound_receive(&w->in, w->udp.fd4, now);
		break;
	case SOURCE_UDP6:
		inbound_receive(&w->in, w->udp.fd6, now);
		break;
	default:
		engine_event(w->engine, ev->data.u64 - SOURCE_ENGINE, ev->events);
	}
}

/* --- waiting --- */

static int timeout_ms(const struct worker *w, uint64_t now)
{
	uint64_t next = wg_device_deadline(w->dev);

	if (w->number == 0 && w->engine->next_check < next)
		next = w->engine->next_check;
	return next <= now ? 0 : (int)((next - now) / WG_MS + 1);
}

/*
 * Lets those run who wait for what was just delivered. On a kernel that does not preempt they would
 * wait for the next tick, and a tunnel under load never sleeps.
 */
static void give_way(struct worker *w)
{
	if (!w->in.delivered)
		return;
	w->in.delivered = false;
	sched_yield();
}

static int poll_events(struct worker *w, struct epoll_event *events, int timeout)
{
	return epoll_wait(w->epoll_fd, events, EVENTS, timeout);
}

/* Looks for w->spin ns; others who want to run do so meanwhile. Returns the events, or 0. */
static int spin(struct worker *w, struct epoll_event *events)
{
	uint64_t since = worker_now();
	int n;

	do {
		n = poll_events(w, events, 0);
		if (n)
			return n;
		sched_yield();
	} while (worker_now() - since < w->spin);
	return 0;
}

/*
 * Looks for a moment before it sleeps, where that was worth it lately: waking up takes longer than
 * most answers. As with a guest kernel's haltpoll, a sleep that was over within SPIN_MOST lets it look
 * that long the next time, and each time in vain halves it.
 */
static int wait_events(struct worker *w, struct epoll_event *events, bool more, uint64_t now)
{
	int timeout = more ? 0 : timeout_ms(w, now), n;
	uint64_t since;

	if (!timeout)
		return poll_events(w, events, 0);
	if (w->spin) {
		n = spin(w, events);
		if (n)
			return n;
		w->spin = w->spin / 2 < SPIN_LEAST ? 0 : w->spin / 2;
	}
	since = worker_now();
	n = poll_events(w, events, timeout);
	if (worker_now() - since < SPIN_MOST)
		w->spin = SPIN_MOST;
	return n;
}

int worker_run(struct worker *w)
{
	struct engine *e = w->engine;
	struct epoll_event events[EVENTS];
	uint64_t now = worker_now();
	bool more = false;

	while (!e->stop) {
		int n = wait_events(w, events, more, now);

		if (n < 0 && errno != EINTR)
			return -errno;
		now = worker_now();
		for (int i = 0; i < n && !e->stop; i++)
			handle(w, &events[i], now);
		more = inbound_work(&w->in, now);
		more |= outbound_work(&w->out, now);
		give_way(w);
		if (w->number == 0 && now >= e->next_check)
			engine_check(e, now);
		wg_device_tick(w->dev, now);
	}
	return 0;
}
