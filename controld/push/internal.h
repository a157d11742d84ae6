/* SPDX-License-Identifier: MIT */
#ifndef KK_CONTROLD_PUSH_INTERNAL_H
#define KK_CONTROLD_PUSH_INTERNAL_H

#include <sys/queue.h>

#include "controld/push/push.h"
#include "ws/ws.h"

struct kk_node {
	struct kk_push *push;
	enum kk_kind role;
	int64_t id;
	char name[KK_NAME_MAX + 1];
	struct kk_httpd_upgrade *connection; /* NULL while not connected */
	struct kk_ws *ws;
	int fd;
	bool ready;    /* has said hello */
	int model;     /* that it understands, KK_MODEL */
	bool dirty;    /* something that concerns it changed */
	int64_t acked; /* the generation that it has; 0: none of this epoch */
	int64_t sent;  /* what it has been sent and not answered yet, else 0 */
	json_t *report;
	json_t *refused;
};

struct kk_pending {
	struct kk_push_change change;
	uint64_t settle_by, forget_at; /* CLOCK_MONOTONIC, microseconds */
	bool settled;
	TAILQ_ENTRY(kk_pending) link;
};

TAILQ_HEAD(kk_pending_list, kk_pending);

struct kk_push {
	sd_event *event;
	struct kk_store *store;
	sd_event_source *flush, *retry, *timer;
	struct {
		struct kk_node **by_id; /* NULL where there is none */
		size_t size;
	} nodes[2];			/* KK_GATEWAY, KK_AGENT */
	struct kk_pending_list pending; /* in order of generation */
};

/* push.c */
struct kk_node *kk_push_node(struct kk_push *push, enum kk_kind role, int64_t id);
/* Whether a connected node carries everything up to @generation that concerns it. */
bool kk_node_has(const struct kk_node *node, int64_t generation);
/* Sends what is due to every node, in the next turn of the loop. */
void kk_push_flush(struct kk_push *push);

/* node.c */
int kk_node_connect(struct kk_node *node, struct kk_httpd_upgrade *connection, int fd);
/* Ends the line, with a closing frame where @reason is given and the line still there. */
void kk_node_disconnect(struct kk_node *node, unsigned int status, const char *reason);
/* Sends the delta or snapshot that is due. */
void kk_node_update(struct kk_node *node);

/* pending.c */
int kk_pending_init(struct kk_push *push);
void kk_pending_clean(struct kk_push *push);
/* A node's state changed: settles what nobody is waited for any more. */
void kk_pending_check(struct kk_push *push);
/* @node refused what led from @from to @to: undoes it. Returns how many changes were undone. */
int kk_pending_undo(struct kk_push *push, const struct kk_node *node, int64_t from, int64_t to,
		    const struct kk_err *why);

#endif
