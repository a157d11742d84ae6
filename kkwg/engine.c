// SPDX-License-Identifier: MIT
#include "kkwg/engine.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

#include "kkwg/group.h"
#include "kkwg/readers.h"
#include "kkwg/shards.h"
#include "kkwg/threads.h"
#include "kkwg/uapi.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/log.h"
#include "wg/constants.h"

#define CHECK_INTERVAL WG_SEC

enum source {
	SOURCE_MONITOR,
	SOURCE_SIGNAL,
	SOURCE_UAPI, /* and above */
};

static void watch(struct engine *e, int fd, enum source source)
{
	if (fd >= 0)
		worker_watch(&e->workers[0], fd, EPOLLIN, source, false);
}

int engine_watch(struct engine *e, int fd, uint32_t events, uint64_t id, bool again)
{
	return worker_watch(&e->workers[0], fd, events, SOURCE_UAPI + id, again);
}

const char *engine_name(const struct engine *e)
{
	return e->workers[0].tun.name;
}

/* --- set-up --- */

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

/*
 * A super-packet that fits one send is cheapest, and the host's own sockets keep to a bound. What is forwarded knows of
 * none, and what is longer the kernel cuts into single packets: a router has no bound.
 */
static void bound_segments(struct engine *e)
{
	const struct worker *w = &e->workers[0];
	uint32_t segments = UDP_PAYLOAD_MAX / (w->out.mtu + WG_DATA_OVERHEAD);

	if (e->forwarding)
		tun_set_segments(&w->tun, TUN_SEGMENTS_MAX);
	else if (segments >= 2)
		tun_set_segments(&w->tun, segments < UDP_SEGMENTS ? segments : UDP_SEGMENTS);
}

