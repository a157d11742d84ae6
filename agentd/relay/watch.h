/* SPDX-License-Identifier: MIT */
/*
 * Whether the target of a service takes connections. It is asked where others share the service: while it does not,
 * nobody listens for the service, so that gateways, and whoever connects, are refused at once.
 */
#ifndef KK_AGENTD_RELAY_WATCH_H
#define KK_AGENTD_RELAY_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "agentd/relay/loop.h"
#include "agentd/relay/target.h"

#define WATCH_EVERY_MS	500
#define WATCH_ANSWER_MS 1500 /* until a target that says nothing is taken for down */

struct listener;
struct relay;

/* Of one listener, embedded in it. */
struct watch {
	bool on, down;
	/* private */
	struct loop_io io; /* of the connection that asks */
	int fd;		   /* -1: none */
	int64_t until;
	struct target_waiter waiter;
};

/* Begins the rounds; listeners come and go. */
void watch_init(struct relay *relay);
/* Watches @l's target (of TCP only) from now on, or no longer: then it listens. */
void watch_set(struct listener *l, bool on);
/* Lets go of everything; @l's sockets are left as they are. */
void watch_stop(struct listener *l);

#endif
