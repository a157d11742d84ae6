/* SPDX-License-Identifier: MIT */
/*
 * A Control of a test's own making: a child process that speaks TLS on a loopback port and follows a script,
 * a function that fails by server_fail(). Blocking, one connection at a time. A test includes this once.
 */
#ifndef KK_TLS_SERVER_H
#define KK_TLS_SERVER_H

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <signal.h>

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "util/encode.h"

struct server {
	int listener;
	SSL_CTX *tls;
	SSL *line;
	char url[64], pin[64];
	pid_t pid;
};

#define server_fail(...)                                                                           \
	do {                                                                                       \
		fprintf(stderr, "the test's server, line %d: ", __LINE__);                         \
		fprintf(stderr, __VA_ARGS__);                                                      \
		fputc('\n', stderr);                                                               \
		_exit(1);                                                                          \
	} while (0)
#define server_check(condition)                                                                    \
	do {                                                                                       \
		if (!(condition))                                                                  \
			server_fail("not %s", #condition);                                         \
	} while (0)

static inline void server_certificate(struct server *s)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	unsigned char *der = NULL, digest[32];
	int len;

	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -60);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_set_pubkey(cert, key);
	X509_sign(cert, key, EVP_sha256());
	s->tls = SSL_CTX_new(TLS_server_method());
	server_check(SSL_CTX_use_certificate(s->tls, cert) == 1);
	server_check(SSL_CTX_use_PrivateKey(s->tls, key) == 1);
	len = i2d_PUBKEY(key, &der);
	EVP_Digest(der, (size_t)len, digest, NULL, EVP_sha256(), NULL);
	kk_base64(digest, sizeof(digest), s->pin);
	OPENSSL_free(der);
	X509_free(cert);
	EVP_PKEY_free(key);
}

/* Starts @script in a child. */
static inline void server_start(struct server *s, void (*script)(struct server *s))
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
	socklen_t len = sizeof(address);
	int window = 8192;

	*s = (struct server){.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	/* A small window: what a script does not read is soon felt by the client. */
	server_check(setsockopt(s->listener, SOL_SOCKET, SO_RCVBUF, &window, sizeof(window)) == 0);
	server_check(bind(s->listener, (struct sockaddr *)&address, len) == 0);
	server_check(listen(s->listener, 8) == 0);
	server_check(getsockname(s->listener, (struct sockaddr *)&address, &len) == 0);
	snprintf(s->url, sizeof(s->url), "https://127.0.0.1:%u", ntohs(address.sin_port));
	server_certificate(s);
	s->pid = fork();
	if (s->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGPIPE, SIG_IGN);
		alarm(30);
		script(s);
		_exit(0);
	}
}

/* Waits for the script's end; returns its exit status. */
static inline int server_wait(struct server *s)
{
	int status = 0;

	close(s->listener);
	SSL_CTX_free(s->tls);
	waitpid(s->pid, &status, 0);
	return status;
}

/* For a script that never ends by itself. */
static inline void server_kill(struct server *s)
{
	kill(s->pid, SIGKILL);
	server_wait(s);
}

/* ---- for scripts ---- */

/* Returns whether TLS came about. */
static inline int server_accept(struct server *s)
{
	int fd = accept(s->listener, NULL, NULL);

	server_check(fd >= 0);
	s->line = SSL_new(s->tls);
	SSL_set_fd(s->line, fd);
	return SSL_accept(s->line) == 1;
}

static inline void server_hang_up(struct server *s)
{
	int fd = SSL_get_fd(s->line);

	SSL_shutdown(s->line);
	SSL_free(s->line);
	close(fd);
}

static inline void server_write(struct server *s, const void *data, size_t len)
{
	server_check(SSL_write(s->line, data, (int)len) == (int)len);
}

static inline void server_read(struct server *s, void *data, size_t len)
{
	for (size_t n = 0; n < len;) {
		int got = SSL_read(s->line, (char *)data + n, (int)(len - n));

		if (got <= 0)
			server_fail("the client went away");
		n += (size_t)got;
	}
}

/* Reads a request with its body. */
static inline void server_request(struct server *s, char *text, size_t size)
{
	size_t n = 0, body = 0;
	const char *length;

	memset(text, 0, size);
	while (!strstr(text, "\r\n\r\n")) {
		server_check(n + 1 < size);
		server_read(s, text + n++, 1);
	}
	length = strstr(text, "Content-Length: ");
	if (length)
		body = (size_t)atoi(length + strlen("Content-Length: "));
	server_check(n + body < size);
	server_read(s, text + n, body);
}

static inline void server_answer(struct server *s, const char *status, const char *body)
{
	char text[4096];

	snprintf(text, sizeof(text), "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s", status,
		 strlen(body), body);
	server_write(s, text, strlen(text));
}

/* Makes the line a WebSocket; @request gets the text of the client's request. */
static inline void server_upgrade(struct server *s, char *request, size_t size)
{
	unsigned char digest[20];
	char text[512], accept_text[32];
	const char *nonce;

	server_request(s, request, size);
	nonce = strstr(request, "Sec-WebSocket-Key: ");
	server_check(nonce);
	snprintf(text, sizeof(text), "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11",
		 nonce + strlen("Sec-WebSocket-Key: "));
	EVP_Digest(text, strlen(text), digest, NULL, EVP_sha1(), NULL);
	kk_base64(digest, sizeof(digest), accept_text);
	snprintf(text, sizeof(text),
		 "HTTP/1.1 101 Switching Protocols\r\nconnection: keep-alive, Upgrade\r\n"
		 "UPGRADE: WebSocket\r\nSec-WebSocket-Accept:%s\r\n\r\n",
		 accept_text);
	server_write(s, text, strlen(text));
}

/* One text frame, of less than 64 KiB. */
static inline void server_say(struct server *s, const char *text)
{
	size_t len = strlen(text);
	unsigned char head[4] = {0x81, 126, (unsigned char)(len >> 8), (unsigned char)len};

	if (len < 126)
		head[1] = (unsigned char)len;
	server_write(s, head, len < 126 ? 2 : 4);
	server_write(s, text, len);
}

/* The next frame's opcode; @text gets its payload, unmasked. */
static inline int server_hear(struct server *s, char *text, size_t size)
{
	unsigned char head[2], more[8], mask[4];
	size_t len;

	server_read(s, head, 2);
	server_check(head[0] & 0x80 && head[1] & 0x80);
	len = head[1] & 0x7f;
	if (len >= 126) {
		size_t n = len == 126 ? 2 : 8;

		server_read(s, more, n);
		len = 0;
		for (size_t i = 0; i < n; i++)
			len = len << 8 | more[i];
	}
	server_check(len < size);
	server_read(s, mask, 4);
	server_read(s, text, len);
	for (size_t i = 0; i < len; i++)
		text[i] ^= (char)mask[i % 4];
	text[len] = '\0';
	return head[0] & 15;
}

#endif
