// SPDX-License-Identifier: MIT
/*
 * TLS in front of libmicrohttpd: each session is one end of a socket pair away from it, and bytes are
 * carried both ways. An idle session holds no buffers; what one side does not take stops the other.
 */
#include "httpd/internal.h"

#include <errno.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "poll/poll.h"
#include "util/cleanup.h"
#include "util/log.h"

#define HANDSHAKE_TIME_US (10 * 1000000ull)
#define LINGER_TIME_US	  (2 * 1000000ull)
#define CHUNK		  16384 /* the plain text of one TLS record at most */
#define ROUNDS		  16	/* chunks each way in one turn of the loop */

/* What was read at one side and the other did not take yet. */
struct rest {
	uint8_t *data;
	size_t start, len;
};

struct kk_tls_session {
	struct kk_tls *tls;
	struct kk_httpd_guest *guest;
	SSL *ssl;
	/* The peer's socket; our end of the pair, whose fd is -1 during the handshake. */
	struct kk_poll_entry peer, app;
	sd_event_source *timer; /* NULL: nothing has to be done by a time */
	struct sockaddr_in address;
	struct rest in, out;
	bool want_write;
	bool in_ended, out_ended; /* by the peer; by libmicrohttpd */
	bool in_refused;	  /* libmicrohttpd reads no more */
	enum {
		HANDSHAKE,
		FORWARDING,
		DETACHED,  /* its plain text is somebody else's */
		LINGERING, /* everything is sent, the peer may still be sending */
	} state;
	LIST_ENTRY(kk_tls_session) link;
};

struct kk_tls {
	struct kk_httpd *httpd;
	struct kk_poll *poll;
	SSL_CTX *ctx;
	uint8_t chunk[CHUNK];
	LIST_HEAD(, kk_tls_session) sessions;
};

static void destroy(struct kk_tls_session *s)
{
	struct kk_httpd_guest *guest = s->guest;

	LIST_REMOVE(s, link);
	guest->session = NULL;
	kk_poll_forget(s->tls->poll, &s->peer);
	kk_poll_forget(s->tls->poll, &s->app);
	sd_event_source_disable_unref(s->timer);
	SSL_free(s->ssl);
	kk_close(s->peer.fd);
	kk_close(s->app.fd);
	free(s->in.data);
	free(s->out.data);
	free(s);
	kk_httpd_connection_left(guest);
}

static int keep_rest(struct rest *rest, const uint8_t *data, size_t len)
{
	rest->data = malloc(len);
	if (!rest->data)
		return -ENOMEM;
	memcpy(rest->data, data, len);
	rest->start = 0;
	rest->len = len;
	return 0;
}

static void drop_rest(struct rest *rest)
{
	free(rest->data);
	*rest = (struct rest){0};
}

/* Bytes, 0 at the end of the stream, -EAGAIN, or -EIO when the session is broken. */
static ssize_t session_result(struct kk_tls_session *s, int r)
{
	switch (SSL_get_error(s->ssl, r)) {
	case SSL_ERROR_NONE:
		return r;
	case SSL_ERROR_WANT_WRITE:
		s->want_write = true;
		return -EAGAIN;
	case SSL_ERROR_WANT_READ:
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	default:
		return -EIO;
	}
}

