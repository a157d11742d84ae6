// SPDX-License-Identifier: MIT
#include "kkwg/engine.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/signalfd.h>

#include "kkwg/uapi.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/log.h"
#include "wg/constants.h"

#define CHECK_INTERVAL WG_SEC
#define EVENTS	       16		   /* of one call */
#define SPIN_MOST      (60 * WG_MS / 1000) /* longest look before sleeping, ns */
#define SPIN_LEAST     (5 * WG_MS / 1000)

enum source {
	SOURCE_TUN,
	SOURCE_UDP4,
	SOURCE_UDP6,
	SOURCE_MONITOR,
	SOURCE_SIGNAL,
	SOURCE_UAPI, /* and above */
};

uint64_t engine_now(void)
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
	struct engine *e = ctx;
	struct udp_send s = {
		.to = to,
		.data = (uint8_t *)data,
		.len = (uint32_t)len,
		.segment = (uint16_t)len,
		.count = 1,
		.ecn = ecn,
	};

	udp_send(&e->udp, &s, 1);
}

/* --- set-up --- */

int engine_watch(struct engine *e, int fd, uint32_t events, uint64_t id, bool again)
{
	struct epoll_event ev = {.events = events, .data.u64 = SOURCE_UAPI + id};

	return epoll_ctl(e->epoll_fd, again ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno
											  : 0;
}

static void watch(struct engine *e, int fd, enum source source)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = source};

	if (fd >= 0)
		epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, fd, &ev);
}

/* While the interface is down, being writable means that it came up. */
static void watch_tun(struct engine *e)
{
	struct epoll_event ev = {.events = EPOLLIN | (e->dev->up ? 0 : EPOLLOUT),
				 .data.u64 = SOURCE_TUN};

	epoll_ctl(e->epoll_fd, EPOLL_CTL_MOD, e->tun.fd, &ev);
}

static int watch_signals(struct engine *e)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	e->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return e->signal_fd < 0 ? -errno : 0;
}

/* In the middle of a train: takes in what came meanwhile. */
static void between(void *ctx)
{
	struct engine *e = ctx;
	struct pollfd fds[] = {
		{.fd = e->udp.fd4, .events = POLLIN},
		{.fd = e->udp.fd6, .events = POLLIN},
		{.fd = e->tun.fd, .events = POLLIN},
	};
	uint64_t now = engine_now();

	/* Nobody but bulk flows: not worth the call. */
	if (now - e->in.last_delivery > KKWG_SHORT_MEMORY)
		return;
	if (e->nested || poll(fds, ARRAY_SIZE(fds), 0) <= 0)
		return;
	e->nested = true;
	for (int i = 0; i < 2; i++)
		if (fds[i].revents & POLLIN)
			inbound_receive(&e->in, fds[i].fd, now);
	if (fds[2].revents & POLLIN)
		outbound_read(&e->out, &e->tun, now);
	e->nested = false;
}

/*
 * A super-packet that fits one send is cheapest, and the host's own sockets keep to a bound. What is forwarded knows of
 * none, and what is longer the kernel cuts into single packets: a router has no bound.
 */
static void bound_segments(struct engine *e)
{
	uint32_t segments = UDP_PAYLOAD_MAX / (e->out.mtu + WG_DATA_OVERHEAD);

	if (e->forwarding)
		tun_set_segments(&e->tun, TUN_SEGMENTS_MAX);
	else if (segments >= 2)
		tun_set_segments(&e->tun, segments < UDP_SEGMENTS ? segments : UDP_SEGMENTS);
}

static void set_mtu(struct engine *e, uint32_t mtu)
{
	e->out.mtu = mtu;
	bound_segments(e);
}

void engine_set_forwarding(struct engine *e, bool on)
{
	if (e->forwarding == on)
		return;
	e->forwarding = on;
	bound_segments(e);
}

