// SPDX-License-Identifier: MIT
#include "agentd/relay/watch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agentd/relay/listener.h"
#include "agentd/relay/relay.h"
#include "util/cleanup.h"
#include "util/log.h"

/* A socket that was bound by number stays bound; one that does not listen refuses (RFC 9293 section 3.10.7.1). */
static int shut(struct listener_port *p)
{
	loop_del(&p->listener->relay->loop, p->fd);
	if (p->listener->protocol == IPPROTO_UDP)
		return watch_udp_shut(p);
	return shutdown(p->fd, SHUT_RDWR) < 0 ? -errno : 0;
}

static int open_again(struct listener_port *p)
{
	if (p->listener->protocol == IPPROTO_UDP)
		return watch_udp_open(p);
	return listen(p->fd, SOMAXCONN) < 0 ? -errno : 0;
}

void watch_refused(struct listener *l, const char *why)
{
	struct watch *w = &l->watch;

	if (!w->on || w->down)
		return;
	w->down = true;
	w->tried = w->quiet = 0;
	w->until = l->relay->loop.now + WATCH_ANSWER_MS;
	kk_warn("service %s: target %s is down and others have its clients: %s", l->name,
		l->target->text, why);
	snprintf(l->error, sizeof(l->error), "%.64s is down: %.80s", l->target->text, why);
	for (size_t i = 0; i < l->n_ports; i++) {
		int r = shut(&l->ports[i]);

		if (r < 0)
			kk_warn("service %s: port %u does not refuse: %s", l->name,
				l->ports[i].number, strerror(-r));
	}
}

void watch_answered(struct listener *l)
{
	if (!l->watch.down)
		return;
	for (size_t i = 0; i < l->n_ports; i++) {
		struct listener_port *p = &l->ports[i];
		int r = open_again(p);

		if (r < 0) {
			/* Tried again in the next round. */
			kk_warn("service %s: port %u does not listen: %s", l->name, p->number,
				strerror(-r));
			return;
		}
		/* -EEXIST: from a round that did not get to the end. */
		loop_add(&l->relay->loop, p->fd, EPOLLIN, &p->io);
	}
	l->watch.down = false;
	l->error[0] = '\0';
	kk_info("service %s: target %s is back", l->name, l->target->text);
}

void watch_hang_up(struct listener *l)
{
	if (l->watch.fd < 0)
		return;
	loop_del(&l->relay->loop, l->watch.fd);
	l->watch.fd = kk_close(l->watch.fd);
}

/* Short of descriptors or ports, we know nothing of the target. */
static bool is_ours(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM ||
	       error == EADDRNOTAVAIL || error == EAGAIN;
}

static void judge(struct listener *l, int error)
{
	watch_hang_up(l);
	if (error && !is_ours(error))
		watch_refused(l, strerror(error));
	else if (!error)
		watch_answered(l);
}

static void on_answer(struct loop_io *io, uint32_t events)
{
	struct watch *w = LOOP_OWNER(io, struct watch, io);
	struct listener *l = LOOP_OWNER(w, struct listener, watch);
	socklen_t len = sizeof(int);
	int error = 0;

	(void)events;
	if (w->fd < 0)
		return;
	if (getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	judge(l, error);
}

static void call(struct listener *l)
{
	const struct sockaddr_storage to = target_addr(l->target, 0, 0);
	struct watch *w = &l->watch;
	int r;

	w->fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (w->fd < 0)
		return;
	w->io.ready = on_answer;
	w->until = l->relay->loop.now + WATCH_ANSWER_MS;
	r = connect(w->fd, (const struct sockaddr *)&to, target_addr_len(&to)) < 0 ? errno : 0;
	if (r != EINPROGRESS)
		judge(l, r);
	else if (loop_add(&l->relay->loop, w->fd, EPOLLOUT, &w->io) < 0)
		w->fd = kk_close(w->fd);
}

/* The next round finds the addresses. */
static void resolved(struct target_waiter *waiter)
{
	(void)waiter;
}

static void look(struct listener *l)
{
	struct watch *w = &l->watch;
	int r;

	if (w->fd >= 0) {
		if (l->relay->loop.now >= w->until)
			judge(l, ETIMEDOUT);
		return;
	}
	if (w->waiter.waits)
		return;
	r = target_ask(l->target, &w->waiter);
	if (r > 0)
		call(l);
	else if (r < 0)
		watch_refused(l, l->target->error);
}

static void on_round(struct loop_timer *timer)
{
	struct relay *relay = LOOP_OWNER(timer, struct relay, watch_timer);

	for (size_t i = 0; i < relay->listeners.n; i++) {
		struct listener *l = relay->listeners.items[i];

		if (!l->watch.on)
			continue;
		timer->at = relay->loop.now + WATCH_EVERY_MS;
		if (l->protocol == IPPROTO_UDP)
			watch_udp_look(l);
		else
			look(l);
	}
}

void watch_init(struct relay *relay)
{
	relay->watch_timer = (struct loop_timer){.run = on_round};
	loop_timer_add(&relay->loop, &relay->watch_timer);
}

void watch_set(struct listener *l, bool on)
{
	watch_stop(l);
	l->watch.on = on;
	l->watch.waiter.resolved = resolved;
	if (!l->watch.on)
		watch_answered(l);
	else if (!l->relay->watch_timer.at)
		l->relay->watch_timer.at = l->relay->loop.now + WATCH_EVERY_MS;
}

void watch_stop(struct listener *l)
{
	watch_hang_up(l);
	target_forget(&l->watch.waiter);
	l->watch.on = false;
}