static ssize_t session_write(struct kk_tls_session *s, const uint8_t *data, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n;

		ERR_clear_error();
		n = session_result(s, SSL_write(s->ssl, data + done, (int)(len - done)));
		if (n == -EAGAIN)
			break;
		if (n <= 0)
			return -EIO;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/* The application's end may have been closed, which only stops this direction. */
static size_t app_write(struct kk_tls_session *s, const uint8_t *data, size_t len)
{
	ssize_t n = send(s->app.fd, data, len, MSG_NOSIGNAL);

	if (n >= 0)
		return (size_t)n;
	if (errno == EAGAIN || errno == EINTR)
		return 0;
	s->in_refused = true;
	return len;
}

/* One chunk from the peer to libmicrohttpd. Returns 1 if there may be more, 0, or -EIO. */
static int move_in(struct kk_tls_session *s)
{
	uint8_t *chunk = s->tls->chunk;
	size_t sent;
	ssize_t n;

	if (s->in.len) {
		sent = app_write(s, s->in.data + s->in.start, s->in.len);
		s->in.start += sent;
		s->in.len -= sent;
		if (s->in.len)
			return 0;
		drop_rest(&s->in);
	}
	if (s->in_ended || s->in_refused)
		return 0;
	ERR_clear_error();
	n = session_result(s, SSL_read(s->ssl, chunk, CHUNK));
	if (n == -EAGAIN)
		return 0;
	if (n < 0)
		return -EIO;
	if (n == 0) {
		s->in_ended = true;
		shutdown(s->app.fd, SHUT_WR);
		return 0;
	}
	sent = app_write(s, chunk, (size_t)n);
	if (sent < (size_t)n && keep_rest(&s->in, chunk + sent, (size_t)n - sent) < 0)
		return -EIO;
	return 1;
}

/* One chunk from libmicrohttpd to the peer. */
static int move_out(struct kk_tls_session *s)
{
	uint8_t *chunk = s->tls->chunk;
	ssize_t n, sent;

	if (s->out.len) {
		sent = session_write(s, s->out.data + s->out.start, s->out.len);
		if (sent < 0)
			return -EIO;
		s->out.start += (size_t)sent;
		s->out.len -= (size_t)sent;
		if (s->out.len)
			return 0;
		drop_rest(&s->out);
	}
	if (s->out_ended)
		return 0;
	n = recv(s->app.fd, chunk, CHUNK, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		s->out_ended = true;
		return 0;
	}
	sent = session_write(s, chunk, (size_t)n);
	if (sent < 0 || (sent < n && keep_rest(&s->out, chunk + sent, (size_t)(n - sent)) < 0))
		return -EIO;
	return 1;
}

static void watch(struct kk_tls_session *s)
{
	bool read = !s->in.len && !s->in_ended && !s->in_refused;
	bool write = s->out.len || s->want_write;

	/* Hang-ups are told even when nothing else is asked for, again and again: then be deaf. */
	kk_poll_watch(s->tls->poll, &s->peer, (read ? EPOLLIN : 0) | (write ? EPOLLOUT : 0));
	if (s->app.fd >= 0)
		kk_poll_watch(s->tls->poll, &s->app,
			      (!s->out.len && !s->out_ended ? EPOLLIN : 0) |
				      (s->in.len ? EPOLLOUT : 0));
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	destroy(userdata);
	return 0;
}

/* The session ends then, unless stop_timer() comes first. */
static int start_timer(struct kk_tls_session *s, uint64_t time_us)
{
	return sd_event_add_time_relative(s->tls->httpd->event, &s->timer, CLOCK_MONOTONIC, time_us,
					  100000, on_timer, s);
}

static void stop_timer(struct kk_tls_session *s)
{
	s->timer = sd_event_source_disable_unref(s->timer);
}

/*
 * Our side is done. Closing now would reset the connection if the peer is still sending, and the answer
 * (413, say) could be lost on its way: so end our half and wait a moment for the peer's.
 */
static void linger(struct kk_tls_session *s)
{
	ERR_clear_error();
	SSL_shutdown(s->ssl);
	if (s->in_ended || shutdown(s->peer.fd, SHUT_WR) < 0) {
		destroy(s);
		return;
	}
	s->state = LINGERING;
	kk_poll_forget(s->tls->poll, &s->app);
	s->app.fd = kk_close(s->app.fd);
	if (start_timer(s, LINGER_TIME_US) < 0 ||
	    kk_poll_watch(s->tls->poll, &s->peer, EPOLLIN) < 0)
		destroy(s);
}

static void drain(struct kk_tls_session *s)
{
	for (int i = 0; i < ROUNDS; i++) {
		ssize_t n = recv(s->peer.fd, s->tls->chunk, CHUNK, 0);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			destroy(s);
			return;
		}
	}
}

