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
	if (option(fd, SO_DOMAIN) != AF_INET)
		return kk_err_set(err, EINVAL, "socket", "the descriptor is not an IPv4 socket");
	if (option(fd, SO_PROTOCOL) != protocol)
		return kk_err_set(err, EINVAL, "protocol",
				  "the socket is not one of the protocol that is named");
	if (protocol == IPPROTO_TCP && option(fd, SO_ACCEPTCONN) != 1)
		return kk_err_set(err, EINVAL, "socket", "the TCP socket does not listen");
	return 0;
}

static void widen_buffers(int fd)
{
	const int size = UDP_BUFFER; /* the kernel cuts it to what it allows */

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

int listener_new(struct relay *relay, int fd, uint8_t protocol, uint16_t port,
		 struct listener **ret, struct kk_err *err)
{
	struct sockaddr_in local = {0};
	socklen_t len = sizeof(local);
	struct listener *l;
	struct sockaddr_in bound;
	int flags, r = check_socket(fd, protocol, err);

	if (r < 0)
		return r;
	if (getsockname(fd, (struct sockaddr *)&local, &len) < 0 || !local.sin_port)
		return kk_err_set(err, EINVAL, "socket", "the socket is not bound to a port");
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return kk_err_set(err, errno, "socket", "the socket cannot be made non-blocking");
	l = calloc(1, sizeof(*l));
	if (!l)
		return kk_err_set(err, ENOMEM, NULL, "memory is short");
	bound = local;
	local.sin_port = htons(port);
	*l = (struct listener){.refs = 1,
			       .relay = relay,
			       .fd = fd,
			       .protocol = protocol,
			       .port = port,
			       .bound = bound,
			       .local = local,
			       .io.ready = protocol == IPPROTO_TCP ? tcp_accept : udp_receive};
	if (protocol == IPPROTO_UDP)
		widen_buffers(fd);
	else
		tcp_set_options(fd);
	*ret = l;
	return 0;
}

struct listener *listener_get(struct listener *l)
{
	l->refs++;
	return l;
}

static void release(struct loop_work *work)
{
	free(LOOP_OWNER(work, struct listener, dead));
}

void listener_put(struct listener *l)
{
	if (--l->refs)
		return;
	l->fd = kk_close(l->fd);
	target_put(l->target);
	/* Events for it may be in hand. */
	l->io.ready = NULL;
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
	int r;

	if (listeners_find(ls, l->service))
		return kk_err_set(err, EEXIST, "service", "service %" PRId64 " is already served",
				  l->service);
	if (ls->n >= ls->max)
		return kk_err_set(err, ENOSPC, NULL,
				  "%zu listeners are all that the limit on open files allows",
				  ls->n);
	if (grow(ls) < 0)
		return kk_err_set(err, ENOMEM, NULL, "memory is short");
	r = loop_add(&l->relay->loop, l->fd, EPOLLIN, &l->io);
	if (r < 0)
		return kk_err_set(err, -r, "socket", "the socket cannot be watched: %s",
				  strerror(-r));
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
	loop_del(&l->relay->loop, l->fd);
	l->fd = kk_close(l->fd);
	l->io.ready = NULL;
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
