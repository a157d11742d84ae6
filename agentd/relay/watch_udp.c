// SPDX-License-Identifier: MIT
/*
 * Targets of UDP. One that is well is left alone: an empty datagram is one that some applications take for the end of
 * all, and silence says nothing, for a datagram need not be answered. That its machine refuses is told by what clients send.
 * From then on nobody listens there, so that empty datagrams harm nobody: they are sent until none comes back refused. The first
 * that are not refused may be the application's, once, when it has come up; any client could have sent them. Where the
 * service has the PROXY protocol they carry a header of its command LOCAL, which is meant for this.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "agentd/relay/listener.h"
#include "agentd/relay/proxy2.h"
#include "agentd/relay/relay.h"
#include "agentd/relay/watch.h"
#include "util/cleanup.h"
#include "util/log.h"

#define STALE_MAX 65536 /* datagrams that a socket may hold */

/* Connected to itself, the socket is nobody else's: to others the port is closed. Bound by number, it stays ours. */
int watch_udp_shut(const struct listener_port *port)
{
	return connect(port->fd, &port->bound.any, kk_sockaddr_len(&port->bound)) < 0 ? -errno : 0;
}

int watch_udp_open(const struct listener_port *port)
{
	const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
	char byte;

	/* What has waited since it was shut, nobody waits for any more. */
	for (int i = 0; i < STALE_MAX && recv(port->fd, &byte, 1, MSG_DONTWAIT | MSG_TRUNC) >= 0;
	     i++)
		continue;
	return connect(port->fd, &nobody, sizeof(nobody)) < 0 ? -errno : 0;
}

static void on_answer(struct loop_io *io, uint32_t events)
{
	struct watch *w = LOOP_OWNER(io, struct watch, io);
	struct listener *l = LOOP_OWNER(w, struct listener, watch);
	char byte;
	ssize_t n;

	(void)events;
	if (w->fd < 0)
		return;
	n = recv(w->fd, &byte, 1, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	watch_hang_up(l);
	if (n >= 0) {
		watch_answered(l);
		return;
	}
	w->quiet = 0;
	w->tried++;
}

/* Short of descriptors we know nothing of the target; the next round tries again. */
static void ask(struct listener *l)
{
	const struct sockaddr_storage to = target_addr(l->target, l->watch.tried, 0);
	struct watch *w = &l->watch;
	uint8_t header[PROXY2_MAX];
	size_t len = l->proxy_protocol ? proxy2_local(header) : 0;

	w->until = l->relay->loop.now + WATCH_ANSWER_MS;
	w->fd = socket(to.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
	if (w->fd < 0)
		return;
	w->io.ready = on_answer;
	if (connect(w->fd, (const struct sockaddr *)&to, target_addr_len(&to)) < 0 ||
	    loop_add(&l->relay->loop, w->fd, EPOLLIN, &w->io) < 0 ||
	    send(w->fd, header, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
		kk_debug("service %s: target %s cannot be asked: %s", l->name, l->target->text,
			 strerror(errno));
		watch_hang_up(l);
	}
}

/* @l->watch.fd tells what has been asked and was not refused until now. */
void watch_udp_look(struct listener *l)
{
	struct watch *w = &l->watch;

	if (!w->down || l->relay->loop.now < w->until)
		return;
	if (w->fd >= 0) {
		watch_hang_up(l);
		if (++w->quiet >= WATCH_UDP_QUIET) {
			watch_answered(l);
			return;
		}
	}
	if (!w->waiter.waits && target_ask(l->target, &w->waiter) > 0)
		ask(l);
}
