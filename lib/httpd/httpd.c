// SPDX-License-Identifier: MIT
#include "httpd/httpd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "httpd/internal.h"
#include "util/cleanup.h"
#include "util/log.h"

#define REQUEST_TIME_US                                                                            \
	(20 * 1000000ull) /* from the connection, or the answer before, to the next answer */
#define MEMORY_LIMIT	(8 << 10) /* of a connection: request line, headers, a part of the body */
#define ACCEPT_BATCH	32
#define ACCEPT_PAUSE_US 200000ull

static void mhd_log(void *cls, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

static void mhd_log(void *cls, const char *fmt, va_list ap)
{
	const struct kk_httpd *httpd = cls;
	char line[256];

	vsnprintf(line, sizeof(line), fmt, ap);
	/* Behind TLS it has a socket pair, which knows no options of TCP. */
	if (httpd->tls && (strncmp(line, "Setting TCP_", 12) == 0 ||
			   strncmp(line, "Failed to push the data", 23) == 0))
		return;
	line[strcspn(line, "\n")] = '\0';
	kk_debug("http: %s", line);
}

/* Lets libmicrohttpd do what there is to do, and sets the timer for when it wants to be called again. */
static void run(struct kk_httpd *httpd)
{
	MHD_UNSIGNED_LONG_LONG wait_ms;
	uint64_t now;

	MHD_run(httpd->mhd);
	if (MHD_get_timeout(httpd->mhd, &wait_ms) != MHD_YES) {
		sd_event_source_set_enabled(httpd->timer, SD_EVENT_OFF);
		return;
	}
	if (!wait_ms) {
		kk_httpd_kick(httpd);
		return;
	}
	sd_event_now(httpd->event, CLOCK_MONOTONIC, &now);
	sd_event_source_set_time(httpd->timer, now + wait_ms * 1000);
	sd_event_source_set_enabled(httpd->timer, SD_EVENT_ONESHOT);
}

static int on_epoll(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	(void)source;
	(void)fd;
	(void)revents;
	run(userdata);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	run(userdata);
	return 0;
}

static int on_kick(sd_event_source *source, void *userdata)
{
	(void)source;
	run(userdata);
	return 0;
}

void kk_httpd_kick(struct kk_httpd *httpd)
{
	sd_event_source_set_enabled(httpd->kick, SD_EVENT_ONESHOT);
}

/* All deadlines are the same time ahead, so the list is in order when new ones go to its end. */
void kk_httpd_set_deadline(struct kk_httpd_connection *connection)
{
	struct kk_httpd *httpd = connection->httpd;
	uint64_t now;

	kk_httpd_clear_deadline(connection);
	sd_event_now(httpd->event, CLOCK_MONOTONIC, &now);
	connection->deadline = now + REQUEST_TIME_US;
	connection->timed = true;
	if (TAILQ_EMPTY(&httpd->timed)) {
		sd_event_source_set_time(httpd->deadlines, connection->deadline);
		sd_event_source_set_enabled(httpd->deadlines, SD_EVENT_ONESHOT);
	}
	TAILQ_INSERT_TAIL(&httpd->timed, connection, link);
}

void kk_httpd_clear_deadline(struct kk_httpd_connection *connection)
{
	if (!connection->timed)
		return;
	TAILQ_REMOVE(&connection->httpd->timed, connection, link);
	connection->timed = false;
}

static int on_deadlines(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct kk_httpd *httpd = userdata;
	struct kk_httpd_connection *connection;

	while ((connection = TAILQ_FIRST(&httpd->timed)) && connection->deadline <= usec) {
		kk_httpd_clear_deadline(connection);
		/* libmicrohttpd finds the connection ended and closes it. */
		shutdown(connection->fd, SHUT_RDWR);
	}
	if (connection) {
		sd_event_source_set_time(source, connection->deadline);
		sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	}
	return 0;
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **context,
			  enum MHD_ConnectionNotificationCode code)
{
	struct kk_httpd *httpd = cls;
	struct kk_httpd_connection *connection = *context;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		connection = calloc(1, sizeof(*connection));
		if (!connection)
			return; /* the request is refused for want of it */
		connection->httpd = httpd;
		connection->guest = httpd->adding;
		connection->guest->refs++;
		connection->fd =
			MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
		kk_httpd_set_deadline(connection);
		*context = connection;
		return;
	}
	if (!connection)
		return;
	kk_httpd_clear_deadline(connection);
	if (!httpd->tls)
		kk_httpd_connection_left(connection->guest);
	kk_httpd_guest_put(connection->guest);
	free(connection);
	*context = NULL;
}

