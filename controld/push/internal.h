/* SPDX-License-Identifier: MIT */
#ifndef KK_CONTROLD_PUSH_INTERNAL_H
#define KK_CONTROLD_PUSH_INTERNAL_H

#include <sys/queue.h>

#include "controld/push/push.h"
#include "controld/push/report.h"
#include "poll/poll.h"
#include "ws/ws.h"

struct kk_node {
	struct kk_push *push;
	enum kk_kind role;
	int64_t id, org;
	char name[KK_NAME_MAX + 1];
	char from[INET6_ADDRSTRLEN];	     /* address of its line */
	struct kk_httpd_upgrade *connection; /* NULL while not connected */
	struct kk_ws *ws;
	int fd;
	bool ready;			/* has said hello */
	bool greeting;			/* its hello waits to be noted with others */
	uint8_t public_key[KK_KEY_LEN]; /* that it said hello with */
	int model;			/* that it understands, KK_MODEL */
	bool dirty;			/* something that concerns it changed */
	bool due;      /* in the list of those that are sent something in the next turn */
	bool self;     /* what changed is the node itself */
	int64_t acked; /* the generation that it has; 0: none of this epoch */
	int64_t sent;  /* what it has been sent and not answered yet, else 0 */
	struct kk_report report;
	json_t *refused;
	TAILQ_ENTRY(kk_node) link; /* of those that are due */
	TAILQ_ENTRY(kk_node) greeting_link;
};

#define KK_SHARED_DELTAS 8 /* from as many generations, while gateways are told of the last one */

/*
 * What all gateways of an organisation are told alike, as text, made once while nothing changes: with a hundred
 * of them, that is what a change costs.
 */
struct kk_shared {
	struct kk_shared_text {
		int64_t org, from, generation; /* @from 0: the lists of a snapshot */
		int model;
		char *text;				 /* NULL: a delta with nothing in it */
	} deltas[KK_SHARED_DELTAS], lists[KK_MODEL + 1]; /* the latter by model */
	size_t next;					 /* delta that goes for a new one */
};

/* A message; @own is its text where it is the node's alone, to be freed, else NULL. */
struct kk_message {
	const char *text; /* NULL: there is nothing to tell */
	char *own;
};

/* What the node has to be sent now; *@ret_generation is where it leads. */
int kk_shared_message(struct kk_push *push, const struct kk_node *node, struct kk_message *ret,
		      int64_t *ret_generation, struct kk_err *err);
void kk_shared_clean(struct kk_shared *shared);

struct kk_pending {
	struct kk_push_change change;
	uint64_t settle_by, forget_at; /* CLOCK_MONOTONIC, microseconds */
	bool settled;
	TAILQ_ENTRY(kk_pending) link;
};

TAILQ_HEAD(kk_pending_list, kk_pending);

struct kk_push {
	sd_event *event;
	struct kk_poll *poll; /* of the nodes' lines */
	struct kk_store *store;
	sd_event_source *flush, *greet, *retry, *timer, *check;
	TAILQ_HEAD(, kk_node) due, greeting;
	uint64_t flushed; /* when nodes were sent something last, CLOCK_MONOTONIC microseconds */
	struct kk_shared shared;
	struct {
		struct kk_node **by_id; /* NULL where there is none */
		size_t size;
	} nodes[2];			/* KK_GATEWAY, KK_AGENT */
	struct kk_pending_list pending; /* in order of generation */
	uint64_t messages, bytes, snapshots;
	uint64_t handled; /* bytes of messages, both ways, since memory was given back */
};

/* push.c */
struct kk_node *kk_push_node(struct kk_push *push, enum kk_kind role, int64_t id);
/* Whether a connected node carries everything up to @generation that concerns it. */
bool kk_node_has(const struct kk_node *node, int64_t generation);
/* Sends those that are due what there is for them, now. */
void kk_push_flush(struct kk_push *push);
/* Something that concerns the node has changed: it is sent that in the next turn of the loop. */
void kk_node_due(struct kk_node *node);
/* The node said hello: its key is noted, in one transaction with others' that come at the same time. */
void kk_node_greeted(struct kk_node *node);
/* Its key is noted, or @r and @err say why not. */
void kk_node_welcome(struct kk_node *node, int r, const struct kk_err *err);
/* The node's organisation is entered, and who acts is the node. */
void kk_node_enter(const struct kk_node *node);

/* node.c */
int kk_node_connect(struct kk_node *node, struct kk_httpd_upgrade *connection, int fd);
/* Ends the line, with a closing frame where @reason is given and the line still there. */
void kk_node_disconnect(struct kk_node *node, unsigned int status, const char *reason);
/* Sends the delta or snapshot that is due. */
void kk_node_update(struct kk_node *node);

/* pending.c */
int kk_pending_init(struct kk_push *push);
void kk_pending_clean(struct kk_push *push);
/* A node's state changed: soon settles what nobody is waited for any more. */
void kk_pending_check(struct kk_push *push);
/* @node refused what led from @from to @to: undoes it. Returns how many changes were undone. */
int kk_pending_undo(struct kk_push *push, const struct kk_node *node, int64_t from, int64_t to,
		    const struct kk_err *why);

#endif
