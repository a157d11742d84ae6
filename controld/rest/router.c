// SPDX-License-Identifier: MIT
/* Which handler a call goes to, and what is checked before it gets there. */
#include "controld/rest/rest.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "controld/rest/call.h"
#include "controld/secret.h"
#include "controld/store/accounts.h"
#include "util/parse.h"

#define API	       "/api/v1"
#define WAIT_DEFAULT_S 10
#define WAIT_MAX_S     60

enum {
	OPEN = 1 << 0, /* needs no key */
	NODE = 1 << 1, /* needs the key of a node */
	BODY = 1 << 2, /* takes a JSON object */
	WAIT = 1 << 3, /* takes ?wait= */
};

/* The order is that in which Allow names the methods. */
static const struct route {
	const char *method, *path; /* "NAME" stands for one segment */
	unsigned int flags;
	kk_handler handle;
} routes[] = {
	{"GET", "/healthz", OPEN, kk_health_show},
	{"GET", API "/status", 0, kk_status_show},
	{"GET", API "/gateways", 0, kk_gateways_list},
	{"POST", API "/gateways", BODY, kk_gateways_add},
	{"GET", API "/gateways/NAME", 0, kk_gateways_show},
	{"DELETE", API "/gateways/NAME", WAIT, kk_gateways_remove},
	{"POST", API "/gateways/NAME/revoke", 0, kk_gateways_revoke},
	{"GET", API "/agents", 0, kk_agents_list},
	{"POST", API "/agents", BODY, kk_agents_add},
	{"GET", API "/agents/NAME", 0, kk_agents_show},
	{"DELETE", API "/agents/NAME", WAIT, kk_agents_remove},
	{"POST", API "/agents/NAME/revoke", 0, kk_agents_revoke},
	{"GET", API "/services", 0, kk_services_list},
	{"POST", API "/services", BODY | WAIT, kk_services_add},
	{"GET", API "/services/NAME", 0, kk_services_show},
	{"PATCH", API "/services/NAME", BODY | WAIT, kk_services_set},
	{"DELETE", API "/services/NAME", WAIT, kk_services_remove},
	{"GET", API "/join-tokens", 0, kk_tokens_list},
	{"POST", API "/join-tokens", BODY, kk_tokens_add},
	{"DELETE", API "/join-tokens/NAME", 0, kk_tokens_remove},
	{"GET", API "/api-keys", 0, kk_keys_list},
	{"POST", API "/api-keys", BODY, kk_keys_add},
	{"DELETE", API "/api-keys/NAME", 0, kk_keys_remove},
	{"POST", API "/join", OPEN | BODY, kk_join},
	{"GET", API "/node", NODE, NULL},
};

/* Copies the segment that stands for NAME to @name. */
static bool matches(const char *pattern, const char *path, char *name, size_t size)
{
	while (*pattern && *path) {
		if (strncmp(pattern, "NAME", 4) == 0) {
			size_t len = strcspn(path, "/");

			if (!len || len >= size)
				return false;
			memcpy(name, path, len);
			name[len] = '\0';
			pattern += 4;
			path += len;
		} else if (*pattern++ != *path++) {
			return false;
		}
	}
	return !*pattern && !*path;
}

/* An /api/vN that is not ours. */
static bool other_version(const char *path)
{
	size_t n;

	if (strncmp(path, "/api/v", 6) != 0)
		return false;
	n = strspn(path + 6, "0123456789");
	return n && (path[6 + n] == '/' || !path[6 + n]) && !(n == 1 && path[6] == '1');
}

/* Answers what no route was found for. */
static void no_route(struct kk_httpd_request *req, const char *path)
{
	char message[160], allow[64] = "", name[256];

	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		if (!matches(routes[i].path, path, name, sizeof(name)))
			continue;
		snprintf(allow + strlen(allow), sizeof(allow) - strlen(allow), "%s%s",
			 allow[0] ? ", " : "", routes[i].method);
	}
	if (allow[0]) {
		kk_httpd_add_header(req, "Allow", allow);
		snprintf(message, sizeof(message), "%.16s is not done here, only %s",
			 kk_httpd_method(req), allow);
		kk_rest_error(req, 405, "method_not_allowed", message, "");
	} else if (other_version(path)) {
		snprintf(message, sizeof(message),
			 "version %.*s of the API is not spoken here, only version 1 (" API ")",
			 (int)strspn(path + strlen("/api/v"), "0123456789"),
			 path + strlen("/api/v"));
		kk_rest_error(req, 404, "unknown_version", message, "");
	} else {
		snprintf(message, sizeof(message), "there is nothing at %.96s", path);
		kk_rest_error(req, 404, "not_found", message, "");
	}
}

static int unauthorized(struct kk_err *err, const char *why)
{
	return kk_err_set(err, EACCES, NULL, "%s", why);
}

