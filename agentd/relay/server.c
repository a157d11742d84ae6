// SPDX-License-Identifier: MIT
#include "agentd/relay/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agentd/relay/request.h"
#include "util/cleanup.h"
#include "util/log.h"

#define CLIENTS_MAX 16

struct client {
	struct loop_io io; /* fd -1: free */
	struct server *server;
	int fd;
	bool trusted;
};

struct server {
	struct loop_io io;
	struct relay *relay;
	int fd;
	uid_t owner;
	struct client clients[CLIENTS_MAX];
	char text[KK_RELAY_MESSAGE + 1];
};

/* The lock says who is alive, as the socket's file does not. It is held until the process ends. */
static int lock(const char *path, struct kk_err *err)
{
	char name[sizeof(((struct sockaddr_un *)0)->sun_path) + 8];
	int fd;

	snprintf(name, sizeof(name), "%s.lock", path);
	fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return kk_err_set(err, errno, "socket", "%s: %s", name, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	kk_close(fd);
	return kk_err_set(err, EADDRINUSE, "socket", "%s: another relay serves this socket", path);
}

int server_bind(const char *path, int *ret_fd, struct kk_err *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	KK_CLEANUP_CLOSE int fd = -1;
	KK_CLEANUP_CLOSE int locked = -1;
	mode_t mask;
	int r;

	if ((size_t)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path) >=
	    sizeof(addr.sun_path))
		return kk_err_set(err, ENAMETOOLONG, "socket", "%s: the path is too long", path);
	locked = lock(path, err);
	if (locked < 0)
		return locked;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return kk_err_set(err, errno, "socket", "socket: %s", strerror(errno));
	unlink(path);
	mask = umask(0117);
	r = bind(fd, (struct sockaddr *)&addr, sizeof(addr));
	umask(mask);
	if (r < 0 || listen(fd, CLIENTS_MAX) < 0)
		return kk_err_set(err, errno, "socket", "%s: %s", path, strerror(errno));
	*ret_fd = kk_steal_fd(&fd);
	kk_steal_fd(&locked);
	return 0;
}

static void drop(struct client *c)
{
	c->io.ready = NULL;
	c->fd = kk_close(c->fd);
}

static void take_fds(struct msghdr *msg, struct request_fds *fds)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		const int *fd = (const int *)CMSG_DATA(c);
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++)
			if (fds->n < REQUEST_FDS_MAX)
				fds->fd[fds->n++] = fd[i];
			else
				close(fd[i]);
	}
}

/* What no operation took. */
static void close_fds(struct request_fds *fds)
{
	for (size_t i = 0; i < fds->n; i++)
		close(fds->fd[i]);
}

static int answer(struct client *c, json_t *obj)
{
	KK_CLEANUP_FREE char *text = obj ? json_dumps(obj, JSON_COMPACT) : NULL;

	json_decref(obj);
	if (!text || send(c->fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return -EIO;
	return 0;
}

static json_t *too_long(void)
{
	return json_pack("{s:b, s:s}", "ok", 0, "error", "the message is too long");
}

/* Returns whether there may be another message. */
static bool serve_one(struct client *c)
{
	struct server *s = c->server;
	char control[CMSG_SPACE(REQUEST_FDS_MAX * sizeof(int))];
	struct iovec iov = {s->text, sizeof(s->text)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control)};
	KK_CLEANUP(close_fds) struct request_fds fds = {.n = 0};
	ssize_t n = recvmsg(c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	json_t *obj;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		drop(c);
		return false;
	}
	take_fds(&msg, &fds);
	if (msg.msg_flags & MSG_TRUNC || n > KK_RELAY_MESSAGE)
		obj = too_long();
	else
		obj = request_run(s->relay, s->text, (size_t)n, &fds, c->trusted);
	if (answer(c, obj) < 0) {
		kk_warn("a control connection does not take its answer and is closed");
		drop(c);
		return false;
	}
	return true;
}

static void on_client(struct loop_io *io, uint32_t events)
{
	struct client *c = LOOP_OWNER(io, struct client, io);

	(void)events;
	/* A few at once, not all: a caller that never stops must not stop the traffic. */
	for (int i = 0; i < 8 && serve_one(c); i++)
		;
}

static bool is_trusted(const struct server *s, int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return false;
	return peer.uid == 0 || peer.uid == s->owner;
}

static void on_connect(struct loop_io *io, uint32_t events)
{
	struct server *s = LOOP_OWNER(io, struct server, io);
	int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0)
		return;
	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		struct client *c = &s->clients[i];

		if (c->fd >= 0)
			continue;
		*c = (struct client){
			.io.ready = on_client, .server = s, .fd = fd, .trusted = is_trusted(s, fd)};
		if (loop_add(&s->relay->loop, fd, EPOLLIN, &c->io) < 0)
			drop(c);
		return;
	}
	kk_warn("a control connection is refused, %d are open", CLIENTS_MAX);
	close(fd);
}

int server_new(struct relay *relay, int fd, uid_t owner, struct server **ret)
{
	struct server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	*s = (struct server){.io.ready = on_connect, .relay = relay, .fd = fd, .owner = owner};
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		s->clients[i].fd = -1;
	r = loop_add(&relay->loop, fd, EPOLLIN, &s->io);
	if (r < 0) {
		free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void server_free(struct server *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		kk_close(s->clients[i].fd);
	kk_close(s->fd);
	free(s);
}
