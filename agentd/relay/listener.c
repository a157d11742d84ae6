// SPDX-License-Identifier: MIT
#include "agentd/relay/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "agentd/relay/relay.h"
#include "util/cleanup.h"

#define UDP_BUFFER (4 * 1024 * 1024)

static int option(int fd, int name)
{
	socklen_t len = sizeof(int);
	int value;

	return getsockopt(fd, SOL_SOCKET, name, &value, &len) < 0 ? -1 : value;
}

/* The caller of the control socket says what it sent; the kernel says what it is. */
static int check_socket(int fd, uint8_t protocol, struct kk_err *err)
{
	if (option(fd, SO_DOMAIN) != AF_INET && option(fd, SO_DOMAIN) != AF_INET6)
		return kk_err_set(err, EINVAL, "socket", "the descriptor is not an IP socket");
	if (option(fd, SO_PROTOCOL) != protocol)
		return kk_err_set(err, EINVAL, "protocol",
				  "the socket is not one of the protocol that is named");
	if (protocol == IPPROTO_TCP && option(fd, SO_ACCEPTCONN) != 1)
		return kk_err_set(err, EINVAL, "socket", "the TCP socket does not listen");
	return 0;
}

/* The kernel cuts it to what it allows. Ports of a range share the traffic. */
static void widen_buffers(int fd, int n_ports)
{
	const int size = n_ports > 16 ? UDP_BUFFER / 16 : UDP_BUFFER / n_ports;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

int listener_new(struct relay *relay, uint8_t protocol, uint16_t port, uint16_t last_port,
		 size_t max_ports, struct listener **ret, struct kk_err *err)
{
	struct listener *l = calloc(1, sizeof(*l));

	if (l)
		l->ports = calloc(max_ports, sizeof(*l->ports));
	if (!l || !l->ports) {
		free(l);
		return kk_err_set(err, ENOMEM, NULL, "memory is short");
	}
	l->refs = 1;
	l->watch.fd = -1;
	l->relay = relay;
	l->protocol = protocol;
	l->port = port;
	l->last_port = last_port;
	l->max_ports = max_ports;
	*ret = l;
	return 0;
}

/* The public port that belongs to @bound. */
static int public_port(const struct listener *l, const union kk_sockaddr *bound, uint16_t *ret,
		       struct kk_err *err)
{
	int first = kk_sockaddr_port(l->n_ports ? &l->ports[0].bound : bound);
	int number = l->port + kk_sockaddr_port(bound) - first;

	if (!kk_sockaddr_port(bound))
		return kk_err_set(err, EINVAL, "socket", "the socket is not bound to a port");
	if (number < l->port || number > l->last_port)
		return kk_err_set(err, EINVAL, "socket",
				  "the socket's port %u is none of the service's",
				  kk_sockaddr_port(bound));
	*ret = (uint16_t)number;
	return 0;
}

static int check_room(const struct listener *l, struct kk_err *err)
{
	const struct listeners *all = &l->relay->listeners;

	if (l->n_ports == l->max_ports)
		return kk_err_set(err, ENOSPC, "socket",
				  "%zu sockets were announced, this is one more", l->max_ports);
	if (all->n_ports >= all->max_ports)
		return kk_err_set(
			err, ENOSPC, NULL,
			"%zu listening sockets are all that the limit on open files allows",
			all->n_ports);
	return 0;
}

/* Fills in @p, and makes the socket ready to be served. */
static int take_socket(struct listener *l, struct listener_port *p, int fd, struct kk_err *err)
{
	socklen_t len = sizeof(p->bound);
	int flags, r = check_socket(fd, l->protocol, err);

	if (r < 0)
		return r;
	if (getsockname(fd, &p->bound.any, &len) < 0)
		return kk_err_set(err, errno, "socket", "the socket has no address: %s",
				  strerror(errno));
	r = public_port(l, &p->bound, &p->number, err);
	if (r < 0)
		return r;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return kk_err_set(err, errno, "socket", "the socket cannot be made non-blocking");
	const struct kk_address address = kk_sockaddr_address(&p->bound);

	p->local = kk_sockaddr_make(&address, p->number);
	p->listener = l;
	p->fd = fd;
	p->io.ready = l->protocol == IPPROTO_TCP ? tcp_accept : udp_receive;
	if (l->protocol == IPPROTO_UDP)
		widen_buffers(fd, l->last_port - l->port + 1);
	else
		tcp_set_options(fd);
	return 0;
}

int listener_add_port(struct listener *l, int fd, struct kk_err *err)
{
	struct listener_port *p = &l->ports[l->n_ports];
	int r = check_room(l, err);

	if (r == 0)
		r = take_socket(l, p, fd, err);
	if (r < 0)
		return r;
	r = loop_add(&l->relay->loop, fd, EPOLLIN, &p->io);
	if (r < 0)
		return kk_err_set(err, -r, "socket", "the socket cannot be watched: %s",
				  strerror(-r));
	l->n_ports++;
	l->relay->listeners.n_ports++;
	return 0;
}

/* Events for them may be in hand; they find nobody. */
static void close_ports(struct listener *l)
{
	watch_stop(l);
	for (size_t i = 0; i < l->n_ports; i++) {
		struct listener_port *p = &l->ports[i];

		if (p->fd < 0)
			continue;
		loop_del(&l->relay->loop, p->fd);
		p->fd = kk_close(p->fd);
		p->io.ready = NULL;
		l->relay->listeners.n_ports--;
	}
}

struct listener *listener_get(struct listener *l)
{
	l->refs++;
	return l;
}

static void release(struct loop_work *work)
{
	struct listener *l = LOOP_OWNER(work, struct listener, dead);

	free(l->ports);
	free(l);
}

void listener_put(struct listener *l)
{
	if (--l->refs)
		return;
	close_ports(l);
	target_put(l->target);
	l->dead.run = release;
	loop_later(&l->relay->loop, &l->dead);
}

size_t listeners_after(const struct listeners *ls, int64_t service)
{
	size_t low = 0, high = ls->n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (ls->items[mid]->service <= service)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct listener *listeners_find(const struct listeners *ls, int64_t service)
{
	size_t at = listeners_after(ls, service);
	struct listener *l = at ? ls->items[at - 1] : NULL;

	return l && l->service == service ? l : NULL;
}

static int grow(struct listeners *ls)
{
	size_t size = ls->size ? ls->size * 2 : 16;
	struct listener **items;

	if (ls->n < ls->size)
		return 0;
	items = reallocarray(ls->items, size, sizeof(*items));
	if (!items)
		return -ENOMEM;
	ls->items = items;
	ls->size = size;
	return 0;
}

int listeners_add(struct listeners *ls, struct listener *l, struct kk_err *err)
{
	size_t at = listeners_after(ls, l->service);

	if (listeners_find(ls, l->service))
		return kk_err_set(err, EEXIST, "service", "service %" PRId64 " is already served",
				  l->service);
	if (grow(ls) < 0)
		return kk_err_set(err, ENOMEM, NULL, "memory is short");
	memmove(&ls->items[at + 1], &ls->items[at], (ls->n - at) * sizeof(*ls->items));
	ls->items[at] = l;
	ls->n++;
	return 0;
}

void listeners_del(struct listeners *ls, struct listener *l)
{
	size_t at = listeners_after(ls, l->service) - 1;

	memmove(&ls->items[at], &ls->items[at + 1], (ls->n - at - 1) * sizeof(*ls->items));
	ls->n--;
	close_ports(l);
	if (l->protocol == IPPROTO_UDP)
		udp_end_listener(l);
	listener_put(l);
}

void listeners_clean(struct listeners *ls)
{
	while (ls->n)
		listeners_del(ls, ls->items[ls->n - 1]);
	free(ls->items);
	*ls = (struct listeners){0};
}
