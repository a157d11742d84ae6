// SPDX-License-Identifier: MIT
#include "kkwg/uapi.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "kkwg/config.h"
#include "kkwg/engine.h"
#include "kkwg/flows.h"
#include "kkwg/threads.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/log.h"

#define CLIENTS	 16   /* connections at a time */
#define LINE_LEN 4096 /* longest line of a request */
#define LISTENER 0    /* watch id; clients follow */

enum request {
	REQUEST_NONE, /* waiting for "get=1", "set=1" or "flow=1" */
	REQUEST_GET,
	REQUEST_SET,
	REQUEST_FLOW,
};

struct client {
	int fd; /* -1: free */
	enum request request;
	int error; /* first error of the set or flow request, negative errno */
	struct config_change *change;
	bool flows_only; /* it has asked for flows and so has given up the rest */
	unsigned int n_flows;
	FILE *flows; /* writes to flows_text */
	char *flows_text;
	size_t flows_len;
	size_t line_len;
	bool overlong; /* the rest of a line that is too long is skipped */
	char *answer;  /* what is still to be written */
	size_t answer_len, answer_at;
	size_t input_len, input_at; /* what was read and not yet looked at */
	char input[LINE_LEN];
	char line[LINE_LEN];
};

struct uapi {
	struct engine *engine;
	int fd;
	struct sockaddr_un addr;
	struct stat file;
	struct client *clients[CLIENTS];
};

/* Whether somebody answers on the socket. */
static bool alive(const struct sockaddr_un *addr)
{
	KK_CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd >= 0 && connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0;
}

/* The socket appears under its name only once it answers. */
static int bind_socket(struct uapi *u, struct kk_err *err)
{
	struct sockaddr_un fresh = u->addr;
	mode_t old;
	int r;

	if (kk_mkdir_p(UAPI_DIR, 0755) < 0)
		return kk_err_set(err, errno, "", UAPI_DIR ": %m");
	u->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (u->fd < 0)
		return kk_err_set(err, errno, "", "control socket: %m");
	if (alive(&u->addr))
		return kk_err_set(err, EADDRINUSE, "interface", "%s is in use", u->addr.sun_path);
	/* Longer than an interface name may be, so it is nobody else's. */
	snprintf(fresh.sun_path, sizeof(fresh.sun_path), "%.64s.%ld", u->addr.sun_path,
		 (long)getpid());
	unlink(fresh.sun_path);
	old = umask(0077);
	r = bind(u->fd, (struct sockaddr *)&fresh, sizeof(fresh));
	umask(old);
	if (r < 0 || listen(u->fd, CLIENTS) < 0 || rename(fresh.sun_path, u->addr.sun_path) < 0 ||
	    stat(u->addr.sun_path, &u->file) < 0) {
		r = kk_err_set(err, errno, "", "%s: %m", u->addr.sun_path);
		unlink(fresh.sun_path);
		return r;
	}
	return 0;
}

int uapi_open(struct engine *e, const char *iface, struct uapi **ret, struct kk_err *err)
{
	struct uapi *u = calloc(1, sizeof(*u));
	int r;

	if (!u)
		return kk_err_set(err, ENOMEM, "", "out of memory");
	u->engine = e;
	u->addr.sun_family = AF_UNIX;
	snprintf(u->addr.sun_path, sizeof(u->addr.sun_path), UAPI_DIR "/%s.sock", iface);
	r = bind_socket(u, err);
	if (r < 0) {
		kk_close(u->fd);
		free(u);
		return r;
	}
	engine_watch(e, u->fd, EPOLLIN, LISTENER, false);
	*ret = u;
	return 0;
}

bool uapi_exists(const struct uapi *u)
{
	struct stat now;

	return stat(u->addr.sun_path, &now) == 0 && now.st_ino == u->file.st_ino &&
	       now.st_dev == u->file.st_dev;
}

static void client_end(struct uapi *u, unsigned int i)
{
	struct client *c = u->clients[i];

	kk_close(c->fd);
	config_change_free(c->change);
	if (c->flows)
		fclose(c->flows);
	free(c->flows_text);
	if (c->answer)
		wg_zero(c->answer, c->answer_len);
	free(c->answer);
	wg_zero(c, sizeof(*c));
	free(c);
	u->clients[i] = NULL;
	/* A large configuration leaves no memory behind. */
	malloc_trim(0);
}

void uapi_close(struct uapi *u)
{
	if (!u)
		return;
	for (unsigned int i = 0; i < CLIENTS; i++)
		if (u->clients[i])
			client_end(u, i);
	if (uapi_exists(u))
		unlink(u->addr.sun_path);
	kk_close(u->fd);
	free(u);
}

static void accept_client(struct uapi *u)
{
	int fd = accept4(u->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	for (unsigned int i = 0; i < CLIENTS; i++) {
		if (u->clients[i])
			continue;
		u->clients[i] = calloc(1, sizeof(struct client));
		if (!u->clients[i])
			break;
		u->clients[i]->fd = fd;
		engine_watch(u->engine, fd, EPOLLIN, 1 + i, false);
		return;
	}
	kk_close(fd);
}

/* Appends to the answer; @body is taken over. */
static void answer(struct client *c, char *body, size_t len, int error)
{
	char tail[32];
	int tail_len = snprintf(tail, sizeof(tail), "errno=%d\n\n", error);
	char *grown = realloc(body, len + (size_t)tail_len);

	if (!grown) {
		free(body);
		return;
	}
	memcpy(grown + len, tail, (size_t)tail_len);
	free(c->answer);
	c->answer = grown;
	c->answer_len = len + (size_t)tail_len;
	c->answer_at = 0;
}

static void answer_get(struct uapi *u, struct client *c)
{
	char *body = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&body, &len);

	if (!f) {
		answer(c, NULL, 0, -ENOMEM);
		return;
	}
	threads_pause(u->engine);
	config_print(u->engine, f);
	threads_resume(u->engine);
	fclose(f);
	answer(c, body, len, 0);
}