int kk_httpd_add_connection(struct kk_httpd *httpd, int fd, struct kk_httpd_guest *guest,
			    const struct sockaddr_in *peer)
{
	enum MHD_Result r;

	httpd->adding = guest; /* for on_connection(), which is called meanwhile */
	r = MHD_add_connection(httpd->mhd, fd, (const struct sockaddr *)peer, sizeof(*peer));
	httpd->adding = NULL;
	if (r != MHD_YES)
		return -ENOMEM; /* libmicrohttpd closed it */
	kk_httpd_kick(httpd);
	return 0;
}

void kk_httpd_connection_left(struct kk_httpd_guest *guest)
{
	struct kk_httpd *httpd = guest->httpd;

	kk_httpd_guest_settle(guest);
	kk_httpd_guest_put(guest);
	httpd->n_connections--;
	if (httpd->listen && httpd->n_connections < httpd->config.connections_max)
		sd_event_source_set_enabled(httpd->listen, SD_EVENT_ON);
}

static void take_connection(struct kk_httpd *httpd, int fd, const struct sockaddr_in *peer)
{
	struct kk_httpd_guest *guest = kk_httpd_guest_new(httpd, fd, peer);
	int r;

	if (!guest) {
		kk_close(fd);
		return;
	}
	httpd->n_connections++;
	r = httpd->tls ? kk_tls_accept(httpd->tls, fd, guest, peer)
		       : kk_httpd_add_connection(httpd, fd, guest, peer);
	if (r < 0)
		kk_httpd_connection_left(guest);
}

static int on_accept_again(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct kk_httpd *httpd = userdata;

	(void)source;
	(void)usec;
	if (httpd->n_connections < httpd->config.connections_max)
		sd_event_source_set_enabled(httpd->listen, SD_EVENT_ON);
	return 0;
}

static int on_listen(sd_event_source *source, int listen_fd, uint32_t revents, void *userdata)
{
	struct kk_httpd *httpd = userdata;

	(void)revents;
	for (int i = 0; i < ACCEPT_BATCH; i++) {
		struct sockaddr_in peer;
		socklen_t len = sizeof(peer);
		uint64_t now;
		int fd;

		if (httpd->n_connections >= httpd->config.connections_max) {
			sd_event_source_set_enabled(source, SD_EVENT_OFF);
			return 0;
		}
		fd = accept4(listen_fd, (struct sockaddr *)&peer, &len,
			     SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			take_connection(httpd, fd, &peer);
			continue;
		}
		if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
			return 0;
		/* Out of descriptors or memory: the queue stays, so do not spin on it. */
		kk_warn("cannot accept a connection: %s", strerror(errno));
		sd_event_source_set_enabled(source, SD_EVENT_OFF);
		sd_event_now(httpd->event, CLOCK_MONOTONIC, &now);
		sd_event_source_set_time(httpd->accept_again, now + ACCEPT_PAUSE_US);
		sd_event_source_set_enabled(httpd->accept_again, SD_EVENT_ONESHOT);
		return 0;
	}
	return 0;
}

