/* SPDX-License-Identifier: MIT */
/*
 * The way to a WebSocket at Control, in an sd-event loop: name, TCP, TLS with the pin, opening handshake;
 * then bytes both ways. libcurl's multi interface does the first three, so nothing here ever blocks.
 */
#ifndef KK_LINK_DIAL_H
#define KK_LINK_DIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <systemd/sd-event.h>

#include "util/err.h"

struct kk_dial;

struct kk_dial_config {
	const char *url, *pin; /* of Control */
	const char *path;      /* of the WebSocket */
	const char *key;       /* bearer */
	/*
	 * Called once, from the event loop, 20 s after kk_dial_new at the latest: @status 101 if the line is
	 * open, another HTTP status, or a negative errno; all but 101 with @err. @dial may be freed in it.
	 */
	void (*done)(struct kk_dial *dial, int status, const struct kk_err *err, void *userdata);
	void *userdata;
};

/* Begins to connect. The strings of @config must stay valid. */
int kk_dial_new(sd_event *event, const struct kk_dial_config *config, struct kk_dial **ret,
		struct kk_err *err);
/* Closes whatever is open. */
void kk_dial_free(struct kk_dial *dial);

/* The socket, for readiness only; valid once done with 101. */
int kk_dial_fd(const struct kk_dial *dial);
/*
 * Non-blocking; bytes, 0 at the end of the stream, -EAGAIN or another negative errno. TLS may hold bytes
 * back that the socket no longer shows: read until -EAGAIN. After -EAGAIN, send the same bytes again.
 */
ssize_t kk_dial_recv(struct kk_dial *dial, void *buf, size_t len);
ssize_t kk_dial_send(struct kk_dial *dial, const void *buf, size_t len);

#endif
