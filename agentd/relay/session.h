/* SPDX-License-Identifier: MIT */
/* Who is connected: the record of a TCP connection or UDP session, its log line, and the list of them. */
#ifndef KK_AGENTD_RELAY_SESSION_H
#define KK_AGENTD_RELAY_SESSION_H

#include <stdint.h>
#include <sys/queue.h>

#include <jansson.h>

#include "agentd/relay/control.h"
#include "agentd/relay/origin.h"
#include "agentd/relay/target.h"

struct listener;
struct listener_port;

struct session {
	struct listener *listener; /* a reference */
	const struct listener_port *port;
	struct target
		*target; /* a reference: where this one goes, whatever the service says later */
	union kk_sockaddr client;
	struct origin *origin;	     /* by which gateway it came; NULL: memory was short */
	int64_t started;	     /* Unix seconds */
	uint64_t rx_bytes, tx_bytes; /* from and to the client */
	char error[112];	     /* why it did not end well, or "" */
	bool failed;		     /* for want of the target, not by the client */
	TAILQ_ENTRY(session) link;
};

/* What is left of one that ended. */
struct session_past {
	char service[KK_NAME_MAX + 1], gateway[KK_NAME_MAX + 1];
	char target[KK_TARGET_MAX + 1], error[112];
	uint8_t protocol;
	union kk_sockaddr client;
	int64_t started;
	uint64_t rx_bytes, tx_bytes;
	bool failed;
};

struct sessions {
	struct origins *origins;
	TAILQ_HEAD(, session) open; /* newest first */
	unsigned int n_open;
	struct session_past past[KK_RELAY_SESSIONS_SHOWN]; /* a ring */
	unsigned int n_past;				   /* ended ever */
	int64_t log_second;
	unsigned int logged, unlogged;
};

void sessions_init(struct sessions *sessions, struct origins *origins);
/* Takes references to the port's listener and its target of now. */
void session_begin(struct sessions *sessions, struct session *session, struct listener_port *port,
		   const union kk_sockaddr *client);
/*
 * Lets go of the references; logs the session and remembers it among the past ones, as soon as it is known by
 * which gateway it came.
 */
void session_end(struct sessions *sessions, struct session *session);
/*
 * A fresh array for the "sessions" operation, newest first, within what a message holds. Has it looked up by which
 * gateway the open ones come now: the next call will know.
 */
json_t *sessions_json(struct sessions *sessions);

#endif