/* The hash of the bearer key, which must be of the kind with @prefix. */
static int bearer(struct kk_httpd_request *req, const char *prefix, uint8_t hash[KK_HASH_LEN],
		  struct kk_err *err)
{
	const char *text = kk_httpd_header(req, "Authorization");
	int r;

	if (!text)
		return unauthorized(err, "a key is needed: Authorization: Bearer KEY");
	if (strncasecmp(text, "Bearer ", 7) != 0)
		return unauthorized(err, "the key is to be given as Authorization: Bearer KEY");
	text += 7 + strspn(text + 7, " ");
	if (strncmp(text, prefix, strlen(prefix)) != 0)
		return unauthorized(err, strcmp(prefix, KK_API_PREFIX) == 0
						 ? "this is not an administrator's key"
						 : "this is not a node's key");
	r = kk_secret_hash(text, hash);
	return r < 0 ? kk_err_set(err, EIO, NULL, "a key could not be hashed") : 0;
}

static int check_admin(struct kk_control *control, struct kk_httpd_request *req, struct kk_err *err)
{
	struct kk_caller caller;
	uint8_t hash[KK_HASH_LEN];
	int r = bearer(req, KK_API_PREFIX, hash, err);

	if (r == 0)
		r = kk_store_api_key_find(control->store, hash, time(NULL), &caller, err);
	if (r == 0)
		kk_store_enter(control->store, caller.org, caller.who, kk_httpd_peer(req));
	return r;
}

static void open_node(struct kk_control *control, struct kk_httpd_request *req)
{
	uint8_t hash[KK_HASH_LEN];
	char name[KK_NAME_MAX + 1];
	struct kk_err err = {0};
	enum kk_kind role;
	int64_t id;
	int r = bearer(req, KK_NODE_PREFIX, hash, &err);

	if (r == 0)
		r = kk_store_node_find(control->store, hash, &role, &id, name, &err);
	if (r < 0)
		kk_rest_fail(req, r, &err);
	else
		kk_node_open(control, req, hash);
}

static int read_wait(struct kk_httpd_request *req, unsigned int *ret, struct kk_err *err)
{
	const char *text = kk_httpd_query(req, "wait");
	int64_t seconds = WAIT_DEFAULT_S;
	int r = text ? kk_parse_int("wait", text, 0, WAIT_MAX_S, &seconds, err) : 0;

	*ret = (unsigned int)seconds;
	return r;
}

static int read_body(struct kk_httpd_request *req, json_t **ret, struct kk_err *err)
{
	size_t len;
	const char *text = kk_httpd_body(req, &len);

	if (!len)
		return kk_err_set(err, EINVAL, NULL, "a JSON object is wanted in the body");
	*ret = kk_json_parse(text, len, err);
	if (!*ret)
		return -EINVAL;
	if (!json_is_object(*ret))
		return kk_err_set(err, EINVAL, NULL,
				  "a JSON object is wanted in the body, not another value");
	return 0;
}

static int prepare(struct kk_call *call, const struct route *route)
{
	int r = 0;

	kk_store_enter(call->control->store, 0, "nobody", kk_httpd_peer(call->req));
	if (!(route->flags & OPEN))
		r = check_admin(call->control, call->req, &call->err);
	if (r == 0 && route->flags & WAIT)
		r = read_wait(call->req, &call->wait_s, &call->err);
	if (r == 0 && route->flags & BODY)
		r = read_body(call->req, &call->body, &call->err);
	return r;
}

static void run(struct kk_control *control, struct kk_httpd_request *req, const struct route *route,
		const char *name)
{
	struct kk_call *call = calloc(1, sizeof(*call));
	int r;

	if (!call) {
		kk_rest_answer(req, 500, NULL);
		return;
	}
	call->control = control;
	call->req = req;
	strcpy(call->name, name);
	r = prepare(call, route);
	if (r == 0)
		r = route->handle(call);
	/* A call that was held may be answered and gone already. */
	if (r != KK_HELD)
		kk_call_finish(call, r);
}

void kk_rest_handle(struct kk_httpd_request *req, void *userdata)
{
	const char *path = kk_httpd_path(req), *method = kk_httpd_method(req);
	struct kk_control *control = userdata;
	char name[256] = "";

	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		if (strcmp(routes[i].method, method) != 0 ||
		    !matches(routes[i].path, path, name, sizeof(name)))
			continue;
		if (routes[i].flags & NODE)
			open_node(control, req);
		else
			run(control, req, &routes[i], name);
		return;
	}
	no_route(req, path);
}

void kk_rest_refuse(struct kk_httpd_request *req, unsigned int status, void *userdata)
{
	(void)userdata;
	if (status == 413)
		kk_rest_error(req, status, "too_large", "the body is longer than 64 KiB", "");
	else
		kk_rest_error(req, status, "invalid",
			      "a WebSocket opening handshake of version 13 is wanted here", "");
}
