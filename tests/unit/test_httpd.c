// SPDX-License-Identifier: MIT
/*
 * The HTTP server in this thread's event loop, blocking clients in threads of their own: plain and TLS,
 * bodies and their bound, held answers, WebSockets over TLS with large messages, and clients that misbehave.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <systemd/sd-event.h>

#include "httpd/httpd.h"
#include "util/cleanup.h"
#include "ws/ws.h"

#define BODY_MAX (64 << 10)

struct world {
	sd_event *event;
	struct kk_httpd *httpd;
	struct kk_httpd_request *kept;
	unsigned int handled, gone, opened, closed;
	size_t greeting; /* a message of this length is sent when a WebSocket opens */
};

/* A WebSocket at the server's side, echoing. */
struct peer {
	struct world *world;
	struct kk_httpd_upgrade *upgrade;
	struct kk_ws *ws;
};

static char *cert_pem, *key_pem;

static char *bio_text(BIO *bio)
{
	char *data, *text;
	long len = BIO_get_mem_data(bio, &data);

	text = strndup(data, (size_t)len);
	BIO_free(bio);
	return text;
}

static int make_identity(void **state)
{
	BIO *cert_bio = BIO_new(BIO_s_mem()), *key_bio = BIO_new(BIO_s_mem());
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();

	(void)state;
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), 0);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_set_pubkey(cert, key);
	X509_sign(cert, key, EVP_sha256());
	PEM_write_bio_X509(cert_bio, cert);
	PEM_write_bio_PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL);
	cert_pem = bio_text(cert_bio);
	key_pem = bio_text(key_bio);
	X509_free(cert);
	EVP_PKEY_free(key);
	return 0;
}

static int free_identity(void **state)
{
	(void)state;
	free(cert_pem);
	free(key_pem);
	return 0;
}

static void free_peer(struct peer *peer)
{
	kk_ws_free(peer->ws);
	kk_httpd_upgrade_close(peer->upgrade);
	peer->world->closed++;
	free(peer);
}

static ssize_t peer_recv(void *buf, size_t len, void *userdata)
{
	return kk_httpd_upgrade_recv(((struct peer *)userdata)->upgrade, buf, len);
}

static ssize_t peer_send(const void *buf, size_t len, void *userdata)
{
	return kk_httpd_upgrade_send(((struct peer *)userdata)->upgrade, buf, len);
}

static void peer_message(struct kk_ws *ws, const char *text, size_t len, void *userdata)
{
	(void)userdata;
	kk_ws_send(ws, text, len);
}

static void peer_closed(struct kk_ws *ws, const char *reason, void *userdata)
{
	(void)ws;
	(void)reason;
	free_peer(userdata);
}

static void fill(char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		text[i] = (char)('a' + (i * 7 + i / 251) % 26);
	text[len] = '\0';
}

static void on_opened(struct kk_httpd_upgrade *upgrade, int fd, void *userdata)
{
	struct world *w = userdata;
	struct peer *peer;
	struct kk_ws_config config = {
		.server = true,
		.fd = fd,
		.recv = peer_recv,
		.send = peer_send,
		.message_max = 64 << 20,
		.queue_max = 256 << 20,
		.message = peer_message,
		.closed = peer_closed,
	};

	w->opened++;
	if (!upgrade) {
		w->closed++;
		return;
	}
	peer = calloc(1, sizeof(*peer));
	assert_non_null(peer);
	peer->world = w;
	peer->upgrade = upgrade;
	config.userdata = peer;
	assert_int_equal(kk_ws_new(w->event, &config, &peer->ws), 0);
	if (w->greeting) {
		KK_CLEANUP_FREE char *text = malloc(w->greeting + 1);

		assert_non_null(text);
		fill(text, w->greeting);
		assert_int_equal(kk_ws_send(peer->ws, text, w->greeting), 0);
	}
}

static void on_handle(struct kk_httpd_request *req, void *userdata)
{
	struct world *w = userdata;
	const char *path = kk_httpd_path(req), *body, *text;
	size_t len;

	w->handled++;
	body = kk_httpd_body(req, &len);
	if (strcmp(path, "/keep") == 0) {
		w->kept = req;
	} else if (strcmp(path, "/ws") == 0) {
		kk_httpd_upgrade(req, on_opened, w);
	} else if (strcmp(path, "/query") == 0) {
		text = kk_httpd_query(req, "wait");
		kk_httpd_add_header(req, "X-Peer", kk_httpd_peer(req));
		kk_httpd_answer(req, 200, "text/plain", text ? text : "none",
				strlen(text ? text : "none"));
	} else {
		kk_httpd_answer(req, 200, "text/plain", body, len);
	}
}

