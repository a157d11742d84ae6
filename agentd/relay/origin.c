// SPDX-License-Identifier: MIT
#include "agentd/relay/origin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "util/cleanup.h"
#include "util/log.h"

static void ask(struct loop_work *work);
static void on_answer(struct loop_io *io, uint32_t events);

void origins_init(struct origins *o, struct loop *loop)
{
	*o = (struct origins){.loop = loop, .fd = -1, .io.ready = on_answer, .work.run = ask};
	TAILQ_INIT(&o->waiting);
	TAILQ_INIT(&o->asked);
}

/* Asks again, over a line that is new, what was asked over one that is no more. */
static void hang_up(struct origins *o)
{
	if (o->fd >= 0)
		loop_del(o->loop, o->fd);
	o->fd = kk_close(o->fd);
	TAILQ_CONCAT(&o->asked, &o->waiting, link);
	TAILQ_CONCAT(&o->waiting, &o->asked, link);
	o->n_asked = 0;
	o->len = 0;
}

static void tell(struct origin_queue *queue, const char *gateway)
{
	struct origin *origin = TAILQ_FIRST(queue);

	TAILQ_REMOVE(queue, origin, link);
	origin->waits = false;
	if (gateway)
		snprintf(origin->gateway, sizeof(origin->gateway), "%s", gateway);
	origin->told(origin);
}

void origins_clean(struct origins *o)
{
	hang_up(o);
	while (!TAILQ_EMPTY(&o->waiting))
		tell(&o->waiting, NULL);
	loop_cancel(o->loop, &o->work);
	json_decref(o->names);
	o->names = NULL;
}

int origins_set(struct origins *o, int fd, json_t *names, struct kk_err *err)
{
	int r, flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return kk_err_set(err, errno, "socket", "the socket cannot be made non-blocking");
	r = loop_add(o->loop, fd, EPOLLIN, &o->io);
	if (r < 0)
		return kk_err_set(err, -r, "socket", "the socket cannot be watched: %s",
				  strerror(-r));
	hang_up(o);
	o->fd = fd;
	json_decref(o->names);
	o->names = json_incref(names);
	if (!TAILQ_EMPTY(&o->waiting))
		loop_later(o->loop, &o->work);
	return 0;
}

void origin_ask(struct origins *o, struct origin *origin)
{
	if (origin->waits)
		return;
	origin->waits = true;
	TAILQ_INSERT_TAIL(&o->waiting, origin, link);
	if (!o->n_asked)
		loop_later(o->loop, &o->work);
}

static size_t write_question(const struct origin *origin, char *text, size_t len)
{
	char client[KK_ENDPOINT_TEXT], local[KK_ENDPOINT_TEXT];

	return (size_t)snprintf(
		text, len, "%s=%s %s\n", origin->protocol == IPPROTO_TCP ? "tcp" : "udp",
		kk_sockaddr_text(&origin->client, client), kk_sockaddr_text(&origin->local, local));
}

static void lost(struct origins *o, const char *why)
{
	kk_warn("gateways of new sessions are not known until the daemon helps: %s", why);
	hang_up(o);
	loop_later(o->loop, &o->work);
}

/* One question at a time: those that come meanwhile go into the next. */
static void ask(struct loop_work *work)
{
	struct origins *o = LOOP_OWNER(work, struct origins, work);
	char text[ORIGIN_BATCH * ORIGIN_LINE];
	size_t len = (size_t)snprintf(text, sizeof(text), "flow=1\n");

	while (o->fd < 0 && !TAILQ_EMPTY(&o->waiting))
		tell(&o->waiting, NULL);
	if (o->n_asked || TAILQ_EMPTY(&o->waiting))
		return;
	while (o->n_asked < ORIGIN_BATCH && !TAILQ_EMPTY(&o->waiting)) {
		struct origin *origin = TAILQ_FIRST(&o->waiting);

		len += write_question(origin, text + len, ORIGIN_LINE);
		TAILQ_REMOVE(&o->waiting, origin, link);
		TAILQ_INSERT_TAIL(&o->asked, origin, link);
		o->n_asked++;
	}
	text[len++] = '\n';
	if (send(o->fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)len)
		lost(o, "the engine does not listen");
}

/* Takes a whole answer. Returns whether it is one. */
static bool take_answer(struct origins *o)
{
	static const char key[] = "public_key=";
	char *line = o->text;

	while (o->n_asked) {
		char *end = strchr(line, '\n');

		if (!end || strncmp(line, key, strlen(key)) != 0)
			return false;
		*end = '\0';
		o->n_asked--;
		tell(&o->asked, json_string_value(json_object_get(o->names, line + strlen(key))));
		line = end + 1;
	}
	return strcmp(line, "errno=0\n\n") == 0;
}

static void on_answer(struct loop_io *io, uint32_t events)
{
	struct origins *o = LOOP_OWNER(io, struct origins, io);
	ssize_t n = recv(o->fd, o->text + o->len, sizeof(o->text) - 1 - o->len, MSG_DONTWAIT);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		lost(o, n < 0 ? strerror(errno) : "the engine has ended");
		return;
	}
	o->len += (size_t)n;
	o->text[o->len] = '\0';
	if (o->len < 2 || strcmp(o->text + o->len - 2, "\n\n") != 0)
		return;
	o->len = 0;
	if (!take_answer(o)) {
		lost(o, "the engine's answer cannot be read");
		return;
	}
	if (!TAILQ_EMPTY(&o->waiting))
		loop_later(o->loop, &o->work);
}
