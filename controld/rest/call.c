// SPDX-License-Identifier: MIT
/* Answers: objects, errors, and those that wait for the gateways. */
#include "controld/rest/call.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util/log.h"

#define JSON_TYPE "application/json"

static void free_call(struct kk_call *call)
{
	json_decref(call->body);
	json_decref(call->answer);
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
	kk_rest_answer(req, status, answer);
}

void kk_rest_fail(struct kk_httpd_request *req, int r, const struct kk_err *err)
{
	static const struct {
		int code;
		unsigned int status;
		const char *name;
	} causes[] = {
		{EINVAL, 400, "invalid"},      {ERANGE, 400, "invalid"},
		{EACCES, 401, "unauthorized"}, {ENOENT, 404, "not_found"},
		{EEXIST, 409, "conflict"},     {ENOSPC, 409, "conflict"},
		{EBUSY, 409, "in_use"},
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

void kk_call_finish(struct kk_call *call, int r)
{
	if (r < 0)
		kk_rest_fail(call->req, r, &call->err);
	else
		kk_rest_answer(call->req, call->status, call->answer);
	free_call(call);
}

int kk_call_answer(struct kk_call *call, unsigned int status, json_t *answer)
{
	if (!answer)
		return kk_err_set(&call->err, ENOMEM, NULL, "out of memory");
	call->status = status;
	call->answer = answer;
	return 0;
}

int kk_call_items(struct kk_call *call, json_t *items)
{
	return kk_call_answer(call, 200, json_pack("{s:o}", "items", items));
}

json_t *kk_call_generation(struct kk_call *call)
{
	return json_pack("{s:I}", "generation",
			 (json_int_t)kk_store_generation(call->control->store));
}

static void on_settled(json_t *applied, const struct kk_err *refused, void *userdata)
{
	struct kk_call *call = userdata;

	if (refused) {
		call->err = *refused;
		kk_call_finish(call, -refused->code);
		return;
	}
	json_object_set_new(call->answer, "applied", applied);
	kk_call_finish(call, 0);
}

int kk_call_hold(struct kk_call *call, struct kk_push_change *change)
{
	int r;

	change->generation = kk_store_generation(call->control->store);
	change->org = kk_store_org(call->control->store);
	change->wait_s = call->wait_s;
	change->settled = on_settled;
	change->userdata = call;
	kk_httpd_set_data(call->req, call);
	r = kk_push_wait(call->control->push, change);
	if (r == 0)
		return KK_HELD;
	kk_httpd_set_data(call->req, NULL);
	return kk_err_set(&call->err, -r, NULL, "out of memory");
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
