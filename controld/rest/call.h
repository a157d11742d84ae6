/* SPDX-License-Identifier: MIT */
/* One call while it is handled: what a handler is given, and how it answers. */
#ifndef KK_CONTROLD_REST_CALL_H
#define KK_CONTROLD_REST_CALL_H

#include <sys/queue.h>

#include <jansson.h>

#include "controld/control.h"
#include "controld/password.h"
#include "controld/rest/rest.h"
#include "controld/secret.h"
#include "controld/store/accounts.h"
#include "util/cleanup.h"
#include "util/json.h"

struct kk_operation;

struct kk_call {
	struct kk_control *control;
	struct kk_httpd_request *req;
	const struct kk_operation *op;
	struct kk_caller caller;	 /* access is KK_NOBODY where none was asked for */
	uint8_t credential[KK_HASH_LEN]; /* hash of the key or the session */
	char name[256];			 /* what stands for NAME in the path */
	json_t *body;			 /* of POST and PATCH */
	unsigned int wait_s;		 /* ?wait= */
	unsigned int status;		 /* of the answer */
	json_t *answer;
	struct kk_err err;
	/* Of an operation with KK_OP_PASSWORD. */
	struct kk_password_job *job;
	char password[KK_PASSWORD_MAX]; /* what stands for the new one, "" where none was given */
	struct kk_user_row user;	/* KK_OP_LOGIN: who wants to come in, */
	char org_name[KK_NAME_MAX + 1];
	bool password_ok; /* and whether the password was right */
	/* What is done once the change is on disk. */
	struct kk_push_change *change; /* to be waited for, malloc()ed with its undo */
	struct {
		bool wanted, forget;
		enum kk_kind role;
		int64_t id;
		const char *reason;
	} cut;		     /* a node's line */
	bool access_changed; /* somebody may have been shut out */
	bool nodes_removed;  /* lines may be of nodes that are no more */
	bool dry_run;	     /* the transaction is not to come to anything */
	bool held;	     /* is in control->held */
	LIST_ENTRY(kk_call) link;
};

#define KK_HELD 1 /* the call was answered by the handler itself, and is gone */

/*
 * A handler sets status and answer and returns 0; or returns a negative errno with err filled in, which
 * becomes an error of doc/protocol.md. Where the operation is a change, it is one transaction that ends after
 * the handler.
 */
typedef int (*kk_handler)(struct kk_call *call);

/* Answers with @call's answer, or its error where @r is negative, and frees it. */
void kk_call_finish(struct kk_call *call, int r);
/* Runs the handler within its transaction, and answers or holds the call. */
void kk_call_run(struct kk_call *call);
/*
 * The answer is held until the gateways have acknowledged what was changed; "applied" is added to it. @n_undo
 * of @undo (taken over) are what the services were before.
 */
int kk_call_wait(struct kk_call *call, struct kk_push_undo *undo, size_t n_undo);
/* Ends those of the held calls whose caller is shut out by now. */
void kk_calls_check(struct kk_control *control);
/* The address of the caller. */
const char *kk_call_from(const struct kk_call *call);

int kk_call_answer(struct kk_call *call, unsigned int status, json_t *answer);
/* Answers at once with 200 and what is no JSON of ours, and returns KK_HELD. */
int kk_call_raw(struct kk_call *call, const char *content_type, const void *data, size_t len);
/* {"generation":N} of the change that was made last */
json_t *kk_call_generation(struct kk_call *call);
/* -ESTALE unless the object with this id and generation is what If-Match, where it is given, speaks of. */
int kk_call_match(struct kk_call *call, int64_t id, int64_t generation);
/* -EPERM where @access is more than the caller has: nobody gives what he has not. */
int kk_call_may_give(struct kk_call *call, enum kk_access access);
/* A query parameter that is "true" or "false"; false where it is not there. */
int kk_call_flag(struct kk_call *call, const char *name, bool *ret);

