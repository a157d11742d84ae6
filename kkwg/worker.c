// SPDX-License-Identifier: MIT
#include "kkwg/worker.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>

#include "kkwg/engine.h"
#include "kkwg/readers.h"
#include "kkwg/slice.h"
#include "kkwg/threads.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "wg/constants.h"

#define EVENTS	      16		  /* of one call */
#define SPIN_MOST     (60 * WG_MS / 1000) /* longest look before sleeping, ns */
#define SPIN_BULK     (20 * WG_MS / 1000) /* where nobody waits for an answer */
#define SPIN_LEAST    (5 * WG_MS / 1000)
#define ANSWER_MEMORY (200 * WG_MS / 1000) /* how long an answer may take to come, ns */

enum source {
	SOURCE_TUN,
	SOURCE_UDP4,
	SOURCE_UDP6,
	SOURCE_WAKE,
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

/* --- where there are other workers --- */

static bool env_elsewhere(void *ctx, const struct wg_endpoint *from,
			  const struct wg_msg_initiation *msg, const struct wg_noise_draft *draft)
{
	return handover_initiation(ctx, from, msg, draft);
}

static void env_lock(void *ctx, uint32_t stripe)
{
	pthread_mutex_lock(&((struct worker *)ctx)->engine->stripes[stripe]);
}

static void env_unlock(void *ctx, uint32_t stripe)
{
	pthread_mutex_unlock(&((struct worker *)ctx)->engine->stripes[stripe]);
}

static void packet_elsewhere(void *ctx, struct wg_peer *p, const struct outbound_packet *q)
{
	handover_packet(ctx, p, q);
}

static bool message_elsewhere(void *ctx, const struct udp_received *m)
{
	return handover_message(ctx, m);
}

void worker_wake(struct worker *w)
{
	const uint64_t one = 1;

	/* Nobody reads it: it is written to once a sleep, and cannot be full. */
	if (atomic_exchange(&w->sleeping, false) && write(w->wake_fd, &one, sizeof(one)) < 0)
		kk_warn("worker %u cannot be woken: %m", w->number);
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

/*
 * Lets those run who wait for what was just delivered. On a kernel that does not preempt they would
 * wait for the next tick, and a tunnel under load never sleeps.
 */
static void give_way(struct worker *w)
{
	if (!w->in.delivered && !w->in.filled)
		return;
	sched_yield();
	/* The first turn may have been another's, who was not woken by us. */
	if (w->in.filled)
		sched_yield();
	w->in.delivered = w->in.filled = false;
}

/* In the middle of a train: takes in what came meanwhile. */
static void between(void *ctx)
{
	struct worker *w = ctx;
	struct pollfd fds[] = {
		{.fd = w->udp.fd4, .events = POLLIN},
		{.fd = w->udp.fd6, .events = POLLIN},
		{.fd = w->tun_read, .events = POLLIN},
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
	give_way(w);
}

/* Makes it one of several. Returns 0 or -errno. */
static int share(struct worker *w)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.u64 = SOURCE_WAKE};

	w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->wake_fd < 0 || epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, w->wake_fd, &ev) < 0)
		return -errno;
	wg_device_set_shard(w->dev, w->engine->workers[0].dev, w->number);
	w->out.elsewhere = packet_elsewhere;
	w->in.elsewhere = message_elsewhere;
	return 0;
}

int worker_init(struct worker *w, struct engine *e, unsigned int number)
{
	struct wg_env env = {
		.ctx = w, .random = env_random, .realtime = env_realtime, .transmit = env_transmit};

	w->engine = e;
	w->number = number;
	if (e->n > 1) {
		env.elsewhere = env_elsewhere;
		env.flows_lock = env_lock;
		env.flows_unlock = env_unlock;
	}
	w->dev = wg_device_new(&env);
	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!w->dev || w->epoll_fd < 0)
		return -ENOMEM;
	if (e->rekey_after)
		w->dev->rekey_after = e->rekey_after;
	w->out.dev = w->in.dev = w->dev;
	w->out.between = w->in.between = between;
	w->out.ctx = w->in.ctx = w;
	w->out.udp = &w->udp;
	w->in.coalesce.tun = &w->tun;
	w->tun_read = readers_have(e, number) ? w->tun.fd : -1;
	watch(w, w->tun_read, SOURCE_TUN);
	worker_watch_udp(w);
	if (number == 0)
		worker_watch_tun(w);
	return e->n > 1 ? share(w) : 0;
}

void worker_clean(struct worker *w)
{
	wg_device_free(w->dev);
	udp_close(&w->udp);
	tun_close(&w->tun);
	w->epoll_fd = kk_close(w->epoll_fd);
	w->wake_fd = kk_close(w->wake_fd);
}