static bool host_forwards(void)
{
	static const char *const settings[] = {"/proc/sys/net/ipv4/ip_forward",
					       "/proc/sys/net/ipv6/conf/all/forwarding"};
	bool on = false;

	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		KK_CLEANUP_FREE char *text = NULL;

		on |= kk_file_read(settings[i], 16, &text, NULL) == 0 && text[0] == '1';
	}
	return on;
}

int engine_init(struct engine *e, const char *name, struct kk_err *err)
{
	const struct wg_env env = {e, env_random, env_realtime, env_transmit};
	int r;

	e->tun.fd = e->epoll_fd = e->signal_fd = e->monitor.fd = -1;
	e->udp.fd4 = e->udp.fd6 = -1;
	if (wg_crypto_init() < 0)
		return kk_err_set(err, ENOTSUP, "",
				  "OpenSSL lacks an algorithm that WireGuard needs");
	wg_noise_init();
	e->dev = wg_device_new(&env);
	e->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!e->dev || e->epoll_fd < 0)
		return kk_err_set(err, ENOMEM, "", "out of memory");
	r = tun_open(&e->tun, name, err);
	if (r < 0)
		return r;
	r = udp_open(&e->udp, 0, 0, err);
	if (r < 0)
		return r;
	r = watch_signals(e);
	if (r < 0)
		return kk_err_set(err, -r, "", "signals: %s", strerror(-r));
	monitor_open(&e->monitor, e->tun.ifindex);
	e->out.dev = e->in.dev = e->dev;
	e->out.between = e->in.between = between;
	e->out.ctx = e->in.ctx = e;
	e->out.udp = &e->udp;
	e->forwarding = host_forwards();
	set_mtu(e, TUN_MTU);
	e->in.coalesce.tun = &e->tun;
	watch(e, e->tun.fd, SOURCE_TUN);
	watch(e, e->udp.fd4, SOURCE_UDP4);
	watch(e, e->udp.fd6, SOURCE_UDP6);
	watch(e, e->monitor.fd, SOURCE_MONITOR);
	watch(e, e->signal_fd, SOURCE_SIGNAL);
	watch_tun(e);
	return 0;
}

void engine_clean(struct engine *e)
{
	wg_device_free(e->dev);
	udp_close(&e->udp);
	tun_close(&e->tun);
	monitor_close(&e->monitor);
	e->signal_fd = kk_close(e->signal_fd);
	e->epoll_fd = kk_close(e->epoll_fd);
}

int engine_set_port(struct engine *e, uint16_t port, struct kk_err *err)
{
	struct udp fresh;
	int r;

	if (port && port == e->udp.port)
		return 0;
	r = udp_open(&fresh, port, e->udp.mark, err);
	if (r < 0)
		return r;
	udp_close(&e->udp);
	e->udp = fresh;
	watch(e, e->udp.fd4, SOURCE_UDP4);
	watch(e, e->udp.fd6, SOURCE_UDP6);
	return 0;
}

/* --- events --- */

static void set_up(struct engine *e, bool up, uint64_t now)
{
	if (up == e->dev->up)
		return;
	kk_debug("%s is %s", e->tun.name, up ? "up" : "down");
	if (up)
		wg_device_up(e->dev, now);
	else
		wg_device_down(e->dev);
	watch_tun(e);
}

static void check_tun(struct engine *e, uint64_t now)
{
	switch (tun_state(&e->tun)) {
	case TUN_GONE:
		kk_info("%s was removed", e->tun.name);
		e->stop = true;
		break;
	case TUN_UP:
		set_up(e, true, now);
		break;
	case TUN_DOWN:
		set_up(e, false, now);
		break;
	}
}

static void pump_tun(struct engine *e, uint64_t now)
{
	int r = outbound_read(&e->out, &e->tun, now);

	if (r < 0)
		check_tun(e, now);
}

static void routes_changed(struct engine *e)
{
	monitor_read(&e->monitor);
	if (e->monitor.mtu && e->monitor.mtu != e->out.mtu)
		set_mtu(e, e->monitor.mtu);
	if (!e->monitor.rerouted)
		return;
	e->monitor.rerouted = false;
	for (struct wg_peer *p = e->dev->peers; p; p = p->next)
		wg_endpoint_forget_source(&p->endpoint);
}

