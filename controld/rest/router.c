// SPDX-License-Identifier: MIT
/* From a request to its operation, and what is checked before that is run. */
#include "controld/rest/rest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controld/rest/operations.h"
#include "util/parse.h"

#define WAIT_DEFAULT_S 10
#define WAIT_MAX_S     60

/* An /api/vN that is not ours. */
static bool other_version(const char *path)
{
	size_t n;

	if (strncmp(path, "/api/v", 6) != 0)
		return false;
	n = strspn(path + 6, "0123456789");
	return n && (path[6 + n] == '/' || !path[6 + n]) && !(n == 1 && path[6] == '1');
}

/* Answers what there is no operation for. */
static void no_operation(struct kk_httpd_request *req, const char *path)
{
	char message[160], allow[64] = "", name[256];

	for (size_t i = 0; i < kk_n_operations; i++) {
		const struct kk_operation *op = &kk_operations[i];

		if (kk_operation_find(op->method, path, name, sizeof(name)) != op)
			continue;
		snprintf(allow + strlen(allow), sizeof(allow) - strlen(allow), "%s%s",
			 allow[0] ? ", " : "", op->method);
	}
	if (allow[0]) {
		kk_httpd_add_header(req, "Allow", allow);
		snprintf(message, sizeof(message), "%.16s is not done here, only %s",
			 kk_httpd_method(req), allow);
		kk_rest_error(req, 405, "method_not_allowed", message, "");
	} else if (other_version(path)) {
		snprintf(message, sizeof(message),
			 "version %.*s of the API is not spoken here, only version 1 (/api/v1)",
			 (int)strspn(path + strlen("/api/v"), "0123456789"),
			 path + strlen("/api/v"));
		kk_rest_error(req, 404, "unknown_version", message, "");
	} else {
		snprintf(message, sizeof(message), "there is nothing at %.96s", path);
		kk_rest_error(req, 404, "not_found", message, "");
	}
}

static void open_node(struct kk_control *control, struct kk_httpd_request *req)
{
	uint8_t hash[KK_HASH_LEN];
	struct kk_err err = {0};
	int r = kk_caller_node(control, req, hash, &err);

	if (r < 0)
		kk_rest_fail(req, r, &err);
	else
		kk_node_open(control, req, hash);
}

/* ---- what a request brings along ---- */

static bool has_word(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (; list && *list; list += strcspn(list, " "), list += strspn(list, " "))
		if (strcspn(list, " ") == len && strncmp(list, word, len) == 0)
			return true;
	return false;
}

/* A query that would have no effect is a mistake of its writer's. */
static int check_query(const char *name, void *userdata)
{
	struct kk_call *call = userdata;
	const struct kk_operation *op = call->op;

	if ((op->flags & KK_OP_WAIT && strcmp(name, "wait") == 0) ||
	    (op->flags & KK_OP_LIST &&
	     (strcmp(name, "limit") == 0 || strcmp(name, "after") == 0)) ||
	    has_word(op->queries, name))
		return 0;
	return kk_err_set(&call->err, EINVAL, name, "%.48s: there is no such parameter here", name);
}

static int read_wait(struct kk_call *call)
{
	const char *text = kk_httpd_query(call->req, "wait");
	int64_t seconds = WAIT_DEFAULT_S;
	int r = 0;

	if (text && strcmp(text, "applied") != 0)
		r = kk_parse_int("wait", text, 0, WAIT_MAX_S, &seconds, &call->err);
	call->wait_s = (unsigned int)seconds;
	return r;
}

static int read_body(struct kk_call *call)
{
	struct kk_err *err = &call->err;
	size_t len;
	const char *text = kk_httpd_body(call->req, &len);

	if (!len)
		return kk_err_set(err, EINVAL, NULL, "a JSON object is wanted in the body");
	call->body = kk_json_parse(text, len, err);
	if (!call->body)
		return -EINVAL;
	if (!json_is_object(call->body))
		return kk_err_set(err, EINVAL, NULL,
				  "a JSON object is wanted in the body, not another value");
	return 0;
}

/* ---- passwords, which take their time ---- */

