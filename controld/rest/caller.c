// SPDX-License-Identifier: MIT
/* Who makes a call: an API key or a session's secret in Authorization, or a session's cookie. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <openssl/crypto.h>

#include "controld/rest/operations.h"
#include "controld/secret.h"

static int unauthorized(struct kk_err *err, const char *why)
{
	return kk_err_set(err, EACCES, NULL, "%s", why);
}

/* The bearer key of the request; -EACCES if it has none. */
static int bearer(struct kk_httpd_request *req, const char **ret, struct kk_err *err)
{
	const char *text = kk_httpd_header(req, "Authorization");

	if (!text)
		return unauthorized(err, "a key is needed: Authorization: Bearer KEY");
	if (strncasecmp(text, "Bearer ", 7) != 0)
		return unauthorized(err, "the key is to be given as Authorization: Bearer KEY");
	*ret = text + 7 + strspn(text + 7, " ");
	return 0;
}

static bool has_prefix(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

int kk_caller_csrf(const char *secret, char text[KK_SECRET_LEN])
{
	uint8_t hash[KK_HASH_LEN];
	char seed[KK_SECRET_LEN + 8];

	snprintf(seed, sizeof(seed), "csrf %s", secret);
	if (kk_secret_hash(seed, hash) < 0)
		return -EIO;
	kk_base64url(hash, sizeof(hash), text);
	return 0;
}

/*
 * A browser sends a cookie also with what another site makes it ask. That site does not know the token, and
 * could not set a header without leave.
 */
static int check_forgery(struct kk_call *call, const char *secret)
{
	const char *token = kk_httpd_header(call->req, "X-CSRF-Token");
	char wanted[KK_SECRET_LEN];

	if (strcmp(call->op->method, "GET") == 0)
		return 0;
	if (kk_caller_csrf(secret, wanted) < 0)
		return -EIO;
	if (!token || strlen(token) != strlen(wanted) ||
	    CRYPTO_memcmp(token, wanted, strlen(wanted)) != 0)
		return kk_err_set(&call->err, EPERM, "X-CSRF-Token",
				  "X-CSRF-Token: with a session's cookie, its token is needed");
	return 0;
}

static int find_session(struct kk_call *call, const char *secret, bool cookie)
{
	int r = kk_secret_hash(secret, call->credential);

	if (r == 0)
		r = kk_store_session_find(call->control->store, call->credential, time(NULL),
					  &call->caller, &call->err);
	return r == 0 && cookie ? check_forgery(call, secret) : r;
}

static int find(struct kk_call *call)
{
	const char *cookie = kk_httpd_cookie(call->req, KK_SESSION_COOKIE), *key = NULL;
	int r;

	if (!kk_httpd_header(call->req, "Authorization") && cookie)
		return find_session(call, cookie, true);
	r = bearer(call->req, &key, &call->err);
	if (r < 0)
		return r;
	if (has_prefix(key, KK_SESSION_PREFIX))
		return find_session(call, key, false);
	if (!has_prefix(key, KK_API_PREFIX))
		return unauthorized(&call->err, "this is not an administrator's key");
	r = kk_secret_hash(key, call->credential);
	return r < 0 ? r
		     : kk_store_api_key_find(call->control->store, call->credential, time(NULL),
					     &call->caller, &call->err);
}

static int check_access(struct kk_call *call)
{
	const struct kk_operation *op = call->op;

	if (call->caller.access < op->access)
		return kk_err_set(&call->err, EPERM, NULL,
				  "this takes the role %s, and %s has the role %s",
				  kk_access_name(op->access), call->caller.who,
				  kk_access_name(call->caller.access));
	if (op->flags & KK_OP_SYSTEM && call->caller.org != KK_ORG_FIRST)
		return kk_err_set(&call->err, EPERM, NULL,
				  "only the organisation whose Control this is may do this");
	return 0;
}

int kk_caller_find(struct kk_call *call)
{
	int r = find(call);

	if (r == 0)
		r = check_access(call);
	if (r == 0)
		kk_store_enter(call->control->store, call->caller.org, call->caller.who,
			       kk_call_from(call));
	return r;
}

int kk_caller_node(struct kk_control *control, struct kk_httpd_request *req,
		   uint8_t key_hash[KK_HASH_LEN], struct kk_err *err)
{
	char name[KK_NAME_MAX + 1];
	const char *key = NULL;
	enum kk_kind role;
	int64_t id;
	int r = bearer(req, &key, err);

	if (r == 0 && !has_prefix(key, KK_NODE_PREFIX))
		r = unauthorized(err, "this is not a node's key");
	if (r == 0)
		r = kk_secret_hash(key, key_hash);
	return r < 0 ? r : kk_store_node_find(control->store, key_hash, &role, &id, name, err);
}