static void set_mtu(struct engine *e, uint32_t mtu)
{
	threads_pause(e);
	for (unsigned int i = 0; i < e->n; i++)
		e->workers[i].out.mtu = mtu;
	threads_resume(e);
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

unsigned int engine_default_workers(unsigned int cores)
{
	if (cores <= 2)
		return 1;
	return cores / 2 < WG_SHARDS ? cores / 2 : WG_SHARDS;
}

static int workers_alloc(struct engine *e, unsigned int n)
{
	/* Mapped, not touched: what is not used costs nothing. */
	e->workers = calloc(n, sizeof(*e->workers));
	if (!e->workers)
		return -ENOMEM;
	e->n = n;
	for (unsigned int i = 0; i < n; i++) {
		struct worker *w = &e->workers[i];

		w->tun.fd = w->udp.fd4 = w->udp.fd6 = w->epoll_fd = w->wake_fd = -1;
	}
	return 0;
}

/* Interface and sockets of all workers. */
static int open_descriptors(struct engine *e, const char *name, unsigned int n, struct kk_err *err)
{
	struct tun tun[WG_SHARDS];
	struct udp udp[WG_SHARDS];
	int r = tun_open_queues(tun, n, name, &n, err);

	if (r < 0)
		return r;
	r = readers_init(e, tun, n);
	if (r == 0)
		r = workers_alloc(e, n);
	if (r < 0)
		kk_err_set(err, -r, "", "%s", strerror(-r));
	for (unsigned int i = 0; i < n; i++) {
		if (r == 0)
			e->workers[i].tun = tun[i];
		else
			tun_close(&tun[i]);
	}
	if (r < 0)
		return r;
	r = group_open(udp, n, 0, 0, err);
	for (unsigned int i = 0; r == 0 && i < n; i++)
		e->workers[i].udp = udp[i];
	return r;
}

static int init_workers(struct engine *e)
{
	int r = 0;

	park_init(&e->park);
	for (unsigned int i = 0; i < WG_FLOW_STRIPES; i++)
		pthread_mutex_init(&e->stripes[i], NULL);
	if (e->n > 1) {
		/* Threads allocate with a handshake at most: an arena each would only cost memory. */
		mallopt(M_ARENA_MAX, 1);
		r = handover_init(e);
	}
	for (unsigned int i = 0; r == 0 && i < e->n; i++)
		r = worker_init(&e->workers[i], e, i);
	if (r == 0)
		readers_follow(e);
	return r;
}

int engine_init(struct engine *e, const char *name, unsigned int workers, struct kk_err *err)
{
	int r;

	e->signal_fd = e->monitor.fd = -1;
	e->steer.program = e->steer.map4 = e->steer.map6 = -1;
	if (wg_crypto_init() < 0)
		return kk_err_set(err, ENOTSUP, "",
				  "OpenSSL lacks an algorithm that WireGuard needs");
	wg_noise_init();
	r = open_descriptors(e, name, workers, err);
	if (r < 0)
		return r;
	r = init_workers(e);
	if (r < 0)
		return kk_err_set(err, -r, "", "%s", strerror(-r));
	r = watch_signals(e);
	if (r < 0)
		return kk_err_set(err, -r, "", "signals: %s", strerror(-r));
	monitor_open(&e->monitor, e->workers[0].tun.ifindex);
	e->forwarding = host_forwards();
	set_mtu(e, TUN_MTU);
	watch(e, e->monitor.fd, SOURCE_MONITOR);
	watch(e, e->signal_fd, SOURCE_SIGNAL);
	kk_debug("%u worker%s", e->n, e->n == 1 ? "" : "s");
	return 0;
}

void engine_clean(struct engine *e)
{
	/* What the shards have in common is the first one's. */
	for (unsigned int i = e->n; i--;)
		worker_clean(&e->workers[i]);
	handover_clean(e);
	steer_close(&e->steer);
	free(e->workers);
	e->workers = NULL;
	e->n = 0;
	monitor_close(&e->monitor);
	e->signal_fd = kk_close(e->signal_fd);
}

/* --- sockets --- */

uint16_t engine_port(const struct engine *e)
{
	return e->workers[0].udp.port;
}

uint32_t engine_mark(const struct engine *e)
{
	return e->workers[0].udp.mark;
}

int engine_set_port(struct engine *e, uint16_t port, struct kk_err *err)
{
	struct udp fresh[WG_SHARDS];
	int r;

	if (port && port == engine_port(e))
		return 0;
	r = group_open(fresh, e->n, port, engine_mark(e), err);
	if (r < 0)
		return r;
	threads_pause(e);
	for (unsigned int i = 0; i < e->n; i++) {
		udp_close(&e->workers[i].udp);
		e->workers[i].udp = fresh[i];
		worker_watch_udp(&e->workers[i]);
	}
	threads_resume(e);
	return 0;
}

int engine_set_mark(struct engine *e, uint32_t mark)
{
	uint32_t old = engine_mark(e);
	int r = 0;

	threads_pause(e);
	for (unsigned int i = 0; i < e->n && r == 0; i++)
		r = udp_set_mark(&e->workers[i].udp, mark);
	for (unsigned int i = 0; i < e->n && r < 0; i++)
		udp_set_mark(&e->workers[i].udp, old);
	threads_resume(e);
	return r;
}

/* --- events --- */

static void set_up(struct engine *e, bool up, uint64_t now)
{
	if (up == e->workers[0].dev->up)
		return;
	kk_debug("%s is %s", engine_name(e), up ? "up" : "down");
	threads_pause(e);
	shards_set_up(e, up, now);
	threads_resume(e);
	worker_watch_tun(&e->workers[0]);
}

void engine_check_tun(struct engine *e, uint64_t now)
{
	switch (tun_state(&e->workers[0].tun)) {
	case TUN_GONE:
		kk_info("%s was removed", engine_name(e));
		threads_stop(e);
		break;
	case TUN_UP:
		set_up(e, true, now);
		break;
	case TUN_DOWN:
		set_up(e, false, now);
		break;
	}
}

static void routes_changed(struct engine *e)
{
	monitor_read(&e->monitor);
	if (e->monitor.mtu && e->monitor.mtu != e->workers[0].out.mtu)
		set_mtu(e, e->monitor.mtu);
	if (!e->monitor.rerouted)
		return;
	e->monitor.rerouted = false;
	threads_pause(e);
	for (struct wg_peer *p = shards_first(e); p; p = shards_next(e, p))
		wg_endpoint_forget_source(&p->endpoint);
	threads_resume(e);
}

void engine_event(struct engine *e, uint64_t id, uint32_t events)
{
	switch (id) {
	case SOURCE_MONITOR:
		routes_changed(e);
		break;
	case SOURCE_SIGNAL:
		threads_stop(e);
		break;
	default:
		uapi_event(e->uapi, id - SOURCE_UAPI, events);
	}
}

void engine_check(struct engine *e, uint64_t now)
{
	e->next_check = now + CHECK_INTERVAL;
	engine_check_tun(e, now);
	if (e->uapi && !uapi_exists(e->uapi)) {
		kk_info("the control socket of %s was removed", engine_name(e));
		threads_stop(e);
	}
}