static void forward(struct kk_tls_session *s)
{
	int in = 1, out = 1;

	s->want_write = false;
	for (int i = 0; i < ROUNDS && (in > 0 || out > 0); i++) {
		in = move_in(s);
		out = in < 0 ? 0 : move_out(s);
		if (in < 0 || out < 0) {
			destroy(s);
			return;
		}
	}
	if (s->out_ended && !s->out.len)
		linger(s);
	else
		watch(s);
}

static void on_app(struct kk_poll_entry *entry, uint32_t revents)
{
	(void)revents;
	forward((struct kk_tls_session *)((char *)entry - offsetof(struct kk_tls_session, app)));
}

static int start_forwarding(struct kk_tls_session *s)
{
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	s->app.fd = pair[0];
	r = kk_poll_watch(s->tls->poll, &s->app, EPOLLIN);
	if (r < 0) {
		kk_close(pair[1]);
		return r;
	}
	s->state = FORWARDING;
	stop_timer(s);
	return kk_httpd_add_connection(s->tls->httpd, pair[1], s->guest, &s->address);
}

static void handshake(struct kk_tls_session *s)
{
	ssize_t n;

	s->want_write = false;
	ERR_clear_error();
	n = session_result(s, SSL_accept(s->ssl));
	if (n == -EAGAIN) {
		watch(s);
		return;
	}
	if (n <= 0) {
		kk_debug("https: a TLS handshake failed: %s",
			 ERR_peek_error() ? ERR_reason_error_string(ERR_peek_error()) : "closed");
		destroy(s);
		return;
	}
	if (start_forwarding(s) < 0) {
		kk_warn("https: cannot serve a connection: %s", strerror(errno));
		destroy(s);
		return;
	}
	forward(s);
}

static void on_peer(struct kk_poll_entry *entry, uint32_t revents)
{
	struct kk_tls_session *s =
		(struct kk_tls_session *)((char *)entry - offsetof(struct kk_tls_session, peer));

	if (revents & EPOLLERR)
		destroy(s);
	else if (s->state == HANDSHAKE)
		handshake(s);
	else if (s->state == FORWARDING)
		forward(s);
	else
		drain(s);
}

int kk_tls_accept(struct kk_tls *tls, int fd, struct kk_httpd_guest *guest,
		  const struct sockaddr_in *peer)
{
	struct kk_tls_session *s = calloc(1, sizeof(*s));
	int one = 1;

	if (!s) {
		kk_close(fd);
		return -ENOMEM;
	}
	s->tls = tls;
	s->guest = guest;
	guest->session = s;
	s->peer = (struct kk_poll_entry){.fd = fd, .ready = on_peer};
	s->app = (struct kk_poll_entry){.fd = -1, .ready = on_app};
	s->address = *peer;
	s->ssl = SSL_new(tls->ctx);
	if (!s->ssl || SSL_set_fd(s->ssl, fd) != 1 || start_timer(s, HANDSHAKE_TIME_US) < 0 ||
	    kk_poll_watch(tls->poll, &s->peer, EPOLLIN) < 0) {
		guest->session = NULL;
		stop_timer(s);
		SSL_free(s->ssl);
		kk_close(fd);
		free(s);
		return -ENOMEM;
	}
	/* What libmicrohttpd would do: a small message is not to wait for the answer to the last one. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	LIST_INSERT_HEAD(&tls->sessions, s, link);
	return 0;
}

int kk_tls_detach(struct kk_tls_session *s)
{
	int out = 1;

	/* The answer that switches protocols is still on its way through the pair. */
	while (out > 0 && !s->out_ended)
		out = move_out(s);
	if (out < 0 || s->out_ended || s->in.len || s->in_ended || s->in_refused)
		return -EIO;
	kk_poll_forget(s->tls->poll, &s->peer);
	kk_poll_forget(s->tls->poll, &s->app);
	s->app.fd = kk_close(s->app.fd);
	s->state = DETACHED;
	return s->peer.fd;
}