static int listen_on(struct kk_httpd *httpd, struct kk_err *err)
{
	const struct sockaddr_in *addr = &httpd->config.listen;
	struct sockaddr_in bound;
	socklen_t len = sizeof(bound);
	char text[INET_ADDRSTRLEN];
	int one = 1;

	httpd->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (httpd->listen_fd < 0)
		return kk_err_set(err, errno, "listen", "cannot make a socket: %s",
				  strerror(errno));
	setsockopt(httpd->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(httpd->listen_fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 ||
	    listen(httpd->listen_fd, SOMAXCONN) < 0) {
		inet_ntop(AF_INET, &addr->sin_addr, text, sizeof(text));
		return kk_err_set(err, errno, "listen", "cannot listen on %s:%u: %s", text,
				  ntohs(addr->sin_port), strerror(errno));
	}
	if (getsockname(httpd->listen_fd, (struct sockaddr *)&bound, &len) < 0)
		return kk_err_set(err, errno, "listen", "cannot read the port: %s",
				  strerror(errno));
	httpd->port = ntohs(bound.sin_port);
	return 0;
}

/* A NUL would end the text early, and "ssh%00x" would be taken for "ssh": it becomes what no name has. */
static size_t unescape(void *cls, struct MHD_Connection *mhd, char *text)
{
	(void)cls;
	(void)mhd;
	for (char *at = text; (at = strstr(at, "%00")); at += 3)
		at[1] = '7', at[2] = 'f';
	return MHD_http_unescape(text);
}

static int start_mhd(struct kk_httpd *httpd, struct kk_err *err)
{
	const unsigned int flags = MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_UPGRADE |
				   MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;

	httpd->mhd = MHD_start_daemon(
		flags, 0, NULL, NULL, kk_httpd_on_request, httpd, MHD_OPTION_EXTERNAL_LOGGER,
		mhd_log, httpd, MHD_OPTION_NOTIFY_COMPLETED, kk_httpd_on_completed, httpd,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, httpd, MHD_OPTION_CONNECTION_LIMIT,
		httpd->config.connections_max + 1, MHD_OPTION_CONNECTION_TIMEOUT,
		KK_HTTPD_IDLE_TIME_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_LIMIT,
		MHD_OPTION_UNESCAPE_CALLBACK, unescape, httpd, MHD_OPTION_END);
	if (!httpd->mhd)
		return kk_err_set(err, ENOMEM, NULL, "cannot start the HTTP server");
	return 0;
}

static int add_timer(struct kk_httpd *httpd, sd_event_source **source, uint64_t slack,
		     sd_event_time_handler_t handler)
{
	int r = sd_event_add_time(httpd->event, source, CLOCK_MONOTONIC, 0, slack, handler, httpd);

	return r < 0 ? r : sd_event_source_set_enabled(*source, SD_EVENT_OFF);
}

static int add_sources(struct kk_httpd *httpd)
{
	int fd = MHD_get_daemon_info(httpd->mhd, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
	int r;

	r = sd_event_add_io(httpd->event, &httpd->epoll, fd, EPOLLIN, on_epoll, httpd);
	if (r < 0)
		return r;
	r = sd_event_add_io(httpd->event, &httpd->listen, httpd->listen_fd, EPOLLIN, on_listen,
			    httpd);
	if (r < 0)
		return r;
	r = sd_event_add_defer(httpd->event, &httpd->kick, on_kick, httpd);
	if (r < 0)
		return r;
	r = add_timer(httpd, &httpd->timer, 1000, on_timer);
	if (r < 0)
		return r;
	r = add_timer(httpd, &httpd->deadlines, 500000, on_deadlines);
	if (r < 0)
		return r;
	return add_timer(httpd, &httpd->accept_again, 1000, on_accept_again);
}

int kk_httpd_new(sd_event *event, const struct kk_httpd_config *config, struct kk_httpd **ret,
		 struct kk_err *err)
{
	struct kk_httpd *httpd = calloc(1, sizeof(*httpd));
	int r;

	if (!httpd)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	httpd->event = sd_event_ref(event);
	httpd->config = *config;
	httpd->listen_fd = -1;
	TAILQ_INIT(&httpd->timed);
	kk_httpd_limits_init(httpd);
	LIST_INIT(&httpd->requests);
	LIST_INIT(&httpd->upgrades);
	/* OpenSSL writes without MSG_NOSIGNAL. */
	if (config->tls_cert)
		signal(SIGPIPE, SIG_IGN);
	r = listen_on(httpd, err);
	if (r == 0)
		r = start_mhd(httpd, err);
	if (r == 0 && config->tls_cert)
		r = kk_tls_new(httpd, config->tls_cert, config->tls_key, &httpd->tls, err);
	if (r == 0) {
		r = add_sources(httpd);
		if (r < 0)
			kk_err_set(err, -r, NULL, "cannot watch the HTTP server: %s", strerror(-r));
	}
	if (r < 0) {
		kk_httpd_free(httpd);
		return r;
	}
	*ret = httpd;
	return 0;
}

static void stop_mhd(struct kk_httpd *httpd)
{
	struct kk_httpd_request *req, *next;

	while (!LIST_EMPTY(&httpd->upgrades))
		kk_httpd_upgrade_close(LIST_FIRST(&httpd->upgrades));
	/* libmicrohttpd wants every suspended connection back before it is stopped. */
	for (req = LIST_FIRST(&httpd->requests); req; req = next) {
		next = LIST_NEXT(req, link);
		if (req->state == KEPT)
			kk_httpd_request_gone(req);
	}
	MHD_run(httpd->mhd);
	MHD_stop_daemon(httpd->mhd);
}

void kk_httpd_free(struct kk_httpd *httpd)
{
	if (!httpd)
		return;
	httpd->listen = sd_event_source_disable_unref(httpd->listen);
	httpd->listen_fd = kk_close(httpd->listen_fd);
	if (httpd->mhd)
		stop_mhd(httpd);
	kk_tls_free(httpd->tls);
	kk_httpd_limits_clean(httpd);
	sd_event_source_disable_unref(httpd->epoll);
	sd_event_source_disable_unref(httpd->timer);
	sd_event_source_disable_unref(httpd->kick);
	sd_event_source_disable_unref(httpd->deadlines);
	sd_event_source_disable_unref(httpd->accept_again);
	sd_event_unref(httpd->event);
	free(httpd);
}

uint16_t kk_httpd_port(const struct kk_httpd *httpd)
{
	return httpd->port;
}