/*
 * A list in pages: rows in order of id, those that @queries of the operation (a field's name each) do not ask for
 * left out.
 */
struct kk_page {
	struct kk_call *call;
	int64_t after, limit, last;
	bool more;
	json_t *items;
};

int kk_page_start(struct kk_page *page, struct kk_call *call);
/* Whether the object with this id lies behind the page's begin, so that it is worth making. */
bool kk_page_wants(const struct kk_page *page, int64_t id);
/* Takes @item over. Non-zero ends the list: 1 when the page is full, -ENOMEM. */
int kk_page_add(struct kk_page *page, int64_t id, json_t *item);
/* Answers {"items":[...],"next":ID|null}; @r is what the list returned. */
int kk_page_answer(struct kk_page *page, int r);

/* An error of doc/protocol.md; @message is a sentence without its full stop, @field may be "". */
void kk_rest_error(struct kk_httpd_request *req, unsigned int status, const char *code,
		   const char *message, const char *field);
/* As above from a handler's negative errno. */
void kk_rest_fail(struct kk_httpd_request *req, int r, const struct kk_err *err);
void kk_rest_answer(struct kk_httpd_request *req, unsigned int status, const json_t *answer);

/* caller.c: who makes the call. -EACCES with @call's err; the caller's organisation is entered. */
int kk_caller_find(struct kk_call *call);
/* The node whose key the request has; the store's errors. */
int kk_caller_node(struct kk_control *control, struct kk_httpd_request *req,
		   uint8_t key_hash[KK_HASH_LEN], struct kk_err *err);
/* The token against forged requests that goes with a session's secret. */
int kk_caller_csrf(const char *secret, char text[KK_SECRET_LEN]);

/* idempotency.c: 1 where the call was answered before and has that answer now, 0, or an error. */
int kk_answer_find(struct kk_call *call);
/* Keeps the call's answer in the open transaction, if it has an Idempotency-Key. */
int kk_answer_keep(struct kk_call *call);
/* What was kept is no longer true. */
void kk_answer_forget(struct kk_call *call);

/* The handlers, one file a resource. */
int kk_nodes_add(struct kk_call *call);
int kk_nodes_list(struct kk_call *call);
int kk_nodes_show(struct kk_call *call);
int kk_nodes_remove(struct kk_call *call);
int kk_nodes_revoke(struct kk_call *call);
int kk_services_add(struct kk_call *call);
int kk_services_list(struct kk_call *call);
int kk_services_show(struct kk_call *call);
int kk_services_set(struct kk_call *call);
int kk_services_remove(struct kk_call *call);
int kk_gateways_set(struct kk_call *call);
int kk_peers_add(struct kk_call *call);
int kk_peers_list(struct kk_call *call);
int kk_peers_show(struct kk_call *call);
int kk_peers_remove(struct kk_call *call);
int kk_denials_add(struct kk_call *call);
int kk_denials_list(struct kk_call *call);
int kk_denials_remove(struct kk_call *call);
int kk_bans_add(struct kk_call *call);
int kk_bans_list(struct kk_call *call);
int kk_bans_remove(struct kk_call *call);
int kk_hosts_add(struct kk_call *call);
int kk_hosts_list(struct kk_call *call);
int kk_hosts_show(struct kk_call *call);
int kk_hosts_set(struct kk_call *call);
int kk_hosts_remove(struct kk_call *call);
int kk_groups_add(struct kk_call *call);
int kk_groups_list(struct kk_call *call);
int kk_groups_show(struct kk_call *call);
int kk_groups_set(struct kk_call *call);
int kk_groups_remove(struct kk_call *call);
int kk_rules_add(struct kk_call *call);
int kk_rules_list(struct kk_call *call);
int kk_rules_show(struct kk_call *call);
int kk_rules_set(struct kk_call *call);
int kk_rules_remove(struct kk_call *call);
int kk_tokens_add(struct kk_call *call);
int kk_tokens_list(struct kk_call *call);
int kk_tokens_remove(struct kk_call *call);
int kk_keys_add(struct kk_call *call);
int kk_keys_list(struct kk_call *call);
int kk_keys_remove(struct kk_call *call);
int kk_users_add(struct kk_call *call);
int kk_users_list(struct kk_call *call);
int kk_users_show(struct kk_call *call);
int kk_users_set(struct kk_call *call);
int kk_users_remove(struct kk_call *call);
int kk_sessions_list(struct kk_call *call);
int kk_sessions_remove(struct kk_call *call);
int kk_orgs_add(struct kk_call *call);
int kk_orgs_list(struct kk_call *call);
int kk_orgs_remove(struct kk_call *call);
int kk_login(struct kk_call *call);
int kk_logout(struct kk_call *call);
int kk_caller_show(struct kk_call *call);
int kk_audit_show(struct kk_call *call);
int kk_apply(struct kk_call *call);
int kk_backup_show(struct kk_call *call);
int kk_status_show(struct kk_call *call);
int kk_status_list(struct kk_call *call);
int kk_health_show(struct kk_call *call);
int kk_metrics_show(struct kk_call *call);
int kk_contract_show(struct kk_call *call);
int kk_join(struct kk_call *call);
/* What is done of a login before the password is worked on: whose it is. */
int kk_login_prepare(struct kk_call *call);
/* Opens the WebSocket of the node whose key it is; answers @req itself. */
void kk_node_open(struct kk_control *control, struct kk_httpd_request *req,
		  const uint8_t key_hash[KK_HASH_LEN]);

