/* SPDX-License-Identifier: MIT */
/*
 * libmicrohttpd inside an sd-event loop: no threads, one handler a request once its body is complete,
 * answers now or later, and upgrade to a WebSocket. TLS ends in front of it, in OpenSSL: libmicrohttpd 0.9.75
 * tells an upgraded TLS connection nothing of the peer's leaving before it next writes.
 * With TLS the process ignores SIGPIPE from then on.
 */
#ifndef KK_HTTPD_HTTPD_H
#define KK_HTTPD_HTTPD_H

#include <stdbool.h>
#include <stddef.h>
#include <netinet/in.h>
#include <sys/types.h>

#include <systemd/sd-event.h>

#include "util/err.h"

struct kk_httpd;
struct kk_httpd_request; /* lives until it has been answered and sent */

struct kk_httpd_config {
	struct sockaddr_in listen;
	const char *tls_cert,
		*tls_key; /* PEM texts; both NULL: plain HTTP (metrics on a local port) */
	size_t body_max;  /* bytes; more is answered with 413 before the handler runs */
	/* Another bound for this request, asked when its headers are there. May be NULL. */
	size_t (*body_limit)(struct kk_httpd_request *req, void *userdata);
	unsigned int connections_max;
	/*
	 * Bounds for strangers, 0: none. Of connections that are no WebSocket (yet): in all, where the oldest ends
	 * for a new one, and from one address, where the new one is refused. Of connections and requests together
	 * in a second from one address, with four times as many at once: more are closed or answered with 429.
	 */
	unsigned int pending_max, pending_per_address, rate_per_address;
	/* Called with the whole body; must answer, or keep @req and answer later. */
	void (*handle)(struct kk_httpd_request *req, void *userdata);
	/* Answers in the form of the API what the server itself refuses (413, 429, 400). May be NULL. */
	void (*refuse)(struct kk_httpd_request *req, unsigned int status, void *userdata);
	/* The peer of a request that was kept went away: drop every use of @req. May be NULL. */
	void (*gone)(struct kk_httpd_request *req, void *userdata);
	void *userdata;
};

int kk_httpd_new(sd_event *event, const struct kk_httpd_config *config, struct kk_httpd **ret,
		 struct kk_err *err);
/* Closes every connection. Requests that are still kept end through @gone. */
void kk_httpd_free(struct kk_httpd *httpd);
/*
 * Connections to come are served with this certificate (with its chain behind it) and key, PEM texts; those that
 * there are go on. -EINVAL, and nothing changes, where the two are no pair. Only for a server that has TLS.
 */
int kk_httpd_set_tls(struct kk_httpd *httpd, const char *cert, const char *key, struct kk_err *err);
/* The port that is listened on, host byte order (for port 0 in the configuration). */
uint16_t kk_httpd_port(const struct kk_httpd *httpd);

const char *kk_httpd_method(const struct kk_httpd_request *req);
const char *kk_httpd_path(const struct kk_httpd_request *req); /* without the query */
const char *kk_httpd_header(const struct kk_httpd_request *req, const char *name); /* or NULL */
const char *kk_httpd_query(const struct kk_httpd_request *req, const char *name);  /* or NULL */
/* Calls @each with the name of every query parameter until it returns non-zero, and returns that. */
int kk_httpd_each_query(const struct kk_httpd_request *req,
			int (*each)(const char *name, void *userdata), void *userdata);
const char *kk_httpd_cookie(const struct kk_httpd_request *req, const char *name); /* or NULL */
const char *kk_httpd_body(const struct kk_httpd_request *req, size_t *ret_len);
/* The caller's address as text, without the port. */
const char *kk_httpd_peer(const struct kk_httpd_request *req);
/* A pointer of the handler's own, for a request that is kept. */
void kk_httpd_set_data(struct kk_httpd_request *req, void *data);
void *kk_httpd_data(const struct kk_httpd_request *req);

/* Adds a header to the answer to come. */
int kk_httpd_add_header(struct kk_httpd_request *req, const char *name, const char *value);
/* Answers; @body is copied. @req is not to be used afterwards. */
void kk_httpd_answer(struct kk_httpd_request *req, unsigned int status, const char *content_type,
		     const void *body, size_t len);

/*
 * Answers a WebSocket opening handshake (RFC 6455 section 4.2) with 101 and returns 0; or refuses it with 400
 * or 426 where it is none (-EINVAL), or closes the connection (-ENOMEM), and @opened is never called.
 * @opened gets the connection, which is its owner's until kk_httpd_upgrade_close(@connection), and its
 * descriptor, to be watched for readiness only. If the connection broke before, it gets NULL and -1 instead.
 */
struct kk_httpd_upgrade;
int kk_httpd_upgrade(struct kk_httpd_request *req,
		     void (*opened)(struct kk_httpd_upgrade *connection, int fd, void *userdata),
		     void *userdata);
/*
 * The frames in clear, non-blocking: bytes, 0 at the end of the stream, -EAGAIN or another negative errno. What
 * is not sent after -EAGAIN is to be brought again as it is. Readiness of the descriptor says nothing of what was
 * read ahead: read until -EAGAIN.
 */
ssize_t kk_httpd_upgrade_recv(struct kk_httpd_upgrade *connection, void *buf, size_t len);
ssize_t kk_httpd_upgrade_send(struct kk_httpd_upgrade *connection, const void *buf, size_t len);
void kk_httpd_upgrade_close(struct kk_httpd_upgrade *connection);

#endif
