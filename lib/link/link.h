/* SPDX-License-Identifier: MIT */
/*
 * A node's line to Control: joins, keeps the WebSocket open with jittered reconnects, turns snapshots and
 * deltas into configurations, acknowledges what was applied. Used alike by gateways and Agents.
 * Losing Control loses nothing else: the last configuration stays in force.
 */
#ifndef KK_LINK_LINK_H
#define KK_LINK_LINK_H

#include <stdbool.h>

#include <systemd/sd-event.h>

#include "proto/model.h"
#include "util/err.h"

/* What a node remembers of its joining, in @state_dir/node.json (mode 0600). No WireGuard key is in it. */
struct kk_identity {
	char url[256], pin[64];
	char role[16], name[KK_NAME_MAX + 1];
	char key[64]; /* the node's bearer key */
};

/*
 * Spends @token (text) for a node of @role and writes the identity. Refuses a token for the other role, and,
 * unless @force, a directory that has an identity already (-EEXIST).
 */
int kk_link_join(const char *state_dir, const char *role, const char *token, bool force,
		 struct kk_identity *ret, struct kk_err *err);
/* -ENOENT with a sentence that tells to join first. */
int kk_link_load(const char *state_dir, const char *role, struct kk_identity *ret,
		 struct kk_err *err);

struct kk_link;

struct kk_link_config {
	const struct kk_identity *identity; /* must stay valid */
	const uint8_t *public_key;	    /* the node's WireGuard key, KK_KEY_LEN bytes */
	/*
	 * Brings the machine from @old to @next, wholly or not at all; @old has generation 0 and empty lists at
	 * first. Returns 0 (acknowledged) or a negative errno with @err (sent as nack, @old stays in force).
	 */
	int (*apply)(const struct kk_config *old, const struct kk_config *next, void *userdata,
		     struct kk_err *err);
	/* The fields of a report (a fresh object, taken over), asked for every 5 s and by kk_link_report. */
	json_t *(*report)(void *userdata);
	void *userdata;
};

int kk_link_new(sd_event *event, const struct kk_link_config *config, struct kk_link **ret);
void kk_link_free(struct kk_link *link);
bool kk_link_connected(const struct kk_link *link);
/* The configuration in force; generation 0 before the first. */
const struct kk_config *kk_link_config(const struct kk_link *link);
/*
 * Says hello anew, so that Control sends again what was rejected: for a cause that may have passed. The
 * configuration in force stays.
 */
void kk_link_ask_again(struct kk_link *link);
/* Sends a report now instead of at the next turn. */
void kk_link_report(struct kk_link *link);

#endif