static void on_password(const struct kk_password_result *result, void *userdata)
{
	struct kk_call *call = userdata;

	call->job = NULL;
	kk_httpd_set_data(call->req, NULL);
	call->password_ok = result->ok;
	strcpy(call->password, result->text);
	if (result->error) {
		kk_err_set(&call->err, EIO, NULL, "a password could not be worked on");
		kk_call_finish(call, -EIO);
		return;
	}
	/* Time has passed, and the caller may have been shut out. */
	if (call->op->access != KK_NOBODY) {
		int r = kk_caller_find(call);

		if (r < 0) {
			kk_call_finish(call, r);
			return;
		}
	}
	kk_call_run(call);
}

/* Begins the work and keeps the call, or returns 0 where there is none to do. */
static int start_password(struct kk_call *call)
{
	const json_t *value = json_object_get(call->body, "password");
	struct kk_control *control = call->control;
	bool login = call->op->flags & KK_OP_LOGIN;
	int r;

	if (!json_is_string(value))
		return 0;
	r = login ? kk_login_prepare(call)
		  : kk_password_acceptable(json_string_value(value), &call->err);
	if (r < 0)
		return r;
	r = kk_passwords_submit(control->passwords, json_string_value(value),
				login ? call->user.password : NULL, on_password, call, &call->job);
	if (r == -EBUSY)
		return kk_err_set(&call->err, EAGAIN, NULL,
				  "too many passwords are being checked; try again");
	if (r < 0)
		return kk_err_set(&call->err, -r, NULL, "a password could not be worked on");
	kk_httpd_set_data(call->req, call);
	return KK_HELD;
}

static int prepare(struct kk_call *call)
{
	unsigned int flags = call->op->flags;
	int r = 0;

	kk_store_enter(call->control->store, 0, "nobody", kk_call_from(call));
	if (call->op->access != KK_NOBODY)
		r = kk_caller_find(call);
	if (r == 0)
		r = kk_httpd_each_query(call->req, check_query, call);
	if (r == 0 && flags & KK_OP_WAIT)
		r = read_wait(call);
	if (r == 0 && flags & KK_OP_BODY)
		r = read_body(call);
	if (r == 0 && flags & KK_OP_PASSWORD)
		r = start_password(call);
	return r;
}

static void run(struct kk_control *control, struct kk_httpd_request *req,
		const struct kk_operation *op, const char *name)
{
	struct kk_call *call = calloc(1, sizeof(*call));
	int r;

	if (!call) {
		kk_rest_answer(req, 500, NULL);
		return;
	}
	call->control = control;
	call->req = req;
	call->op = op;
	strcpy(call->name, name);
	r = prepare(call);
	if (r == 0)
		kk_call_run(call);
	else if (r != KK_HELD)
		kk_call_finish(call, r);
	kk_store_enter(control->store, 0, "control", "");
}

void kk_rest_handle(struct kk_httpd_request *req, void *userdata)
{
	const char *path = kk_httpd_path(req);
	struct kk_control *control = userdata;
	const struct kk_operation *op;
	char name[256] = "";

	control->requests++;
	op = kk_operation_find(kk_httpd_method(req), path, name, sizeof(name));
	if (!op)
		no_operation(req, path);
	else if (op->flags & KK_OP_NODE)
		open_node(control, req);
	else
		run(control, req, op, name);
}

/* Only who may use it gets that much room. */
size_t kk_rest_body_max(struct kk_httpd_request *req, void *userdata)
{
	struct kk_control *control = userdata;
	struct kk_call call = {.control = control, .req = req};

	call.op = kk_operation_find(kk_httpd_method(req), kk_httpd_path(req), call.name,
				    sizeof(call.name));
	if (!call.op || !(call.op->flags & KK_OP_LARGE) || kk_caller_find(&call) < 0)
		return KK_REST_BODY_MAX;
	kk_store_enter(control->store, 0, "control", "");
	return KK_REST_LARGE_MAX;
}

void kk_rest_refuse(struct kk_httpd_request *req, unsigned int status, void *userdata)
{
	(void)userdata;
	if (status == 413)
		kk_rest_error(req, status, "too_large", "the body is longer than 64 KiB", "");
	else if (status == 429)
		kk_rest_error(req, status, "rate_limited",
			      "more requests come from this address than are served", "");
	else
		kk_rest_error(req, status, "invalid",
			      "a WebSocket opening handshake of version 13 is wanted here", "");
}
