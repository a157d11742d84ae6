// SPDX-License-Identifier: MIT
#include "kkwg/engine.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

#include "kkwg/shards.h"
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
	for (unsigned int i = 0; i < e->n; i++)
		e->workers[i].out.mtu = mtu;
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

static int workers_alloc(struct engine *e, unsigned int n)
{
	/* Mapped, not touched: what is not used costs nothing. */
	e->workers = calloc(n, sizeof(*e->workers));
	if (!e->workers)
		return -ENOMEM;
	e->n = n;
	for (unsigned int i = 0; i < n; i++) {
		struct worker *w = &e->workers[i];

		w->tun.fd = w->udp.fd4 = w->udp.fd6 = w->epoll_fd = -1;
	}
	return 0;
}

int engine_init(struct engine *e, const char *name, struct kk_err *err)
{
	struct worker *w;
	int r;

	e->signal_fd = e->monitor.fd = -1;
	if (wg_crypto_init() < 0)
		return kk_err_set(err, ENOTSUP, "",
				  "OpenSSL lacks an algorithm that WireGuard needs");
	wg_noise_init();
	if (workers_alloc(e, 1) < 0)
		return kk_err_set(err, ENOMEM, "", "out of memory");
	w = &e->workers[0];
	r = tun_open(&w->tun, name, err);
	if (r < 0)
		return r;
	r = udp_open(&w->udp, 0, 0, err);
	if (r < 0)
		return r;
	r = worker_init(w, e, 0);
	if (r < 0)
		return kk_err_set(err, -r, "", "%s", strerror(-r));
	r = watch_signals(e);
	if (r < 0)
		return kk_err_set(err, -r, "", "signals: %s", strerror(-r));
	monitor_open(&e->monitor, w->tun.ifindex);
	e->forwarding = host_forwards();
	set_mtu(e, TUN_MTU);
	watch(e, e->monitor.fd, SOURCE_MONITOR);
	watch(e, e->signal_fd, SOURCE_SIGNAL);
	return 0;
}

void engine_clean(struct engine *e)
{
	for (unsigned int i = 0; i < e->n; i++)
		worker_clean(&e->workers[i]);
	free(e->workers);
	e->workers = NULL;
	e->n = 0;
	monitor_close(&e->monitor);
	e->signal_fd = kk_close(e->signal_fd);
}

int engine_run(struct engine *e)
{
	return worker_run(&e->workers[0]);
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
	struct worker *w = &e->workers[0];
	struct udp fresh;
	int r;

	if (port && port == w->udp.port)
		return 0;
	r = udp_open(&fresh, port, w->udp.mark, err);
	if (r < 0)
		return r;
	udp_close(&w->udp);
	w->udp = fresh;
	worker_watch_udp(w);
	return 0;
}

int engine_set_mark(struct engine *e, uint32_t mark)
{
	return udp_set_mark(&e->workers[0].udp, mark);
}

/* --- events --- */

static void set_up(struct engine *e, bool up, uint64_t now)
{
	if (up == e->workers[0].dev->up)
		return;
	kk_debug("%s is %s", engine_name(e), up ? "up" : "down");
	shards_set_up(e, up, now);
	worker_watch_tun(&e->workers[0]);
}

void engine_check_tun(struct engine *e, uint64_t now)
{
	switch (tun_state(&e->workers[0].tun)) {
	case TUN_GONE:
		kk_info("%s was removed", engine_name(e));
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

static void routes_changed(struct engine *e)
{
	monitor_read(&e->monitor);
	if (e->monitor.mtu && e->monitor.mtu != e->workers[0].out.mtu)
		set_mtu(e, e->monitor.mtu);
	if (!e->monitor.rerouted)
		return;
	e->monitor.rerouted = false;
	for (struct wg_peer *p = shards_first(e); p; p = shards_next(e, p))
		wg_endpoint_forget_source(&p->endpoint);
}

void engine_event(struct engine *e, uint64_t id, uint32_t events)
{
	switch (id) {
	case SOURCE_MONITOR:
		routes_changed(e);
		break;
	case SOURCE_SIGNAL:
		e->stop = true;
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
		e->stop = true;
	}
}