/* --- events --- */

/* Something is the matter with the interface. Only the first worker looks into it. */
static void suspect_tun(struct worker *w, uint64_t now)
{
	if (w->number == 0) {
		engine_check_tun(w->engine, now);
		return;
	}
	/* What is gone would say so for ever. */
	if (tun_state(&w->tun) == TUN_GONE)
		epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, w->tun.fd, NULL);
	atomic_store(&w->engine->suspicious, true);
	worker_wake(&w->engine->workers[0]);
}

static void tun_event(struct worker *w, uint32_t events, uint64_t now)
{
	if (events & (EPOLLERR | EPOLLHUP | EPOLLOUT))
		suspect_tun(w, now);
	if (events & EPOLLIN && outbound_read(&w->out, &w->tun, now) < 0)
		suspect_tun(w, now);
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
	case SOURCE_WAKE:
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
	if (next == UINT64_MAX)
		return -1;
	return next <= now ? 0 : (int)((next - now) / WG_MS + 1);
}

static int poll_events(struct worker *w, struct epoll_event *events, int timeout)
{
	return epoll_wait(w->epoll_fd, events, EVENTS, timeout);
}

/* Looks for @most ns; others who want to run do so meanwhile. Returns whether there is something to do. */
static bool spin(struct worker *w, struct epoll_event *events, uint64_t most, int *ret_n)
{
	uint64_t since = worker_now();

	do {
		*ret_n = poll_events(w, events, 0);
		if (*ret_n || (w->wake_fd >= 0 && threads_want(w->engine, w)))
			return true;
		sched_yield();
	} while (worker_now() - since < most);
	return false;
}

/* Whoever wants something of it wakes it from now on, or it sees here that he does. */
static int sleep_for(struct worker *w, struct epoll_event *events, int timeout)
{
	int n;

	if (w->wake_fd < 0)
		return poll_events(w, events, timeout);
	atomic_store(&w->sleeping, true);
	if (threads_want(w->engine, w))
		timeout = 0;
	n = poll_events(w, events, timeout);
	atomic_store(&w->sleeping, false);
	return n;
}

/* How long to look: long after a question or an answer, that is a short packet with content and no bulk behind it. */
static uint64_t look_for(const struct worker *w, uint64_t now)
{
	uint64_t last =
		w->in.last_delivery > w->out.last_short ? w->in.last_delivery : w->out.last_short;
	bool bulk =
		now - last > ANSWER_MEMORY || w->in.last_bulk >= last || w->out.last_bulk >= last;

	return bulk && w->spin > SPIN_BULK ? SPIN_BULK : w->spin;
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
		if (spin(w, events, look_for(w, now), &n))
			return n;
		w->spin = w->spin / 2 < SPIN_LEAST ? 0 : w->spin / 2;
	}
	since = worker_now();
	n = sleep_for(w, events, timeout);
	if (worker_now() - since < SPIN_MOST)
		w->spin = SPIN_MOST;
	return n;
}

/* Who has asked is in a hurry for the answer, which may be a long one. */
static void share_hurry(struct worker *w)
{
	if (w->in.last_delivery < w->out.last_short)
		w->in.last_delivery = w->out.last_short;
	else
		w->out.last_short = w->in.last_delivery;
}

/* What comes from others and goes to them. Returns whether more waits. */
static bool with_others(struct worker *w, uint64_t now)
{
	struct engine *e = w->engine;
	bool more = handover_take(w, now);

	handover_publish(w);
	if (w->number == 0) {
		if (atomic_exchange(&e->suspicious, false))
			engine_check_tun(e, now);
	} else if (park_wanted(&e->park)) {
		park_stay(&e->park);
	}
	return more;
}

int worker_run(struct worker *w)
{
	struct engine *e = w->engine;
	struct epoll_event events[EVENTS];
	uint64_t now = worker_now();
	bool more = false;
	int r = slice_shorten();

	if (r < 0)
		kk_debug("no short turns on the processor: %s", strerror(-r));
	while (!e->stop) {
		int n = wait_events(w, events, more, now);

		if (n < 0 && errno != EINTR)
			return -errno;
		now = worker_now();
		for (int i = 0; i < n && !e->stop; i++)
			handle(w, &events[i], now);
		share_hurry(w);
		give_way(w);
		more = inbound_work(&w->in, now);
		more |= outbound_work(&w->out, now);
		if (w->wake_fd >= 0)
			more |= with_others(w, now);
		give_way(w);
		if (w->number == 0 && now >= e->next_check)
			engine_check(e, now);
		wg_device_tick(w->dev, now);
	}
	return 0;
}
