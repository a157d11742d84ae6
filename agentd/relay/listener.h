/* SPDX-License-Identifier: MIT */
/* What is served: the sockets of each service, and the table of services. */
#ifndef KK_AGENTD_RELAY_LISTENER_H
#define KK_AGENTD_RELAY_LISTENER_H

#include <stdbool.h>
#include <stdint.h>

#include "agentd/relay/loop.h"
#include "agentd/relay/target.h"
#include "agentd/relay/watch.h"
#include "proto/model.h"
#include "util/address.h"
#include "util/err.h"

struct relay;

/* One socket: a port of the service on one address of the Agent. */
struct listener_port {
	struct loop_io io; /* first; on fd */
	struct listener *listener;
	int fd;			 /* -1 once the listener is taken from the table */
	uint16_t number;	 /* the public port, host byte order */
	union kk_sockaddr bound; /* where the client's packets arrive */
	union kk_sockaddr local; /* the same with the public port */
};

struct listener {
	struct relay *relay;
	int64_t service;
	char name[KK_NAME_MAX + 1];
	uint8_t protocol;
	uint16_t port, last_port; /* public ones, host byte order */
	bool proxy_protocol;
	struct target *target;
	char error[176]; /* how the target took the latest session, "" when it was well */
	struct watch watch;
	struct listener_port *ports;
	size_t n_ports, max_ports;
	/* private */
	int refs;
	struct loop_work dead;
};

/* Sorted by service. */
struct listeners {
	struct listener **items;
	size_t n, size;
	size_t n_ports, max_ports; /* sockets of all */
};

void listeners_clean(struct listeners *listeners);
/* Adds @listener, which the table then owns. -EEXIST, -ENOSPC: the caller keeps it. */
int listeners_add(struct listeners *listeners, struct listener *listener, struct kk_err *err);
struct listener *listeners_find(const struct listeners *listeners, int64_t service);
/* The place of the first listener that comes after that of @service. */
size_t listeners_after(const struct listeners *listeners, int64_t service);
/* Closes the sockets and forgets the listener; its TCP connections go on, its UDP sessions end. */
void listeners_del(struct listeners *listeners, struct listener *listener);

/* Makes one for @max_ports sockets. -ENOMEM. */
int listener_new(struct relay *relay, uint8_t protocol, uint16_t port, uint16_t last_port,
		 size_t max_ports, struct listener **ret, struct kk_err *err);
/*
 * Serves socket @fd, too, which it takes on success: a TCP socket that listens or a bound UDP one, as the listener's
 * protocol says. The first of all is for the first public port, and others' public ports are as far from that as
 * their own are from the first's. -EINVAL, -ENOSPC, or what epoll says.
 */
int listener_add_port(struct listener *listener, int fd, struct kk_err *err);
struct listener *listener_get(struct listener *listener);
void listener_put(struct listener *listener);

#endif
