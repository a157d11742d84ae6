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

/*
 * A node's WebSocket is open; an earlier one of the same node is closed. @connection is taken over; @from is the
 * node's address.
 */
void kk_push_open(struct kk_push *push, enum kk_kind role, int64_t id, const char *from,
		  struct kk_httpd_upgrade *connection, int fd);
/* Closes the node's line at once; @reason is short. */
void kk_push_drop(struct kk_push *push, enum kk_kind role, int64_t id, const char *reason);
/* Forgets a node that was removed, its line and its report. */
void kk_push_forget(struct kk_push *push, enum kk_kind role, int64_t id);

/* As above for every node that is not in the store any more. */
void kk_push_sweep(struct kk_push *push);

struct kk_push_state {
	bool connected;
	int64_t acked; /* the generation that the node carries, -1: not known */
	json_t *refused; /* the nack that stands, {"generation","field","message"}, borrowed, or NULL */
};

void kk_push_state(struct kk_push *push, enum kk_kind role, int64_t id, struct kk_push_state *ret);
/* What the node reported last, a new reference, or NULL; and how many bytes that is as text, 0 for nothing. */
size_t kk_push_report_len(struct kk_push *push, enum kk_kind role, int64_t id);
json_t *kk_push_report(struct kk_push *push, enum kk_kind role, int64_t id);

/* What a service was before a change, so that a gateway's nack can undo it. */
struct kk_push_undo {
	int64_t service;
	bool existed;
	struct kk_service_row before;
};

/* A change that was made, for which somebody may be waiting. */
struct kk_push_change {
	int64_t generation, org;
	unsigned int wait_s;
	struct kk_push_undo
		*undo; /* @n_undo of them, taken over; a change of something else is not undone */
	size_t n_undo;
	/*
	 * Called once, perhaps before kk_push_wait() returns: with @applied (taken over), or with why a gateway
	 * refused the change, which has been undone.
	 */
	void (*settled)(json_t *applied, const struct kk_err *refused, void *userdata);
	void *userdata;
};

/* -ENOMEM; @change's undo is taken over in any case. */
int kk_push_wait(struct kk_push *push, const struct kk_push_change *change);
/* The caller of @userdata is gone: @settled will not be called. */
void kk_push_wait_cancel(struct kk_push *push, void *userdata);

/* How many nodes of a role are connected, and how many bytes of messages have been sent to nodes. */
struct kk_push_counts {
	size_t connected[2]; /* KK_GATEWAY, KK_AGENT */
	uint64_t messages, bytes, snapshots;
};

void kk_push_count(struct kk_push *push, struct kk_push_counts *ret);
/* How many nodes of a role of organisation @org are connected. */
size_t kk_push_connected(struct kk_push *push, int64_t org, enum kk_kind role);

#endif