/* Shared by the resources: objects as doc/protocol.md has them. */
json_t *kk_gateway_json(struct kk_control *control, const struct kk_gateway_row *row);
json_t *kk_agent_json(struct kk_control *control, const struct kk_agent_row *row);
/* A plain peer, without the gateways. */
json_t *kk_peer_json(struct kk_control *control, const struct kk_agent_row *row);
json_t *kk_service_json(const struct kk_service_row *row);
/* Of a service only what a caller says of it. */
json_t *kk_service_said_json(const struct kk_service_row *row);
json_t *kk_host_json(const struct kk_host_row *row);
json_t *kk_group_json(const struct kk_group_row *row);
json_t *kk_access_rule_json(const struct kk_access_rule_row *row);
/* Objects as callers write them, checked as far as that goes without the store. */
int kk_gateway_read(struct kk_control *control, const json_t *obj, struct kk_gateway_row *row,
		    struct kk_err *err);
int kk_agent_read(struct kk_control *control, const json_t *obj, struct kk_agent_row *row,
		  struct kk_err *err);
int kk_service_read(const json_t *obj, struct kk_service_row *row, struct kk_err *err);
/* host_ports.c: the ports that the hosts of the organisation's gateways serve themselves. */
struct kk_host_ports;
int kk_host_ports_read(struct kk_control *control, struct kk_host_ports **ret, struct kk_err *err);
void kk_host_ports_free(struct kk_host_ports *ports);
/* -EEXIST where the service would take one of them. */
int kk_host_ports_check(const struct kk_host_ports *ports, const struct kk_service_row *row,
			struct kk_err *err);
int kk_host_read(const json_t *obj, struct kk_host_row *row, struct kk_err *err);
int kk_group_read(const json_t *obj, struct kk_group_row *row, struct kk_err *err);
int kk_access_rule_read(const json_t *obj, struct kk_access_rule_row *row, struct kk_err *err);
/* "tcp" or "udp" */
int kk_protocol_read(const char *text, uint8_t *ret, struct kk_err *err);
/* A join token for the node; the text in *@ret is the caller's. */
int kk_token_make(struct kk_control *control, struct kk_token_row *row, int64_t expires_in,
		  char **ret, struct kk_err *err);
#define KK_TOKEN_EXPIRES_S 86400

#endif
