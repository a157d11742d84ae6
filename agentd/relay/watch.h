/* SPDX-License-Identifier: MIT */
/*
 * Whether the target of a service takes what comes. It is watched where others share the service: while it does not,
 * nobody listens for the service, so that gateways, and whoever connects, are refused at once.
 *
 * Of TCP the target is asked all the time, by connections. Of UDP it is not: that its machine refuses a datagram
 * (ICMP port unreachable) is heard of by those of clients. Only then it is asked, until nobody refuses any more
 * (watch_udp.c).
 */
#ifndef KK_AGENTD_RELAY_WATCH_H
#define KK_AGENTD_RELAY_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "agentd/relay/loop.h"
#include "agentd/relay/target.h"

#define WATCH_EVERY_MS 500
#define WATCH_ANSWER_MS                                                                            \
	1500 /* until a target that says nothing is taken for down; of UDP, for not having refused */
#define WATCH_UDP_QUIET                                                                            \
	2 /* datagrams in a row that nobody refused, until a target of UDP is taken for back */

struct listener;
struct listener_port;
struct relay;

/* Of one listener, embedded in it. */
struct watch {
	bool on, down;
	/* private */
	struct loop_io io; /* of the connection that asks */
	int fd;		   /* -1: none */
	int64_t until;
	struct target_waiter waiter;
	size_t tried;	    /* of UDP: addresses of the target that refused */
	unsigned int quiet; /* of UDP: datagrams in a row that nobody refused */
};

/* Begins the rounds; listeners come and go. */
void watch_init(struct relay *relay);
/* Watches @l's target from now on, or no longer: then it listens. */
void watch_set(struct listener *l, bool on);
/* Lets go of everything; @l's sockets are left as they are. */
void watch_stop(struct listener *l);

/* Its target refuses: if it is watched, nobody listens for it from now on. @why is for people. */
void watch_refused(struct listener *l, const char *why);
/* Its target is there: somebody listens again. */
void watch_answered(struct listener *l);
/* Lets go of what was asked and not answered. */
void watch_hang_up(struct listener *l);

/* ---- what is different of UDP (watch_udp.c) ---- */

/* A round of a watched listener. */
void watch_udp_look(struct listener *l);
/* The kernel refuses datagrams to this port (ICMP port unreachable), or takes them again. Negative errno. */
int watch_udp_shut(const struct listener_port *port);
int watch_udp_open(const struct listener_port *port);

#endif
