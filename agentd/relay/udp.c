// SPDX-License-Identifier: MIT
#include "agentd/relay/udp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "agentd/relay/proxy2.h"
#include "agentd/relay/relay.h"
#include "agentd/relay/udp_batch.h"
#include "util/cleanup.h"
#include "util/log.h"

#define BATCHES_AT_ONCE 4
#define SOCKET_BUFFER	(1024 * 1024)

/* A datagram that waits for the target's address. */
struct held {
	size_t len;
	STAILQ_ENTRY(held) link;
	uint8_t data[];
};

struct udp_session {
	struct loop_io io; /* on fd */
	struct udp_entry entry;
	struct session session;
	struct relay *relay;
	int fd;	      /* connected to the target; -1 while its name is looked up */
	size_t tried; /* addresses of the target that refused */
	uint8_t prefix[PROXY2_MAX];
	size_t prefix_len;
	struct target_waiter waiter;
	STAILQ_HEAD(, held) held;
	unsigned int n_held;
	struct loop_work dead;
};

static void release(struct loop_work *work)
{
	free(LOOP_OWNER(work, struct udp_session, dead));
}

static void drop_held(struct udp_session *s)
{
	struct held *h;

	while ((h = STAILQ_FIRST(&s->held))) {
		STAILQ_REMOVE_HEAD(&s->held, link);
		free(h);
	}
	s->relay->udp.held -= s->n_held;
	s->n_held = 0;
}

static void end(struct udp_session *s)
{
	struct relay *relay = s->relay;

	drop_held(s);
	target_forget(&s->waiter);
	udp_table_del(&relay->udp.table, &s->entry);
	s->fd = kk_close(s->fd);
	session_end(&relay->sessions, &s->session);
	s->io.ready = NULL;
	s->dead.run = release;
	loop_later(&relay->loop, &s->dead);
}

static struct udp_session *owner(struct udp_entry *entry)
{
	return LOOP_OWNER(entry, struct udp_session, entry);
}

static void end_oldest(struct udp *udp)
{
	struct udp_entry *oldest = udp_table_oldest(&udp->table);

	if (oldest)
		end(owner(oldest));
}

static void note_error(struct udp_session *s, const char *why)
{
	struct listener *l = s->session.listener;

	s->session.failed = true;
	snprintf(s->session.error, sizeof(s->session.error), "target: %.95s", why);
	snprintf(l->error, sizeof(l->error), "target %.64s: %.95s", s->session.target->text, why);
}

