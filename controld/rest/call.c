// SPDX-License-Identifier: MIT
/* The course of a call: its transaction, and answers now or once the gateways have acknowledged. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "controld/event.h"
#include "controld/rest/operations.h"
#include "util/log.h"

#define JSON_TYPE "application/json"

static void free_call(struct kk_call *call)
{
	if (call->held)
		LIST_REMOVE(call, link);
	if (call->change)
		free(call->change->undo);
	free(call->change);
	kk_password_cancel(call->job);
	json_decref(call->body);
	json_decref(call->answer);
	explicit_bzero(call->password, sizeof(call->password));
	free(call);
}

void kk_rest_answer(struct kk_httpd_request *req, unsigned int status, const json_t *answer)
{
	KK_CLEANUP_FREE char *text = answer ? kk_json_text(answer) : NULL;

	if (!text) {
		static const char broken[] =
			"{\"error\":{\"code\":\"internal\",\"message\":\"Out of memory.\"}}";

		kk_httpd_answer(req, 500, JSON_TYPE, broken, strlen(broken));
		return;
	}
	kk_httpd_answer(req, status, JSON_TYPE, text, strlen(text));
}

/*
 * What the caller wrote is quoted in messages, cut to a length: it may have been no UTF-8, or is not any
 * more, and a person is to read it on one line.
 */
static json_t *readable(const char *text, const char *end)
{
	char copy[512];
	json_t *string;
	int len = snprintf(copy, sizeof(copy), "%s%s", text, end);

	for (int i = 0; i < len && copy[i]; i++)
		if ((unsigned char)copy[i] < ' ' || copy[i] == 0x7f)
			copy[i] = '?';
	string = json_string(copy);
	if (string)
		return string;
	for (int i = 0; i < len && copy[i]; i++)
		if ((unsigned char)copy[i] > 0x7f)
			copy[i] = '?';
	return json_string(copy);
}

void kk_rest_error(struct kk_httpd_request *req, unsigned int status, const char *code,
		   const char *message, const char *field)
{
	KK_CLEANUP_JSON json_t *answer = json_pack("{s:{s:s, s:o}}", "error", "code", code,
						   "message", readable(message, "."));

	if (answer && field[0])
		json_object_set_new(json_object_get(answer, "error"), "field", readable(field, ""));
	if (status == 401)
		kk_httpd_add_header(req, "WWW-Authenticate", "Bearer");
	if (status == 429)
		kk_httpd_add_header(req, "Retry-After", "10");
	kk_rest_answer(req, status, answer);
}

