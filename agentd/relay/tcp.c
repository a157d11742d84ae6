// SPDX-License-Identifier: MIT
#include "agentd/relay/tcp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "agentd/relay/proxy2.h"
#include "agentd/relay/pump.h"
#include "agentd/relay/relay.h"
#include "util/cleanup.h"
#include "util/log.h"

/* Set once: edge-triggered, so that no connection costs an epoll_ctl while it runs. */
#define EVENTS		(EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)
#define EVENTS_READ	(EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)
#define EVENTS_END	(EPOLLRDHUP | EPOLLHUP | EPOLLERR)
#define EVENTS_WRITE	(EPOLLOUT | EPOLLHUP | EPOLLERR)
#define ACCEPTS_AT_ONCE 64
#define QUIET_MS	10000 /* a complaint that goes on is not repeated */
#define RESUME_MS	200
#define CONNECT_TICK_MS 500

struct connection {
	struct loop_io client_io, target_io;
	struct session session;
	struct relay *relay;
	int client, target;
	bool open;			/* the target has answered */
	size_t tried;			/* addresses */
	int64_t deadline, deadline_one; /* while not open, loop time */
	struct target_waiter waiter;
	struct pump up, down; /* client to target, target to client */
	struct loop_work work;
	TAILQ_ENTRY(connection) link, connecting;
};