static int open_socket(struct udp_session *s)
{
	struct target *t = s->session.target;
	const struct sockaddr_storage addr =
		target_addr(t, s->tried, s->session.port->number - s->session.listener->port);
	const int size = SOCKET_BUFFER;
	int fd = socket(addr.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (connect(fd, (const struct sockaddr *)&addr, target_addr_len(&addr)) < 0 ||
	    loop_add(&s->relay->loop, fd, EPOLLIN, &s->io) < 0) {
		kk_close(fd);
		return -errno;
	}
	s->fd = fd;
	return 0;
}

/* The other sockets of this kind make room when there is none. Negative: the session has an error noted. */
static int open_target(struct udp_session *s)
{
	int r = open_socket(s);

	if (r == -EMFILE && udp_table_oldest(&s->relay->udp.table) != &s->entry) {
		end_oldest(&s->relay->udp);
		r = open_socket(s);
	}
	if (r < 0)
		note_error(s, strerror(-r));
	return r;
}

static void send_held(struct udp_session *s)
{
	struct held *h;

	STAILQ_FOREACH(h, &s->held, link)
	{
		struct iovec iov[2] = {{s->prefix, s->prefix_len}, {h->data, h->len}};
		struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

		if (sendmsg(s->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			s->relay->udp.dropped++;
		else
			s->session.rx_bytes += h->len;
	}
	drop_held(s);
}

static void resolved(struct target_waiter *waiter)
{
	struct udp_session *s = LOOP_OWNER(waiter, struct udp_session, waiter);

	if (!s->session.target->n_addrs)
		note_error(s, s->session.target->error);
	if (!s->session.target->n_addrs || open_target(s) < 0)
		end(s);
	else
		send_held(s);
}

/*
 * A name such as localhost has addresses where nobody is; the first that refuses before anything was
 * heard makes room for the next. False: there is none.
 */
static bool next_address(struct udp_session *s)
{
	struct target *t = s->session.target;

	if (s->session.tx_bytes || s->tried + 1 >= t->n_addrs)
		return false;
	s->tried++;
	loop_del(&s->relay->loop, s->fd);
	s->fd = kk_close(s->fd);
	if (open_target(s) < 0)
		end(s);
	return true;
}

/* Of a range the first port stands for all. NULL: what the session hears of its target says nothing of the service's. */
static struct listener *watched(const struct udp_session *s)
{
	struct listener *l = s->session.listener;

	return s->session.target == l->target && s->session.port->number == l->port ? l : NULL;
}

/* @error is a positive errno that the target's socket told. The session may have ended after this. */
static void on_error(struct udp_session *s, int error)
{
	note_error(s, strerror(error));
	if (error == ECONNREFUSED && !next_address(s) && watched(s))
		watch_refused(watched(s), strerror(error));
}

static void heard(struct udp_session *s)
{
	struct target *t = s->session.target;

	s->session.failed = false;
	s->session.error[0] = s->session.listener->error[0] = '\0';
	if (s->tried && t->n_addrs)
		t->prefer = (t->prefer + s->tried) % t->n_addrs;
	s->tried = 0;
	if (watched(s))
		watch_answered(watched(s));
}

static void reply(struct loop_io *io, uint32_t events)
{
	struct udp_session *s = LOOP_OWNER(io, struct udp_session, io);
	struct udp *udp = &s->relay->udp;
	struct udp_batch *b = udp->batch;

	(void)events;
	for (int round = 0; round < BATCHES_AT_ONCE; round++) {
		int error, n = udp_batch_receive(b, s->fd);
		unsigned int left;

		if (n < 0)
			on_error(s, -n);
		if (n <= 0)
			return;
		udp_table_touch(&udp->table, &s->entry, s->relay->loop.now);
		for (unsigned int i = 0; i < (unsigned int)n; i++)
			udp_batch_queue(b, i, i, NULL, 0, &s->entry.client);
		left = udp_batch_send(b, s->session.port->fd, (unsigned int)n, &error);
		for (unsigned int i = 0; i < left; i++)
			s->session.tx_bytes += b->in[i].msg_len;
		udp->dropped += (unsigned int)n - left;
		heard(s);
		if (n < UDP_BATCH)
			return;
	}
}

static struct udp_session *make_session(struct listener_port *p, const union kk_sockaddr *client)
{
	struct listener *l = p->listener;
	struct udp *udp = &l->relay->udp;
	struct udp_session *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	if (udp->table.n >= udp->table.max)
		end_oldest(udp);
	*s = (struct udp_session){.io.ready = reply,
				  .relay = l->relay,
				  .fd = -1,
				  .entry = {.port = p, .client = *client},
				  .waiter.resolved = resolved};
	STAILQ_INIT(&s->held);
	udp_table_add(&udp->table, &s->entry, l->relay->loop.now);
	if (!udp->idle_timer.at)
		udp->idle_timer.at = l->relay->loop.now + udp->idle_ms;
	if (l->proxy_protocol)
		s->prefix_len = proxy2_header(IPPROTO_UDP, client, &p->local, s->prefix);
	session_begin(&l->relay->sessions, &s->session, p, client);
	return s;
}

/* The session of a client, made when it is its first datagram; NULL: nothing can be done with that. */
static struct udp_session *session_of(struct listener_port *p, const union kk_sockaddr *client)
{
	struct udp *udp = &p->listener->relay->udp;
	struct udp_entry *entry = udp_table_find(&udp->table, p, client);
	struct udp_session *s;
	int r;

	if (entry) {
		udp_table_touch(&udp->table, entry, udp->relay->loop.now);
		return owner(entry);
	}
	s = make_session(p, client);
	if (!s)
		return NULL;
	r = target_ask(s->session.target, &s->waiter);
	if (r < 0)
		note_error(s, s->session.target->error);
	if (r < 0 || (r > 0 && open_target(s) < 0)) {
		end(s);
		return NULL;
	}
	return s;
}

static void hold(struct udp_session *s, const void *data, size_t len)
{
	struct udp *udp = &s->relay->udp;
	struct held *h = NULL;

	if (s->n_held < UDP_HELD_SESSION && udp->held < UDP_HELD_ALL)
		h = malloc(sizeof(*h) + len);
	if (!h) {
		udp->dropped++;
		return;
	}
	h->len = len;
	memcpy(h->data, data, len);
	STAILQ_INSERT_TAIL(&s->held, h, link);
	s->n_held++;
	udp->held++;
}

/* Passes on datagrams @first to @end - 1 of the batch, all of one client. */
static void forward(struct udp_session *s, unsigned int first, unsigned int stop)
{
	struct udp_batch *b = s->relay->udp.batch;
	unsigned int left;
	int error;

	if (s->fd < 0) {
		for (unsigned int i = first; i < stop; i++)
			hold(s, b->data[i], b->in[i].msg_len);
		return;
	}
	for (unsigned int i = first; i < stop; i++)
		udp_batch_queue(b, i - first, i, s->prefix, s->prefix_len, NULL);
	left = udp_batch_send(b, s->fd, stop - first, &error);
	s->relay->udp.dropped += stop - first - left;
	for (unsigned int i = 0; i < left; i++)
		s->session.rx_bytes += b->in[first + i].msg_len;
	if (error && error != EAGAIN)
		on_error(s, error);
}

/*
 * A gateway's question whether somebody listens here (gatewayd/probe.h), which nothing but a closed port answers: an empty
 * datagram from the Agent's own /24, where no client is.
 */
static bool is_probe(const struct listener_port *p, const union kk_sockaddr *from, size_t len)
{
	const uint32_t differ = ntohl(from->v4.sin_addr.s_addr ^ p->bound.v4.sin_addr.s_addr);

	return len == 0 && p->listener->watch.on && from->any.sa_family == AF_INET &&
	       p->bound.any.sa_family == AF_INET && differ >> 8 == 0;
}

void udp_receive(struct loop_io *io, uint32_t events)
{
	struct listener_port *p = LOOP_OWNER(io, struct listener_port, io);
	struct udp *udp = &p->listener->relay->udp;
	struct udp_batch *b = udp->batch;

	(void)events;
	for (int round = 0; round < BATCHES_AT_ONCE; round++) {
		int n = udp_batch_receive(b, p->fd);

		/* An error here is one of a reply sent earlier; it is told once and harms nothing. */
		if (n <= 0)
			return;
		for (unsigned int i = 0, next; i < (unsigned int)n; i = next) {
			struct udp_session *s;

			next = i + 1;
			if (is_probe(p, &b->from[i], b->in[i].msg_len))
				continue;
			s = session_of(p, &b->from[i]);
			for (; next < (unsigned int)n; next++)
				if (!kk_sockaddr_equal(&b->from[next], &b->from[i]))
					break;
			if (s)
				forward(s, i, next);
			else
				udp->dropped += next - i;
		}
		if (n < UDP_BATCH)
			return;
	}
}

void udp_end_listener(struct listener *l)
{
	struct udp_entry *entry, *next;

	for (entry = udp_table_oldest(&l->relay->udp.table); entry; entry = next) {
		next = TAILQ_NEXT(entry, order);
		if (owner(entry)->session.listener == l)
			end(owner(entry));
	}
}

static void idle(struct loop_timer *timer)
{
	struct udp *udp = LOOP_OWNER(timer, struct udp, idle_timer);
	int64_t now = udp->relay->loop.now;
	struct udp_entry *oldest;

	while ((oldest = udp_table_oldest(&udp->table)) && now - oldest->used >= udp->idle_ms)
		end(owner(oldest));
	if (oldest)
		timer->at = oldest->used + udp->idle_ms;
}

int udp_init(struct udp *udp, struct relay *relay, unsigned int max, int64_t idle_ms)
{
	int r;

	*udp = (struct udp){.relay = relay, .idle_ms = idle_ms, .idle_timer.run = idle};
	r = udp_table_init(&udp->table, max < UDP_SESSIONS_MAX ? max : UDP_SESSIONS_MAX);
	if (r < 0)
		return r;
	loop_timer_add(&relay->loop, &udp->idle_timer);
	udp->batch = udp_batch_new();
	return udp->batch ? 0 : -ENOMEM;
}

void udp_clean(struct udp *udp)
{
	struct udp_entry *entry;

	while ((entry = udp_table_oldest(&udp->table)))
		end(owner(entry));
	udp_table_clean(&udp->table);
	free(udp->batch);
	udp->batch = NULL;
}