void kk_rest_fail(struct kk_httpd_request *req, int r, const struct kk_err *err)
{
	static const struct {
		int code;
		unsigned int status;
		const char *name;
	} causes[] = {
		{EINVAL, 400, "invalid"},
		{ERANGE, 400, "invalid"},
		{EACCES, 401, "unauthorized"},
		{EPERM, 403, "forbidden"},
		{ENOENT, 404, "not_found"},
		{EEXIST, 409, "conflict"},
		{ENOSPC, 409, "conflict"},
		{EBUSY, 409, "in_use"},
		{ESTALE, 412, "precondition_failed"},
		{EAGAIN, 429, "rate_limited"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(causes); i++) {
		if (causes[i].code != -r || !err->msg[0])
			continue;
		kk_rest_error(req, causes[i].status, causes[i].name, err->msg, err->field);
		return;
	}
	kk_error("%s %s failed: %s", kk_httpd_method(req), kk_httpd_path(req),
		 err->msg[0] ? err->msg : strerror(-r));
	kk_rest_error(req, 500, "internal", "a fault of Control, which its log tells more of", "");
}

/* Lost updates are prevented by giving back what came with the object (RFC 9110 section 8.8.3). */
static void add_etag(struct kk_call *call)
{
	json_t *id = json_object_get(call->answer, "id");
	json_t *generation = json_object_get(call->answer, "generation");
	char etag[64];

	if (!id || !generation)
		return;
	snprintf(etag, sizeof(etag), "\"%lld-%lld\"", json_integer_value(id),
		 json_integer_value(generation));
	kk_httpd_add_header(call->req, "ETag", etag);
}

/* Every change that was made or refused; of what anybody can cause without a key, only in detail. */
static void tell(const struct kk_call *call, int r)
{
	const char *name = json_string_value(json_object_get(call->body, "name"));
	const char *object = call->name[0] ? call->name : name;
	const bool known =
		call->caller.access != KK_NOBODY || (call->op->flags & KK_OP_LOGIN && r == 0);
	char generation[24] = "";
	json_t *made = json_object_get(call->answer, "generation");

	if (!(call->op->flags & KK_OP_CHANGE) && r != -EPERM)
		return;
	if (r == 0 && made)
		snprintf(generation, sizeof(generation), "%lld", json_integer_value(made));
	kk_event(known ? LOG_INFO : LOG_DEBUG,
		 (const struct kk_event_field[]){{"event", r < 0 ? "refused" : "done"},
						 {"operation", call->op->id},
						 {"object", object},
						 {"who", call->caller.who},
						 {"organisation", call->caller.org_name},
						 {"from", kk_call_from(call)},
						 {"generation", generation},
						 {"reason", r < 0 ? call->err.msg : NULL}},
		 8, "%s%s%s%s", call->op->id, object ? " " : "", object ? object : "",
		 r < 0		 ? call->err.msg[0] ? " is refused" : " failed"
		 : call->dry_run ? ", not made"
				 : "");
}

void kk_call_finish(struct kk_call *call, int r)
{
	tell(call, r);
	if (r < 0) {
		kk_rest_fail(call->req, r, &call->err);
	} else {
		add_etag(call);
		kk_rest_answer(call->req, call->status, call->answer);
	}
	free_call(call);
}

const char *kk_call_from(const struct kk_call *call)
{
	return kk_httpd_peer(call->req);
}

int kk_call_answer(struct kk_call *call, unsigned int status, json_t *answer)
{
	if (!answer)
		return kk_err_set(&call->err, ENOMEM, NULL, "out of memory");
	call->status = status;
	call->answer = answer;
	return 0;
}

int kk_call_raw(struct kk_call *call, const char *content_type, const void *data, size_t len)
{
	kk_httpd_answer(call->req, 200, content_type, data, len);
	free_call(call);
	return KK_HELD;
}

json_t *kk_call_generation(struct kk_call *call)
{
	return json_pack("{s:I}", "generation", (json_int_t)kk_store_latest(call->control->store));
}

int kk_call_match(struct kk_call *call, int64_t id, int64_t generation)
{
	const char *wanted = kk_httpd_header(call->req, "If-Match");
	char etag[64];

	snprintf(etag, sizeof(etag), "\"%lld-%lld\"", (long long)id, (long long)generation);
	if (!wanted || strcmp(wanted, "*") == 0 || strstr(wanted, etag))
		return 0;
	return kk_err_set(&call->err, ESTALE, "If-Match",
			  "If-Match: %.64s is not what the object is now, %s", wanted, etag);
}

int kk_call_may_give(struct kk_call *call, enum kk_access access)
{
	if (access <= call->caller.access)
		return 0;
	return kk_err_set(
		&call->err, EPERM, "role", "role: %s is more than %s has, which is the role %s",
		kk_access_name(access), call->caller.who, kk_access_name(call->caller.access));
}

int kk_call_flag(struct kk_call *call, const char *name, bool *ret)
{
	const char *text = kk_httpd_query(call->req, name);

	*ret = text && strcmp(text, "true") == 0;
	if (!text || *ret || strcmp(text, "false") == 0)
		return 0;
	return kk_err_set(&call->err, EINVAL, name, "%s: \"%.32s\" is neither true nor false", name,
			  text);
}

/* ---- waiting for the gateways ---- */

int kk_call_wait(struct kk_call *call, struct kk_push_undo *undo, size_t n_undo)
{
	call->change = calloc(1, sizeof(*call->change));
	if (!call->change) {
		free(undo);
		return kk_err_set(&call->err, ENOMEM, NULL, "out of memory");
	}
	call->change->undo = undo;
	call->change->n_undo = n_undo;
	return 0;
}

static void on_settled(json_t *applied, const struct kk_err *refused, void *userdata)
{
	struct kk_call *call = userdata;

	if (refused) {
		kk_answer_forget(call);
		call->err = *refused;
		kk_call_finish(call, -refused->code);
		return;
	}
	json_object_set_new(call->answer, "applied", applied);
	kk_call_finish(call, 0);
}

static void hold(struct kk_call *call)
{
	struct kk_push_change *change = call->change;
	struct kk_control *control = call->control;

	call->change = NULL;
	change->generation = kk_store_generation(control->store);
	change->org = kk_store_org(control->store);
	change->wait_s = call->wait_s;
	change->settled = on_settled;
	change->userdata = call;
	kk_httpd_set_data(call->req, call);
	call->held = true;
	LIST_INSERT_HEAD(&control->held, call, link);
	if (kk_push_wait(control->push, change) < 0) {
		kk_httpd_set_data(call->req, NULL);
		kk_err_set(&call->err, ENOMEM, NULL, "out of memory");
		kk_call_finish(call, -ENOMEM);
	}
	free(change);
}

void kk_rest_gone(struct kk_httpd_request *req, void *userdata)
{
	struct kk_control *control = userdata;
	struct kk_call *call = kk_httpd_data(req);

	if (!call)
		return;
	if (control->push)
		kk_push_wait_cancel(control->push, call);
	free_call(call);
}

static bool shut_out(struct kk_call *call)
{
	struct kk_store *store = call->control->store;
	struct kk_caller caller;
	int r;

	r = call->caller.session
		    ? kk_store_session_find(store, call->credential, time(NULL), &caller, NULL)
		    : kk_store_api_key_find(store, call->credential, time(NULL), &caller, NULL);
	return r == -EACCES;
}

void kk_calls_check(struct kk_control *control)
{
	struct kk_call *call, *next;

	for (call = LIST_FIRST(&control->held); call; call = next) {
		next = LIST_NEXT(call, link);
		if (!shut_out(call))
			continue;
		kk_push_wait_cancel(control->push, call);
		kk_httpd_set_data(call->req, NULL);
		kk_err_set(&call->err, EACCES, NULL, "the key or session was revoked meanwhile");
		kk_call_finish(call, -EACCES);
	}
}

/* ---- the transaction ---- */

static int change(struct kk_call *call)
{
	struct kk_store *store = call->control->store;
	int r = kk_store_begin(store, &call->err);

	if (r < 0)
		return r;
	r = kk_answer_find(call);
	if (r == 0) {
		r = call->op->handle(call);
		if (r == 0)
			r = kk_answer_keep(call);
	} else if (r > 0) {
		r = 0;
	}
	if (r == 0 && call->dry_run) {
		r = kk_store_check(store, &call->err);
		kk_store_end(store, -ECANCELED, NULL);
		return r;
	}
	return kk_store_end(store, r, &call->err);
}

static void after_change(struct kk_call *call)
{
	struct kk_push *push = call->control->push;

	if (call->cut.wanted && call->cut.forget)
		kk_push_forget(push, call->cut.role, call->cut.id);
	else if (call->cut.wanted)
		kk_push_drop(push, call->cut.role, call->cut.id, call->cut.reason);
	if (call->nodes_removed)
		kk_push_sweep(push);
	if (call->access_changed)
		kk_calls_check(call->control);
}

void kk_call_run(struct kk_call *call)
{
	struct kk_store *store = call->control->store;
	int r;

	r = call->op->flags & KK_OP_CHANGE ? change(call) : call->op->handle(call);
	if (r == KK_HELD) {
		kk_store_enter(store, 0, "control", "");
		return;
	}
	if (r == 0)
		after_change(call);
	if (r == 0 && call->change)
		hold(call);
	else
		kk_call_finish(call, r);
	kk_store_enter(store, 0, "control", "");
}