static void answer_set(struct uapi *u, struct client *c)
{
	int r = c->error;

	if (!r) {
		threads_pause(u->engine);
		r = config_change_apply(c->change, u->engine);
		threads_resume(u->engine);
	}
	config_change_free(c->change);
	c->change = NULL;
	answer(c, NULL, 0, r);
}

static void answer_flows(struct client *c)
{
	fclose(c->flows);
	c->flows = NULL;
	answer(c, c->flows_text, c->flows_text ? c->flows_len : 0, c->error);
	c->flows_text = NULL;
}

static int flow_line(struct uapi *u, struct client *c)
{
	return c->n_flows++ < FLOWS_MAX ? flows_answer(u->engine, c->line, c->flows) : -E2BIG;
}

/* The first line of a request. Returns whether it is one. */
static bool begin_request(struct client *c)
{
	if (strcmp(c->line, "flow=1") == 0) {
		c->request = REQUEST_FLOW;
		c->error = 0;
		c->n_flows = 0;
		c->flows_only = true;
		c->flows = open_memstream(&c->flows_text, &c->flows_len);
		return c->flows != NULL;
	}
	if (c->flows_only)
		return false;
	if (strcmp(c->line, "get=1") == 0) {
		c->request = REQUEST_GET;
		return true;
	}
	if (strcmp(c->line, "set=1") == 0) {
		c->request = REQUEST_SET;
		c->error = 0;
		c->change = config_change_new();
		return c->change != NULL;
	}
	return false;
}

/* A whole line came, without its newline. Returns false where the connection ends. */
static bool take_line(struct uapi *u, struct client *c)
{
	bool empty = c->line_len == 0 && !c->overlong;

	c->line[c->line_len] = '\0';
	if (c->request == REQUEST_NONE)
		return empty || begin_request(c);
	if (!empty) {
		if (c->request == REQUEST_GET)
			return false;
		if (!c->error && (c->overlong || strlen(c->line) != c->line_len))
			c->error = -EPROTO;
		if (!c->error)
			c->error = c->request == REQUEST_FLOW
					   ? flow_line(u, c)
					   : config_change_line(c->change, c->line);
		return true;
	}
	if (c->request == REQUEST_GET)
		answer_get(u, c);
	else if (c->request == REQUEST_FLOW)
		answer_flows(c);
	else
		answer_set(u, c);
	c->request = REQUEST_NONE;
	return true;
}

/* Writes what is left of the answer. Returns false where the connection ends. */
static bool write_answer(struct uapi *u, unsigned int i)
{
	struct client *c = u->clients[i];

	while (c->answer_at < c->answer_len) {
		ssize_t n = send(c->fd, c->answer + c->answer_at, c->answer_len - c->answer_at,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN) {
			engine_watch(u->engine, c->fd, EPOLLOUT, 1 + i, true);
			return true;
		}
		if (n < 0)
			return false;
		c->answer_at += (size_t)n;
	}
	if (c->answer) {
		wg_zero(c->answer, c->answer_len);
		free(c->answer);
		c->answer = NULL;
		c->answer_len = c->answer_at = 0;
		engine_watch(u->engine, c->fd, EPOLLIN, 1 + i, true);
	}
	return true;
}

/* Looks at what was read, up to the end of one request. Returns false where the connection ends. */
static bool take_input(struct uapi *u, struct client *c)
{
	while (c->input_at < c->input_len && !c->answer) {
		char byte = c->input[c->input_at++];

		if (byte != '\n') {
			if (c->line_len < sizeof(c->line) - 1)
				c->line[c->line_len++] = byte;
			else
				c->overlong = true;
			continue;
		}
		if (!take_line(u, c))
			return false;
		c->line_len = 0;
		c->overlong = false;
	}
	return true;
}

static bool read_input(struct client *c)
{
	ssize_t n = recv(c->fd, c->input, sizeof(c->input), MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	c->input_len = (size_t)n;
	c->input_at = 0;
	return n > 0;
}

/* One answer at a time: requests behind it wait. */
static bool serve(struct uapi *u, unsigned int i, bool readable)
{
	struct client *c = u->clients[i];

	if (c->answer && !write_answer(u, i))
		return false;
	if (!c->answer && c->input_at == c->input_len && readable && !read_input(c))
		return false;
	while (!c->answer && c->input_at < c->input_len)
		if (!take_input(u, c) || (c->answer && !write_answer(u, i)))
			return false;
	return true;
}

void uapi_event(struct uapi *u, uint64_t id, uint32_t events)
{
	unsigned int i = (unsigned int)id - 1;
	bool ok;

	if (id == LISTENER) {
		accept_client(u);
		return;
	}
	if (i >= CLIENTS || !u->clients[i])
		return;
	ok = serve(u, i, events & (EPOLLIN | EPOLLHUP | EPOLLERR));
	if (!ok)
		client_end(u, i);
}
