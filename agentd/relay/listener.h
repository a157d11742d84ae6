/* SPDX-License-Identifier: MIT */
/* What is served: one socket per service, and the table of them. */
#ifndef KK_AGENTD_RELAY_LISTENER_H
#define KK_AGENTD_RELAY_LISTENER_H

#include <stdbool.h>
#include <stdint.h>
#include <netinet/in.h>

#include "agentd/relay/loop.h"
#include "agentd/relay/target.h"
#include "proto/model.h"
#include "util/err.h"

struct relay;

struct listener {
	struct loop_io io; /* first; on fd */
	struct relay *relay;
	int fd; /* -1 once it is taken from the table */
	int64_t service;
	char name[KK_NAME_MAX + 1];
	uint8_t protocol;
	uint16_t port;		  /* the public one, host byte order */
	struct sockaddr_in bound; /* where the client's packets arrive */
	struct sockaddr_in local; /* the same with the public port */
	bool proxy_protocol;
	struct target *target;
	char error[176]; /* how the target took the latest session, "" when it was well */
	bool paused;	 /* accepts nothing for want of room */
	/* private */
	int refs;
	struct loop_work dead;
};

/* Sorted by service. */
struct listeners {
	struct listener **items;
	size_t n, size, max;
};

void listeners_clean(struct listeners *listeners);
/*
 * Adds @listener, which the table then owns, and begins to serve. -EEXIST, -ENOSPC, or what epoll says;
 * the caller keeps it then.
 */
int listeners_add(struct listeners *listeners, struct listener *listener, struct kk_err *err);
struct listener *listeners_find(const struct listeners *listeners, int64_t service);
/* The place of the first listener that comes after that of @service. */
size_t listeners_after(const struct listeners *listeners, int64_t service);
/* Closes the socket and forgets the listener; its TCP connections go on, its UDP sessions end. */
void listeners_del(struct listeners *listeners, struct listener *listener);

/*
 * Makes one of socket @fd, which it takes on success: an IPv4 TCP socket that listens or a bound UDP one,
 * as @protocol says; -EINVAL otherwise.
 */
int listener_new(struct relay *relay, int fd, uint8_t protocol, uint16_t port,
		 struct listener **ret, struct kk_err *err);
struct listener *listener_get(struct listener *listener);
void listener_put(struct listener *listener);

#endif