static void on_refuse(struct kk_httpd_request *req, unsigned int status, void *userdata)
{
	char text[32];

	(void)userdata;
	snprintf(text, sizeof(text), "refused %u", status);
	kk_httpd_answer(req, status, "text/plain", text, strlen(text));
}

static void on_gone(struct kk_httpd_request *req, void *userdata)
{
	struct world *w = userdata;

	assert_ptr_equal(req, w->kept);
	w->kept = NULL;
	w->gone++;
}

/* What strangers get, 0: anything. */
struct bounds {
	unsigned int pending, pending_per_address, rate;
};

static void make_bounded_world(struct world *w, bool tls, unsigned int connections_max,
			       const struct bounds *bounds)
{
	struct kk_httpd_config config = {
		.pending_max = bounds->pending,
		.pending_per_address = bounds->pending_per_address,
		.rate_per_address = bounds->rate,
		.listen = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
		.tls_cert = tls ? cert_pem : NULL,
		.tls_key = tls ? key_pem : NULL,
		.body_max = BODY_MAX,
		.connections_max = connections_max,
		.handle = on_handle,
		.refuse = on_refuse,
		.gone = on_gone,
		.userdata = w,
	};
	struct kk_err err = {0};

	*w = (struct world){0};
	assert_int_equal(sd_event_new(&w->event), 0);
	assert_int_equal(kk_httpd_new(w->event, &config, &w->httpd, &err), 0);
}

static void make_world(struct world *w, bool tls, unsigned int connections_max)
{
	make_bounded_world(w, tls, connections_max, &(struct bounds){0});
}

static void end_world(struct world *w)
{
	kk_httpd_free(w->httpd);
	sd_event_unref(w->event);
}

static void run_once(struct world *w)
{
	assert_true(sd_event_run(w->event, 10000) >= 0);
}

/* Turns the loop until @value is @wanted, twenty seconds at most. */
static void run_until(struct world *w, const unsigned int *value, unsigned int wanted)
{
	for (int i = 0; i < 2000000 && *value < wanted; i++)
		run_once(w);
	assert_int_equal(*value, wanted);
}

/* ---- clients: they block, so each runs in a thread ---- */

struct client {
	pthread_t thread;
	uint16_t port;
	bool tls;
	const char *request; /* sent first */
	size_t size;	     /* of the WebSocket messages */
	int messages;
	volatile unsigned int done;
	char answer[4096]; /* the head of what came back */
	int failed;	   /* the line that failed */
	SSL_CTX *ctx;
	SSL *ssl;
	int fd;
};

#define CHECK(c, what)                                                                             \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			(c)->failed = __LINE__;                                                    \
			return;                                                                    \
		}                                                                                  \
	} while (0)

static bool client_open(struct client *c)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_port = htons(c->port),
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval patience = {.tv_sec = 20};

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(c->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return false;
	if (!c->tls)
		return true;
	c->ctx = SSL_CTX_new(TLS_client_method());
	c->ssl = SSL_new(c->ctx);
	SSL_set_fd(c->ssl, c->fd);
	return SSL_connect(c->ssl) == 1;
}

static void client_close(struct client *c)
{
	SSL_free(c->ssl);
	SSL_CTX_free(c->ctx);
	c->fd = kk_close(c->fd);
	c->ssl = NULL;
	c->ctx = NULL;
}

