/* SPDX-License-Identifier: MIT */
/*
 * The connected nodes: each is sent what changed and concerns it, one message at a time, so that what
 * changes while a node is busy goes in one delta; acknowledgements, and the callers that wait for them.
 */
#ifndef KK_CONTROLD_PUSH_PUSH_H
#define KK_CONTROLD_PUSH_PUSH_H

#include <jansson.h>
#include <systemd/sd-event.h>

#include "controld/store/store.h"
#include "httpd/httpd.h"

struct kk_push;

/* @store must stay open; its changes are taken from kk_store_on_change(). */
int kk_push_new(sd_event *event, struct kk_store *store, struct kk_push **ret);
/* Closes every line. */
void kk_push_free(struct kk_push *push);

/* A node's WebSocket is open; an earlier one of the same node is closed. @connection is taken over. */
void kk_push_open(struct kk_push *push, enum kk_kind role, int64_t id, const char *name,
		  struct kk_httpd_upgrade *connection, int fd);
/* Closes the node's line at once; @reason is short. */
void kk_push_drop(struct kk_push *push, enum kk_kind role, int64_t id, const char *reason);
/* Forgets a node that was removed, its line and its report. */
void kk_push_forget(struct kk_push *push, enum kk_kind role, int64_t id);

struct kk_push_state {
	bool connected;
	int64_t acked;	/* the generation that the node carries, -1: not known */
	json_t *report; /* borrowed, or NULL */
	json_t *refused; /* the nack that stands, {"generation","field","message"}, borrowed, or NULL */
};

void kk_push_state(struct kk_push *push, enum kk_kind role, int64_t id, struct kk_push_state *ret);
/* A change that was made, for which somebody may be waiting. */
struct kk_push_change {
	int64_t generation;
	unsigned int wait_s;
	/* Of a service: what it was before, so that a gateway's nack can undo it. */
	int64_t service; /* 0: another change, which is not undone */
	bool existed;
	struct kk_service_row before;
	/* Agents (ids) that have to have it, too; one that is there twice counts once. */
	int64_t agents[2 * KK_MEMBERS_MAX];
	size_t n_agents;
	/*
	 * Called once, perhaps before kk_push_wait() returns: with @applied (taken over), or with why a gateway
	 * refused the change, which has been undone.
	 */
	void (*settled)(json_t *applied, const struct kk_err *refused, void *userdata);
	void *userdata;
};

int kk_push_wait(struct kk_push *push, const struct kk_push_change *change);
/* The caller of @userdata is gone: @settled will not be called. */
void kk_push_wait_cancel(struct kk_push *push, void *userdata);

#endif