ssize_t kk_tls_recv(struct kk_tls_session *s, void *buf, size_t len)
{
	ERR_clear_error();
	return session_result(s, SSL_read(s->ssl, buf, len < INT_MAX ? (int)len : INT_MAX));
}

ssize_t kk_tls_send(struct kk_tls_session *s, const void *buf, size_t len)
{
	ssize_t n;

	if (s->out.len) {
		n = session_write(s, s->out.data + s->out.start, s->out.len);
		if (n < 0)
			return n;
		s->out.start += (size_t)n;
		s->out.len -= (size_t)n;
		if (s->out.len)
			return -EAGAIN;
		drop_rest(&s->out);
	}
	ERR_clear_error();
	n = session_result(s, SSL_write(s->ssl, buf, len < INT_MAX ? (int)len : INT_MAX));
	return n ? n : -EPIPE;
}

void kk_tls_close(struct kk_tls_session *s)
{
	linger(s);
}

/* What follows the server's own certificate leads to its authority. */
static int use_chain(SSL_CTX *ctx, BIO *bio)
{
	X509 *cert;
	int ok = 1;

	while (ok && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
		ok = SSL_CTX_add1_chain_cert(ctx, cert) == 1;
		X509_free(cert);
	}
	ERR_clear_error(); /* of the end of the text */
	return ok;
}

static int use_identity(SSL_CTX *ctx, const char *cert_pem, const char *key_pem)
{
	BIO *cert_bio = BIO_new_mem_buf(cert_pem, -1), *key_bio = BIO_new_mem_buf(key_pem, -1);
	X509 *cert = cert_bio ? PEM_read_bio_X509(cert_bio, NULL, NULL, NULL) : NULL;
	EVP_PKEY *key = key_bio ? PEM_read_bio_PrivateKey(key_bio, NULL, NULL, NULL) : NULL;
	int ok = cert && key && SSL_CTX_use_certificate(ctx, cert) == 1 &&
		 SSL_CTX_use_PrivateKey(ctx, key) == 1 && SSL_CTX_check_private_key(ctx) == 1 &&
		 use_chain(ctx, cert_bio);

	X509_free(cert);
	EVP_PKEY_free(key);
	BIO_free(cert_bio);
	BIO_free(key_bio);
	return ok ? 0 : -EINVAL;
}

static SSL_CTX *make_context(const char *cert, const char *key, struct kk_err *err)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	if (!ctx || use_identity(ctx, cert, key) < 0) {
		SSL_CTX_free(ctx);
		kk_err_set(err, EINVAL, "tls",
			   "the TLS certificate and its key are not a usable pair");
		return NULL;
	}
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				      SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(ctx, 0);
	return ctx;
}

int kk_httpd_set_tls(struct kk_httpd *httpd, const char *cert, const char *key, struct kk_err *err)
{
	SSL_CTX *ctx = make_context(cert, key, err);

	if (!ctx)
		return -EINVAL;
	/* Sessions that run hold the earlier one. */
	SSL_CTX_free(httpd->tls->ctx);
	httpd->tls->ctx = ctx;
	return 0;
}

int kk_tls_new(struct kk_httpd *httpd, const char *cert, const char *key, struct kk_tls **ret,
	       struct kk_err *err)
{
	struct kk_tls *tls = calloc(1, sizeof(*tls));

	if (!tls)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	tls->httpd = httpd;
	LIST_INIT(&tls->sessions);
	if (kk_poll_new(httpd->event, &tls->poll) < 0) {
		kk_tls_free(tls);
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	}
	tls->ctx = make_context(cert, key, err);
	if (!tls->ctx) {
		kk_tls_free(tls);
		return -EINVAL;
	}
	*ret = tls;
	return 0;
}

void kk_tls_free(struct kk_tls *tls)
{
	if (!tls)
		return;
	while (!LIST_EMPTY(&tls->sessions))
		destroy(LIST_FIRST(&tls->sessions));
	SSL_CTX_free(tls->ctx);
	kk_poll_free(tls->poll);
	free(tls);
}
