/* SPDX-License-Identifier: MIT */
/* One call while it is handled: what a handler is given, and how it answers. */
#ifndef KK_CONTROLD_REST_CALL_H
#define KK_CONTROLD_REST_CALL_H

#include <jansson.h>

#include "controld/control.h"
#include "controld/rest/rest.h"
#include "util/cleanup.h"
#include "util/json.h"

struct kk_call {
	struct kk_control *control;
	struct kk_httpd_request *req;
	char name[256];	     /* what stands for NAME in the path */
	json_t *body;	     /* of POST and PATCH */
	unsigned int wait_s; /* ?wait= */
	unsigned int status; /* of the answer */
	json_t *answer;
	struct kk_err err;
};

#define KK_HELD 1 /* the call is answered later, or has been: it is no longer the handler's */

/*
 * A handler sets status and answer and returns 0; or returns a negative errno with err filled in, which
 * becomes an error of doc/protocol.md; or holds the call and returns KK_HELD.
 */
typedef int (*kk_handler)(struct kk_call *call);

/* Answers with @call's answer, or its error where @r is negative, and frees it. */
void kk_call_finish(struct kk_call *call, int r);
/*
 * Holds the call until the gateways have acknowledged @change; then answers with call->status and
 * call->answer, to which "applied" is added. Returns KK_HELD or a negative errno.
 */
int kk_call_hold(struct kk_call *call, struct kk_push_change *change);

/* {"items":[...]} with @items taken over. */
int kk_call_items(struct kk_call *call, json_t *items);
int kk_call_answer(struct kk_call *call, unsigned int status, json_t *answer);
/* {"generation":N} of the change that was made last */
json_t *kk_call_generation(struct kk_call *call);

/* An error of doc/protocol.md; @message is a sentence without its full stop, @field may be "". */
void kk_rest_error(struct kk_httpd_request *req, unsigned int status, const char *code,
		   const char *message, const char *field);
/* As above from a handler's negative errno. */
void kk_rest_fail(struct kk_httpd_request *req, int r, const struct kk_err *err);
void kk_rest_answer(struct kk_httpd_request *req, unsigned int status, const json_t *answer);

/* The handlers, one file a resource. */
int kk_gateways_add(struct kk_call *call);
int kk_gateways_list(struct kk_call *call);
int kk_gateways_show(struct kk_call *call);
int kk_gateways_set(struct kk_call *call);
int kk_gateways_remove(struct kk_call *call);
int kk_gateways_revoke(struct kk_call *call);
int kk_agents_add(struct kk_call *call);
int kk_agents_list(struct kk_call *call);
int kk_agents_show(struct kk_call *call);
int kk_agents_remove(struct kk_call *call);
int kk_agents_revoke(struct kk_call *call);
int kk_services_add(struct kk_call *call);
int kk_services_list(struct kk_call *call);
int kk_services_show(struct kk_call *call);
int kk_services_set(struct kk_call *call);
int kk_services_remove(struct kk_call *call);
int kk_denials_add(struct kk_call *call);
int kk_denials_list(struct kk_call *call);
int kk_denials_remove(struct kk_call *call);
int kk_bans_add(struct kk_call *call);
int kk_bans_list(struct kk_call *call);
int kk_bans_remove(struct kk_call *call);
int kk_tokens_add(struct kk_call *call);
int kk_tokens_list(struct kk_call *call);
int kk_tokens_remove(struct kk_call *call);
int kk_keys_add(struct kk_call *call);
int kk_keys_list(struct kk_call *call);
int kk_keys_remove(struct kk_call *call);
int kk_status_show(struct kk_call *call);
int kk_health_show(struct kk_call *call);
int kk_join(struct kk_call *call);
/* Opens the WebSocket of the node whose key it is; answers @req itself. */
void kk_node_open(struct kk_control *control, struct kk_httpd_request *req,
		  const uint8_t key_hash[KK_HASH_LEN]);

/* Shared by the resources: objects as doc/protocol.md has them. */
json_t *kk_gateway_json(struct kk_control *control, const struct kk_gateway_row *row);
json_t *kk_agent_json(struct kk_control *control, const struct kk_agent_row *row);
/* A join token for the node; the text in *@ret is the caller's. */
int kk_token_make(struct kk_control *control, struct kk_token_row *row, int64_t expires_in,
		  char **ret, struct kk_err *err);
#define KK_TOKEN_EXPIRES_S 86400

#endif