static bool client_write(struct client *c, const void *data, size_t len)
{
	while (len) {
		ssize_t n = c->tls ? SSL_write(c->ssl, data, (int)len)
				   : send(c->fd, data, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		data = (const char *)data + n;
		len -= (size_t)n;
	}
	return true;
}

static ssize_t client_read(struct client *c, void *data, size_t len)
{
	return c->tls ? SSL_read(c->ssl, data, (int)len) : recv(c->fd, data, len, 0);
}

static bool client_read_all(struct client *c, void *data, size_t len)
{
	while (len) {
		ssize_t n = client_read(c, data, len);

		if (n <= 0)
			return false;
		data = (char *)data + n;
		len -= (size_t)n;
	}
	return true;
}

/* Reads the head of an answer, up to the empty line. */
static bool client_read_head(struct client *c)
{
	size_t len = 0;

	while (len + 1 < sizeof(c->answer)) {
		if (client_read(c, c->answer + len, 1) != 1)
			return false;
		c->answer[++len] = '\0';
		if (len >= 4 && strcmp(c->answer + len - 4, "\r\n\r\n") == 0)
			return true;
	}
	return false;
}

static void start(struct world *w, struct client *c, void *(*body)(void *))
{
	c->port = kk_httpd_port(w->httpd);
	assert_int_equal(pthread_create(&c->thread, NULL, body, c), 0);
}

static void finish(struct world *w, struct client *c)
{
	while (!c->done)
		run_once(w);
	pthread_join(c->thread, NULL);
	assert_int_equal(c->failed, 0);
}

/* Sends @request and reads until the server ends the connection. */
static void simple_client(struct client *c)
{
	size_t len = 0;
	ssize_t n;

	CHECK(c, client_open(c));
	CHECK(c, client_write(c, c->request, strlen(c->request)));
	while ((n = client_read(c, c->answer + len, sizeof(c->answer) - 1 - len)) > 0)
		len += (size_t)n;
	c->answer[len] = '\0';
}

static void *simple_main(void *arg)
{
	struct client *c = arg;

	simple_client(c);
	client_close(c);
	c->done = 1;
	return NULL;
}

static void check_simple(bool tls, const char *request, const char *head, const char *part)
{
	struct client c = {.tls = tls, .request = request};
	struct world w;

	make_world(&w, tls, 16);
	start(&w, &c, simple_main);
	finish(&w, &c);
	if (strncmp(c.answer, head, strlen(head)) != 0 || !strstr(c.answer, part))
		fail_msg("%s: %s", request, c.answer);
	end_world(&w);
}

static void test_requests(void **state)
{
	(void)state;
	for (int tls = 0; tls <= 1; tls++) {
		check_simple(tls,
			     "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
			     "Content-Length: 5\r\n\r\nhello",
			     "HTTP/1.1 200", "\r\n\r\nhello");
		check_simple(tls,
			     "GET /query?a=1&wait=7 HTTP/1.1\r\nHost: x\r\n"
			     "Connection: close\r\n\r\n",
			     "HTTP/1.1 200", "\r\n\r\n7");
		check_simple(tls, "GET /query HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
			     "HTTP/1.1 200", "X-Peer: 127.0.0.1");
	}
}

static void test_handshake_refused(void **state)
{
	(void)state;
	check_simple(true, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		     "HTTP/1.1 400", "refused 400");
	check_simple(true,
		     "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: close, Upgrade\r\n"
		     "Upgrade: websocket\r\nSec-WebSocket-Version: 8\r\n"
		     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
		     "HTTP/1.1 426", "Sec-WebSocket-Version: 13");
}

static void *long_body_main(void *arg)
{
	static const char chunk[] = "400\r\n";
	struct client *c = arg;
	char data[1024];
	size_t len = 0;
	ssize_t n;

	memset(data, 'x', sizeof(data));
	if (!client_open(c) || !client_write(c, c->request, strlen(c->request)))
		c->failed = __LINE__;
	/* The server may stop reading at any time, so failing to write is no failure. */
	for (size_t sent = 0; sent < c->size; sent += sizeof(data)) {
		if (c->messages && !client_write(c, chunk, strlen(chunk)))
			break;
		if (!client_write(c, data, sizeof(data)) ||
		    (c->messages && !client_write(c, "\r\n", 2)))
			break;
	}
	if (c->messages)
		client_write(c, "0\r\n\r\n", 5);
	while ((n = client_read(c, c->answer + len, sizeof(c->answer) - 1 - len)) > 0)
		len += (size_t)n;
	client_close(c);
	c->done = 1;
	return NULL;
}

static void check_long_body(const char *request, size_t size, bool chunked, const char *head)
{
	struct client c = {.tls = true, .request = request, .size = size, .messages = chunked};
	struct world w;

	make_world(&w, true, 16);
	start(&w, &c, long_body_main);
	finish(&w, &c);
	if (strncmp(c.answer, head, strlen(head)) != 0)
		fail_msg("%s: %s", request, c.answer);
	end_world(&w);
}

static void test_body_bound(void **state)
{
	static const char chunked[] = "POST /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
				      "Transfer-Encoding: chunked\r\n\r\n";

	(void)state;
	check_long_body("POST /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
			"Content-Length: 65536\r\n\r\n",
			BODY_MAX, false, "HTTP/1.1 200");
	check_long_body("POST /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
			"Content-Length: 66560\r\n\r\n",
			BODY_MAX + 1024, false, "HTTP/1.1 413");
	check_long_body("POST /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
			"Content-Length: 999999999\r\n\r\n",
			1 << 20, false, "HTTP/1.1 413");
	check_long_body(chunked, BODY_MAX, true, "HTTP/1.1 200");
	check_long_body(chunked, BODY_MAX + 1024, true, "HTTP/1.1 413");
}

static void test_held_answer(void **state)
{
	struct client c = {.tls = true,
			   .request = "GET /keep HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"};
	struct world w;

	(void)state;
	make_world(&w, true, 16);
	start(&w, &c, simple_main);
	run_until(&w, &w.handled, 1);
	for (int i = 0; i < 20; i++)
		run_once(&w);
	assert_false(c.done);
	assert_non_null(w.kept);
	kk_httpd_answer(w.kept, 200, "text/plain", "at last", 7);
	finish(&w, &c);
	assert_non_null(strstr(c.answer, "\r\n\r\nat last"));
	end_world(&w);
}

static void *leaver_main(void *arg)
{
	struct client *c = arg;

	if (!client_open(c) || !client_write(c, c->request, strlen(c->request)))
		c->failed = __LINE__;
	usleep(50000);
	client_close(c);
	c->done = 1;
	return NULL;
}

static void test_peer_of_held_answer_leaves(void **state)
{
	(void)state;
	for (int tls = 0; tls <= 1; tls++) {
		struct client c = {.tls = tls, .request = "GET /keep HTTP/1.1\r\nHost: x\r\n\r\n"};
		struct world w;

		make_world(&w, tls, 16);
		start(&w, &c, leaver_main);
		run_until(&w, &w.gone, 1);
		finish(&w, &c);
		end_world(&w);
	}
}

static void test_stop_with_held_answer(void **state)
{
	struct client c = {.tls = true, .request = "GET /keep HTTP/1.1\r\nHost: x\r\n\r\n"};
	struct world w;

	(void)state;
	make_world(&w, true, 16);
	start(&w, &c, simple_main);
	run_until(&w, &w.handled, 1);
	kk_httpd_free(w.httpd);
	assert_int_equal(w.gone, 1);
	pthread_join(c.thread, NULL);
	sd_event_unref(w.event);
}

/* ---- WebSocket clients ---- */

static const char ws_request[] = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
				 "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
				 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

static bool ws_open(struct client *c)
{
	return client_open(c) && client_write(c, ws_request, strlen(ws_request)) &&
	       client_read_head(c) && strncmp(c->answer, "HTTP/1.1 101", 12) == 0 &&
	       /* the example of RFC 6455 section 1.3 */
	       strstr(c->answer, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

/* A frame masked with zeros. */
static bool ws_write(struct client *c, const char *text, size_t len)
{
	int n = len < 126 ? 0 : len < 65536 ? 2 : 8; /* bytes of the longer forms of the length */
	uint8_t head[14] = {0x81, 0x80 | (n == 0 ? (uint8_t)len : n == 2 ? 126 : 127)};

	for (int i = 0; i < n; i++)
		head[2 + i] = (uint8_t)((uint64_t)len >> (8 * (n - 1 - i)));
	return client_write(c, head, 6u + (size_t)n) && client_write(c, text, len);
}

static bool ws_read(struct client *c, char *text, size_t len)
{
	uint8_t head[10];
	size_t announced;

	if (!client_read_all(c, head, 2) || head[0] != 0x81)
		return false;
	announced = head[1];
	if (head[1] >= 126) {
		size_t n = head[1] == 126 ? 2 : 8;

		if (!client_read_all(c, head + 2, n))
			return false;
		announced = 0;
		for (size_t i = 0; i < n; i++)
			announced = announced << 8 | head[2 + i];
	}
	return announced == len && client_read_all(c, text, len);
}

static void ws_echo(struct client *c)
{
	KK_CLEANUP_FREE char *sent = malloc(c->size + 1), *got = malloc(c->size + 1);

	CHECK(c, sent && got);
	CHECK(c, ws_open(c));
	fill(sent, c->size);
	for (int i = 0; i < c->messages; i++) {
		CHECK(c, ws_write(c, sent, c->size));
		CHECK(c, ws_read(c, got, c->size));
		CHECK(c, memcmp(sent, got, c->size) == 0);
	}
}

static void *ws_echo_main(void *arg)
{
	struct client *c = arg;

	ws_echo(c);
	client_close(c);
	c->done = 1;
	return NULL;
}

static void check_echo(bool tls, unsigned int n, size_t size, int messages)
{
	KK_CLEANUP_FREE struct client *clients = calloc(n, sizeof(*clients));
	struct world w;

	assert_non_null(clients);
	make_world(&w, tls, n);
	for (unsigned int i = 0; i < n; i++) {
		clients[i] = (struct client){.tls = tls, .size = size, .messages = messages};
		start(&w, &clients[i], ws_echo_main);
	}
	for (unsigned int i = 0; i < n; i++)
		finish(&w, &clients[i]);
	/* An orderly end, or none at all, is noticed without anything being written. */
	run_until(&w, &w.closed, n);
	assert_int_equal(w.opened, n);
	end_world(&w);
}

static void test_websocket_plain(void **state)
{
	(void)state;
	check_echo(false, 4, 1 << 20, 3);
}

static void test_websocket_large(void **state)
{
	(void)state;
	check_echo(true, 2, 24 << 20, 2);
}

static void test_websocket_many(void **state)
{
	(void)state;
	check_echo(true, 100, 3000, 20);
}

static void *ws_reset_main(void *arg)
{
	static const struct linger abort_now = {.l_onoff = 1};
	struct client *c = arg;
	char part[20000] = {0};

	if (!ws_open(c))
		c->failed = __LINE__;
	else
		ws_write(c, part, c->size % sizeof(part));
	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &abort_now, sizeof(abort_now));
	client_close(c);
	c->done = 1;
	return NULL;
}

static void test_websocket_resets(void **state)
{
	struct client clients[40];
	struct world w;

	(void)state;
	make_world(&w, true, 64);
	w.greeting = 4 << 20; /* so that much is on its way when the peer resets */
	for (unsigned int i = 0; i < ARRAY_SIZE(clients); i++) {
		clients[i] = (struct client){.tls = true, .size = i * 997};
		start(&w, &clients[i], ws_reset_main);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(clients); i++)
		finish(&w, &clients[i]);
	run_until(&w, &w.closed, ARRAY_SIZE(clients));
	end_world(&w);
}

static void ws_slow(struct client *c)
{
	KK_CLEANUP_FREE char *want = malloc(c->size + 1), *got = malloc(c->size + 1);

	CHECK(c, want && got && ws_open(c));
	fill(want, c->size);
	usleep(300000); /* lets every buffer on the way fill up */
	CHECK(c, ws_read(c, got, c->size));
	CHECK(c, memcmp(want, got, c->size) == 0);
}

static void *ws_slow_main(void *arg)
{
	struct client *c = arg;

	ws_slow(c);
	client_close(c);
	c->done = 1;
	return NULL;
}

/* The server writes first, to a peer that is silent and slow. */
static void test_websocket_server_first(void **state)
{
	struct client c = {.tls = true, .size = 32 << 20};
	struct world w;

	(void)state;
	make_world(&w, true, 4);
	w.greeting = c.size;
	start(&w, &c, ws_slow_main);
	finish(&w, &c);
	run_until(&w, &w.closed, 1);
	end_world(&w);
}

static void test_connection_bound(void **state)
{
	struct client first = {.tls = true,
			       .request = "GET /keep HTTP/1.1\r\nHost: x\r\n"
					  "Connection: close\r\n\r\n"};
	struct client second = {.tls = true,
				.request = "GET /query HTTP/1.1\r\nHost: x\r\n"
					   "Connection: close\r\n\r\n"};
	struct world w;

	(void)state;
	make_world(&w, true, 1);
	start(&w, &first, simple_main);
	run_until(&w, &w.handled, 1);
	start(&w, &second, simple_main);
	for (int i = 0; i < 30; i++)
		run_once(&w);
	/* The second waits at the door until the first has left. */
	assert_int_equal(w.handled, 1);
	kk_httpd_answer(w.kept, 200, "text/plain", "x", 1);
	finish(&w, &first);
	finish(&w, &second);
	assert_int_equal(w.handled, 2);
	end_world(&w);
}

static void *loris_main(void *arg)
{
	struct client *c = arg;

	if (!client_open(c))
		c->failed = __LINE__;
	/* A byte now and then, for ever. */
	while (client_write(c, "G", 1))
		usleep(200000);
	client_close(c);
	c->done = 1;
	return NULL;
}

static void test_slow_request_ends(void **state)
{
	struct client c = {.tls = true};
	struct world w;

	(void)state;
	make_world(&w, true, 4);
	start(&w, &c, loris_main);
	finish(&w, &c);
	assert_int_equal(w.handled, 0);
	end_world(&w);
}

/* ---- strangers who connect and say nothing ---- */

static int silent_line(struct world *w, const char *own)
{
	struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	inet_pton(AF_INET, own, &from.sin_addr);
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	to.sin_port = htons(kk_httpd_port(w->httpd));
	assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

static bool has_ended(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);

	return n == 0 || (n < 0 && errno != EAGAIN);
}

static size_t count_ended(const int *lines, size_t n)
{
	size_t ended = 0;

	for (size_t i = 0; i < n; i++)
		ended += has_ended(lines[i]);
	return ended;
}

/* Turns the loop until as many have ended, and a little longer. */
static void run_until_ended(struct world *w, const int *lines, size_t n, size_t wanted)
{
	for (int i = 0; i < 20000 && count_ended(lines, n) < wanted; i++)
		assert_true(sd_event_run(w->event, 1000) >= 0);
	for (int i = 0; i < 20; i++)
		assert_true(sd_event_run(w->event, 1000) >= 0);
	assert_int_equal(count_ended(lines, n), wanted);
}

static void close_lines(const int *lines, size_t n)
{
	for (size_t i = 0; i < n; i++)
		close(lines[i]);
}

static void test_oldest_stranger_goes(void **state)
{
	(void)state;
	for (int tls = 0; tls <= 1; tls++) {
		struct world w;
		int lines[6];

		make_bounded_world(&w, tls, 16, &(struct bounds){.pending = 4});
		for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
			lines[i] = silent_line(&w, "127.0.0.1");
		run_until_ended(&w, lines, ARRAY_SIZE(lines), 2);
		assert_true(has_ended(lines[0]) && has_ended(lines[1]));
		close_lines(lines, ARRAY_SIZE(lines));
		end_world(&w);
	}
}

static void test_strangers_of_one_address(void **state)
{
	(void)state;
	for (int tls = 0; tls <= 1; tls++) {
		struct world w;
		int lines[6];

		make_bounded_world(&w, tls, 16, &(struct bounds){.pending_per_address = 3});
		for (size_t i = 0; i < 5; i++)
			lines[i] = silent_line(&w, "127.0.0.1");
		lines[5] = silent_line(&w, "127.0.0.2");
		run_until_ended(&w, lines, ARRAY_SIZE(lines), 2);
		assert_true(has_ended(lines[3]) && has_ended(lines[4]));
		/* Who leaves makes room. */
		close(lines[0]);
		for (int i = 0; i < 20; i++)
			assert_true(sd_event_run(w.event, 1000) >= 0);
		lines[0] = silent_line(&w, "127.0.0.1");
		run_until_ended(&w, lines, ARRAY_SIZE(lines), 2);
		close_lines(lines, ARRAY_SIZE(lines));
		end_world(&w);
	}
}

static void test_connections_a_second(void **state)
{
	(void)state;
	for (int tls = 0; tls <= 1; tls++) {
		struct world w;
		int lines[40];

		make_bounded_world(&w, tls, 64, &(struct bounds){.rate = 1});
		for (size_t i = 0; i < 39; i++)
			lines[i] = silent_line(&w, "127.0.0.1");
		lines[39] = silent_line(&w, "127.0.0.2");
		/* Four seconds' worth and one come at once; on a slow machine another second or two pass meanwhile. */
		for (int i = 0; i < 20000 && count_ended(lines, 39) < 25; i++)
			assert_true(sd_event_run(w.event, 1000) >= 0);
		assert_in_range(count_ended(lines, 39), 25, 34);
		assert_false(has_ended(lines[0]) || has_ended(lines[39]));
		close_lines(lines, ARRAY_SIZE(lines));
		end_world(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_oldest_stranger_goes),
		cmocka_unit_test(test_strangers_of_one_address),
		cmocka_unit_test(test_connections_a_second),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_handshake_refused),
		cmocka_unit_test(test_body_bound),
		cmocka_unit_test(test_held_answer),
		cmocka_unit_test(test_peer_of_held_answer_leaves),
		cmocka_unit_test(test_stop_with_held_answer),
		cmocka_unit_test(test_websocket_plain),
		cmocka_unit_test(test_websocket_large),
		cmocka_unit_test(test_websocket_many),
		cmocka_unit_test(test_websocket_resets),
		cmocka_unit_test(test_websocket_server_first),
		cmocka_unit_test(test_connection_bound),
		cmocka_unit_test(test_slow_request_ends),
	};

	return cmocka_run_group_tests(tests, make_identity, free_identity);
}
