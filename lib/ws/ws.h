/* SPDX-License-Identifier: MIT */
/*
 * A WebSocket (RFC 6455) in an sd-event loop, framing by wslay: whole text messages in and out, pings, a
 * bound on what waits to be sent. The transport is a pair of functions, so that a server's descriptor and
 * a client's TLS session look the same.
 */
#ifndef KK_WS_WS_H
#define KK_WS_WS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <systemd/sd-event.h>

#include "util/err.h"

struct kk_poll;
struct kk_ws;

struct kk_ws_config {
	bool server;
	int fd;		      /* watched for readiness; not closed by us */
	struct kk_poll *poll; /* that watches it, where there are many; or NULL */
	/*
	 * Non-blocking; return bytes, 0 at the end of the stream, or -EAGAIN / another negative errno. A call
	 * after -EAGAIN brings the same bytes, perhaps at another address (SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER).
	 */
	ssize_t (*recv)(void *buf, size_t len, void *userdata);
	ssize_t (*send)(const void *buf, size_t len, void *userdata);
	size_t message_max;  /* longest message taken, bytes; longer ones close with 1009 */
	size_t queue_max;    /* bytes that may wait to be sent; more closes the connection */
	unsigned int ping_s; /* send a ping this often, 0: never */
	unsigned int idle_s; /* close after hearing nothing for this long, 0: never */
	/* A whole text message; @text is NUL-terminated and valid during the call. May free @ws. */
	void (*message)(struct kk_ws *ws, const char *text, size_t len, void *userdata);
	/*
	 * Called once, from the event loop and never from inside kk_ws_send: the connection has ended, @reason
	 * says why. The owner frees @ws in it or later.
	 */
	void (*closed)(struct kk_ws *ws, const char *reason, void *userdata);
	void *userdata;
};

int kk_ws_new(sd_event *event, const struct kk_ws_config *config, struct kk_ws **ret);
void kk_ws_free(struct kk_ws *ws);
/* Queues one text message and sends what the transport takes. -EPIPE: closing; -ENOBUFS: over queue_max. */
int kk_ws_send(struct kk_ws *ws, const char *text, size_t len);
/* Starts to close with @status (RFC 6455 section 7.4) and a short reason; @closed follows. */
void kk_ws_close(struct kk_ws *ws, unsigned int status, const char *reason);

#endif