void tcp_set_options(int fd)
{
	const int on = 1, idle = 300, interval = 60, count = 5;

	/* What is missing here costs some latency, or a dead connection its early end, and no more. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

/* Closing with a reset tells the other end what the one end learnt: this was no orderly end. */
static void reset(int fd)
{
	const struct linger linger = {.l_onoff = 1};

	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

static void release(struct loop_work *work)
{
	free(LOOP_OWNER(work, struct connection, work));
}

static void not_connecting(struct connection *c)
{
	struct tcp *tcp = &c->relay->tcp;

	if (c->deadline)
		TAILQ_REMOVE(&tcp->connecting, c, connecting);
	c->deadline = 0;
	target_forget(&c->waiter);
}

static void end(struct connection *c)
{
	struct relay *relay = c->relay;

	not_connecting(c);
	pump_clean(&c->up, &relay->pipes);
	pump_clean(&c->down, &relay->pipes);
	c->client = kk_close(c->client);
	c->target = kk_close(c->target);
	session_end(&relay->sessions, &c->session);
	TAILQ_REMOVE(&relay->tcp.all, c, link);
	relay->tcp.n--;
	/* Events for it may be in hand: they find nobody, and the memory goes after them. */
	c->client_io.ready = c->target_io.ready = NULL;
	loop_cancel(&relay->loop, &c->work);
	c->work.run = release;
	loop_later(&relay->loop, &c->work);
}

enum side {
	CLIENT,
	TARGET,
};

/* @by: whose doing it is. */
static void fail(struct connection *c, enum side by, const char *why)
{
	c->session.failed = by == TARGET;
	snprintf(c->session.error, sizeof(c->session.error), "%s: %.95s",
		 by == TARGET ? "target" : "client", why);
	reset(c->client);
	reset(c->target);
	end(c);
}

static void fail_target(struct connection *c, const char *why)
{
	struct listener *l = c->session.listener;

	snprintf(l->error, sizeof(l->error), "target %.64s: %.95s", c->session.target->text, why);
	fail(c, TARGET, why);
}

/* After the pumps ran: end what has ended, come back for what was too much at once. */
static void settle(struct connection *c)
{
	c->session.rx_bytes = c->up.bytes;
	c->session.tx_bytes = c->down.bytes;
	if (c->up.state == PUMP_BROKEN)
		fail(c, CLIENT, strerror(c->up.error));
	else if (c->down.state == PUMP_BROKEN)
		fail(c, TARGET, strerror(c->down.error));
	else if (pump_ended(&c->up) && pump_ended(&c->down))
		end(c);
	else if (c->up.state == PUMP_MORE || c->down.state == PUMP_MORE)
		loop_later(&c->relay->loop, &c->work);
}

/*
 * Who takes no more may still have said something before (an early refusal, say): that goes on to the
 * other end. The event of the closing may have come and gone, so the other direction looks itself.
 */
static void run(struct connection *c, bool up, bool down)
{
	struct pipes *pipes = &c->relay->pipes;

	if (up && pump_run(&c->up, pipes) == PUMP_UNREAD)
		down = true;
	if (down && pump_run(&c->down, pipes) == PUMP_UNREAD)
		pump_run(&c->up, pipes);
	settle(c);
}

static void more(struct loop_work *work)
{
	struct connection *c = LOOP_OWNER(work, struct connection, work);

	run(c, c->up.state == PUMP_MORE, c->down.state == PUMP_MORE);
}

/* A pump that holds bytes waits for room, one that holds none for bytes: other events are not its own. */
static void events(struct connection *c, struct pump *reads, struct pump *writes, uint32_t happened)
{
	bool r = happened & EVENTS_READ && !reads->held;
	bool w = happened & EVENTS_WRITE && writes->held;

	reads->thorough |= (happened & EVENTS_END) != 0;
	if (r || w)
		run(c, reads == &c->up ? r : w, reads == &c->up ? w : r);
}

static int send_header(struct connection *c)
{
	const struct session *s = &c->session;
	uint8_t header[PROXY2_MAX];
	size_t len = proxy2_header(IPPROTO_TCP, &s->client, &s->port->local, header);

	/* The buffer of a fresh connection takes so few bytes at once. */
	return send(c->target, header, len, MSG_NOSIGNAL) == (ssize_t)len ? 0 : -1;
}

static void connected(struct connection *c)
{
	struct session *s = &c->session;

	not_connecting(c);
	s->target->prefer = (s->target->prefer + c->tried - 1) % s->target->n_addrs;
	s->listener->error[0] = '\0';
	c->open = true;
	tcp_set_options(c->target);
	c->up = (struct pump){.from = c->client, .to = c->target, .thorough = true};
	c->down = (struct pump){.from = c->target, .to = c->client, .thorough = true};
	if (s->listener->proxy_protocol && send_header(c) < 0)
		fail_target(c, "the PROXY header was not taken");
	else
		run(c, true, true); /* what came meanwhile made no event of its own */
}

static bool is_loopback(const struct sockaddr_storage *addr)
{
	const struct sockaddr_in *in = (const void *)addr;
	const struct sockaddr_in6 *in6 = (const void *)addr;

	if (addr->ss_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
	return ntohl(in->sin_addr.s_addr) >> IN_CLASSA_NSHIFT == IN_LOOPBACKNET;
}

/*
 * On the way to a target on this machine nothing gets congested. An algorithm that paces (BBR) would only make timers
 * and wake-ups: an eighth of the throughput.
 */
static void without_pacing(int fd)
{
	static const char name[] = "reno"; /* every kernel has it, and everybody may */

	setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, sizeof(name) - 1);
}

/* Begins with the next address. 0: under way, 1: connected, negative errno: this one will not do. */
static int connect_next(struct connection *c)
{
	struct target *t = c->session.target;
	const struct sockaddr_storage addr =
		target_addr(t, c->tried, c->session.port->number - c->session.listener->port);
	int r;

	c->tried++;
	c->deadline_one = c->deadline;
	if (c->tried < t->n_addrs)
		c->deadline_one = c->relay->loop.now + TCP_CONNECT_ONE_MS;
	c->target = socket(addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
	if (c->target < 0)
		return -errno;
	if (is_loopback(&addr))
		without_pacing(c->target);
	r = connect(c->target, (const struct sockaddr *)&addr, target_addr_len(&addr));
	if (r < 0 && errno != EINPROGRESS)
		return -errno;
	if (loop_add(&c->relay->loop, c->target, EVENTS, &c->target_io) < 0)
		return -errno;
	return r == 0;
}

/* Tries address after address; @why is what is known against the one before. */
static void try_target(struct connection *c, const char *why)
{
	while (c->tried < c->session.target->n_addrs) {
		int r;

		c->target = kk_close(c->target);
		r = connect_next(c);
		if (r > 0)
			connected(c);
		if (r >= 0)
			return;
		why = strerror(-r);
	}
	fail_target(c, why);
}

static void on_client(struct loop_io *io, uint32_t happened)
{
	struct connection *c = LOOP_OWNER(io, struct connection, client_io);

	if (c->open)
		events(c, &c->up, &c->down, happened);
	else if (happened & (EPOLLERR | EPOLLHUP))
		fail(c, CLIENT, "gone before the target answered");
}

static void on_target(struct loop_io *io, uint32_t happened)
{
	struct connection *c = LOOP_OWNER(io, struct connection, target_io);
	socklen_t len = sizeof(int);
	int error = 0;

	if (c->open) {
		events(c, &c->down, &c->up, happened);
		return;
	}
	if (!(happened & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
		return;
	if (getsockopt(c->target, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error)
		try_target(c, strerror(error));
	else
		connected(c);
}

static void resolved(struct target_waiter *waiter)
{
	struct connection *c = LOOP_OWNER(waiter, struct connection, waiter);

	try_target(c, c->session.target->error);
}

static void begin(struct listener_port *p, int fd, const union kk_sockaddr *peer)
{
	struct relay *relay = p->listener->relay;
	struct connection *c = calloc(1, sizeof(*c));

	if (!c || loop_add(&relay->loop, fd, EVENTS, &c->client_io) < 0) {
		kk_warn("service %s: a connection is refused, memory is short", p->listener->name);
		free(c);
		close(fd);
		return;
	}
	*c = (struct connection){.client_io.ready = on_client,
				 .target_io.ready = on_target,
				 .relay = relay,
				 .client = fd,
				 .target = -1,
				 .work.run = more,
				 .waiter.resolved = resolved,
				 .deadline = relay->loop.now + TCP_CONNECT_MS};
	c->deadline_one = c->deadline;
	session_begin(&relay->sessions, &c->session, p, peer);
	TAILQ_INSERT_TAIL(&relay->tcp.all, c, link);
	relay->tcp.n++;
	TAILQ_INSERT_TAIL(&relay->tcp.connecting, c, connecting);
	if (!relay->tcp.connect_timer.at)
		relay->tcp.connect_timer.at = relay->loop.now + CONNECT_TICK_MS;
	if (target_ask(c->session.target, &c->waiter) != 0)
		try_target(c, c->session.target->error);
}

static void watch_listeners(struct relay *relay, uint32_t what)
{
	for (size_t i = 0; i < relay->listeners.n; i++) {
		struct listener *l = relay->listeners.items[i];

		for (size_t j = 0; j < l->n_ports && l->protocol == IPPROTO_TCP; j++)
			loop_mod(&relay->loop, l->ports[j].fd, what, &l->ports[j].io);
	}
}

/* Callers then wait in the kernel's queues; without this the listeners would be ready without end. */
static void pause_listeners(struct relay *relay, const char *why)
{
	if (relay->loop.now >= relay->tcp.quiet_until)
		kk_warn("no new TCP connections for now, %u are open: %s", relay->tcp.n, why);
	relay->tcp.quiet_until = relay->loop.now + QUIET_MS;
	watch_listeners(relay, 0);
	relay->tcp.resume_timer.at = relay->loop.now + RESUME_MS;
}

static void resume(struct loop_timer *timer)
{
	struct tcp *tcp = LOOP_OWNER(timer, struct tcp, resume_timer);

	if (tcp->n < tcp->max)
		watch_listeners(tcp->relay, EPOLLIN);
	else
		timer->at = tcp->relay->loop.now + RESUME_MS;
}

void tcp_accept(struct loop_io *io, uint32_t happened)
{
	struct listener_port *p = LOOP_OWNER(io, struct listener_port, io);
	struct relay *relay = p->listener->relay;
	struct tcp *tcp = &relay->tcp;

	(void)happened;
	for (int i = 0; i < ACCEPTS_AT_ONCE; i++) {
		union kk_sockaddr peer = {.v6 = {0}};
		socklen_t len = sizeof(peer);
		int fd;

		if (tcp->n >= tcp->max) {
			pause_listeners(relay, "as many as the limit on open files allows");
			return;
		}
		fd = accept4(p->fd, &peer.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			begin(p, fd, &peer);
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			   errno == ENOMEM) {
			pause_listeners(relay, strerror(errno));
			return;
		} else if (errno == EAGAIN) {
			return;
		} /* Any other error was that of one connection, which is gone. */
	}
}

static void connect_timeout(struct loop_timer *timer)
{
	struct tcp *tcp = LOOP_OWNER(timer, struct tcp, connect_timer);
	int64_t now = tcp->relay->loop.now;
	struct connection *c, *next;

	for (c = TAILQ_FIRST(&tcp->connecting); c; c = next) {
		next = TAILQ_NEXT(c, connecting);
		if (now >= c->deadline)
			fail_target(c, strerror(ETIMEDOUT));
		else if (now >= c->deadline_one)
			try_target(c, strerror(ETIMEDOUT));
	}
	if (!TAILQ_EMPTY(&tcp->connecting))
		timer->at = now + CONNECT_TICK_MS;
}

void tcp_init(struct tcp *tcp, struct relay *relay, unsigned int max)
{
	*tcp = (struct tcp){.relay = relay,
			    .max = max,
			    .connect_timer.run = connect_timeout,
			    .resume_timer.run = resume};
	TAILQ_INIT(&tcp->all);
	TAILQ_INIT(&tcp->connecting);
	loop_timer_add(&relay->loop, &tcp->connect_timer);
	loop_timer_add(&relay->loop, &tcp->resume_timer);
}

void tcp_clean(struct tcp *tcp)
{
	struct connection *c;

	while ((c = TAILQ_FIRST(&tcp->all)))
		end(c);
}