static void handle(struct engine *e, const struct epoll_event *ev, uint64_t now)
{
	switch (ev->data.u64) {
	case SOURCE_TUN:
		if (ev->events & (EPOLLERR | EPOLLHUP | EPOLLOUT))
			check_tun(e, now);
		if (ev->events & EPOLLIN)
			pump_tun(e, now);
		break;
	case SOURCE_UDP4:
		inbound_receive(&e->in, e->udp.fd4, now);
		break;
	case SOURCE_UDP6:
		inbound_receive(&e->in, e->udp.fd6, now);
		break;
	case SOURCE_MONITOR:
		routes_changed(e);
		break;
	case SOURCE_SIGNAL:
		e->stop = true;
		break;
	default:
		uapi_event(e->uapi, ev->data.u64 - SOURCE_UAPI, ev->events);
	}
}

/* Once a second: changes of the interface that nothing else tells of, and the end of our socket. */
static void check(struct engine *e, uint64_t now)
{
	e->next_check = now + CHECK_INTERVAL;
	check_tun(e, now);
	if (e->uapi && !uapi_exists(e->uapi)) {
		kk_info("the control socket of %s was removed", e->tun.name);
		e->stop = true;
	}
}

static int timeout_ms(const struct engine *e, uint64_t now)
{
	uint64_t next = wg_device_deadline(e->dev);

	if (e->next_check < next)
		next = e->next_check;
	return next <= now ? 0 : (int)((next - now) / WG_MS + 1);
}

/*
 * Lets those run who wait for what was just delivered. On a kernel that does not preempt they would
 * wait for the next tick, and a tunnel under load never sleeps.
 */
static void give_way(struct engine *e)
{
	if (!e->in.delivered)
		return;
	e->in.delivered = false;
	sched_yield();
}

static int poll_events(struct engine *e, struct epoll_event *events, int timeout)
{
	return epoll_wait(e->epoll_fd, events, EVENTS, timeout);
}

/* Looks for e->spin ns; others who want to run do so meanwhile. Returns the events, or 0. */
static int spin(struct engine *e, struct epoll_event *events)
{
	uint64_t since = engine_now();
	int n;

	do {
		n = poll_events(e, events, 0);
		if (n)
			return n;
		sched_yield();
	} while (engine_now() - since < e->spin);
	return 0;
}

/*
 * Looks for a moment before it sleeps, where that was worth it lately: waking up takes longer than
 * most answers. As with a guest kernel's haltpoll, a sleep that was over within SPIN_MOST lets it look
 * that long the next time, and each time in vain halves it.
 */
static int wait_events(struct engine *e, struct epoll_event *events, bool more, uint64_t now)
{
	int timeout = more ? 0 : timeout_ms(e, now), n;
	uint64_t since;

	if (!timeout)
		return poll_events(e, events, 0);
	if (e->spin) {
		n = spin(e, events);
		if (n)
			return n;
		e->spin = e->spin / 2 < SPIN_LEAST ? 0 : e->spin / 2;
	}
	since = engine_now();
	n = poll_events(e, events, timeout);
	if (engine_now() - since < SPIN_MOST)
		e->spin = SPIN_MOST;
	return n;
}

int engine_run(struct engine *e)
{
	struct epoll_event events[EVENTS];
	uint64_t now = engine_now();
	bool more = false;

	while (!e->stop) {
		int n = wait_events(e, events, more, now);

		if (n < 0 && errno != EINTR)
			return -errno;
		now = engine_now();
		for (int i = 0; i < n && !e->stop; i++)
			handle(e, &events[i], now);
		more = inbound_work(&e->in, now);
		more |= outbound_work(&e->out, now);
		give_way(e);
		if (now >= e->next_check)
			check(e, now);
		wg_device_tick(e->dev, now);
	}
	return 0;
}
