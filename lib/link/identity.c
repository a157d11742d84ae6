// SPDX-License-Identifier: MIT
/* Joining, and what a node remembers of it. */
#include "link/link.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/client.h"
#include "proto/token.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/json.h"

#define FILE_MAX 8192 /* bytes; a good one has about 300 */

struct fields {
	const char *url, *pin, *role, *name, *key;
};

#define KEY_FIELDS                                                                                 \
	KK_JSON_FIELD("role", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, role, .min = 1,     \
		      .max = 15),                                                                  \
		KK_JSON_FIELD("name", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, name,       \
			      .min = 1, .max = KK_NAME_MAX),                                       \
		KK_JSON_FIELD("key", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, key,         \
			      .min = 1, .max = 63)

/* Of Control's answer to a join. */
static const struct kk_json_field answer_fields[] = {KEY_FIELDS};

static const struct kk_json_field file_fields[] = {
	KK_JSON_FIELD("url", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, url, .min = 1,
		      .max = 255),
	KK_JSON_FIELD("pin", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, pin, .min = 1,
		      .max = 63),
	KEY_FIELDS,
};

/* The lengths were checked by the tables. */
static void fill(const struct fields *f, struct kk_identity *ret)
{
	struct kk_identity identity = {0};

	strcpy(identity.url, f->url);
	strcpy(identity.pin, f->pin);
	strcpy(identity.role, f->role);
	strcpy(identity.name, f->name);
	strcpy(identity.key, f->key);
	*ret = identity;
}

static int file_path(const char *state_dir, char path[PATH_MAX], struct kk_err *err)
{
	if (snprintf(path, PATH_MAX, "%s/node.json", state_dir) >= PATH_MAX)
		return kk_err_set(err, ENAMETOOLONG, "state", "state: the path is too long");
	return 0;
}

static const char *role_name(const char *role)
{
	return strcmp(role, "gateway") == 0 ? "a gateway" : "an Agent";
}

int kk_link_load(const char *state_dir, const char *role, struct kk_identity *ret,
		 struct kk_err *err)
{
	KK_CLEANUP_JSON json_t *obj = NULL;
	KK_CLEANUP_FREE char *text = NULL;
	struct kk_err inner = {0};
	struct fields f = {0};
	char path[PATH_MAX];
	size_t len;
	int r;

	r = file_path(state_dir, path, err);
	if (r < 0)
		return r;
	r = kk_file_read(path, FILE_MAX, &text, &len);
	if (r == -ENOENT)
		return kk_err_set(err, ENOENT, "state",
				  "this machine has not joined yet (no %.200s): run \"join TOKEN\" "
				  "with the token that kkctl printed",
				  path);
	if (r < 0)
		return kk_err_set(err, -r, "state", "%.200s cannot be read: %s", path,
				  strerror(-r));
	obj = kk_json_parse(text, len, &inner);
	r = obj ? kk_json_read_lax(obj, file_fields, ARRAY_SIZE(file_fields), &f, &inner) : -EINVAL;
	if (r < 0)
		return kk_err_set(err, EINVAL, "state", "%.120s is damaged: %.120s", path,
				  inner.msg);
	if (strcmp(f.role, role) != 0)
		return kk_err_set(err, EINVAL, "state", "%.200s is of %s, not of %s", path,
				  role_name(f.role), role_name(role));
	fill(&f, ret);
	return 0;
}

static int write_identity(const char *state_dir, const struct kk_identity *identity,
			  struct kk_err *err)
{
	KK_CLEANUP_JSON json_t *obj =
		json_pack("{s:s, s:s, s:s, s:s, s:s}", "url", identity->url, "pin", identity->pin,
			  "role", identity->role, "name", identity->name, "key", identity->key);
	KK_CLEANUP_FREE char *text = obj ? json_dumps(obj, JSON_INDENT(1)) : NULL;
	char path[PATH_MAX];
	int r;

	if (!text)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	r = file_path(state_dir, path, err);
	if (r < 0)
		return r;
	r = kk_file_write(path, text, strlen(text), 0600);
	if (r < 0)
		return kk_err_set(err, -r, "state", "%.200s cannot be written: %s", path,
				  strerror(-r));
	return 0;
}

/*
 * The token is good for one use, so everything that can fail on this side is tried before it is spent:
 * writing an empty identity would fail where writing the real one would.
 */
static int prepare(const char *state_dir, const char *role, bool force, struct kk_err *err)
{
	struct kk_identity there;
	char path[PATH_MAX], probe[PATH_MAX + 8];
	int r;

	r = file_path(state_dir, path, err);
	if (r < 0)
		return r;
	r = kk_mkdir_p(state_dir, 0700);
	if (r < 0)
		return kk_err_set(err, -r, "state", "%.200s cannot be made: %s", state_dir,
				  strerror(-r));
	if (!force && access(path, F_OK) == 0) {
		if (kk_link_load(state_dir, role, &there, NULL) == 0)
			return kk_err_set(
				err, EEXIST, "state",
				"this machine has joined already, as %s %s at %s (--force "
				"to join anew)",
				there.role, there.name, there.url);
		return kk_err_set(err, EEXIST, "state",
				  "this machine has joined already: there is %.200s (--force to "
				  "join anew)",
				  path);
	}
	snprintf(probe, sizeof(probe), "%s.probe", path);
	r = kk_file_write(probe, "", 0, 0600);
	if (r < 0)
		return kk_err_set(err, -r, "state", "%.200s cannot be written: %s", path,
				  strerror(-r));
	unlink(probe);
	return 0;
}

/* Spends the token: *@ret_answer is the caller's and what @f points into. */
static int call_join(const struct kk_token *token, json_t **ret_answer, struct fields *f,
		     struct kk_err *err)
{
	struct kk_http_server server = {.url = token->url, .pin = token->pin};
	KK_CLEANUP_JSON json_t *body =
		json_pack("{s:s, s:s}", "secret", token->secret, "version", KK_VERSION);
	struct kk_err inner = {0};
	int r;

	if (!body)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	r = kk_http_call(&server, "POST", "/api/v1/join", body, ret_answer, err);
	if (r < 0)
		return r;
	if (r >= 400)
		return kk_http_error(r, *ret_answer, err);
	f->url = token->url;
	f->pin = token->pin;
	if (kk_json_read_lax(*ret_answer, answer_fields, ARRAY_SIZE(answer_fields), f, &inner) < 0)
		return kk_err_set(err, EPROTO, NULL,
				  "the answer of Control at %s is not that to a join: %.120s",
				  token->url, inner.msg);
	return 0;
}

int kk_link_join(const char *state_dir, const char *role, const char *token, bool force,
		 struct kk_identity *ret, struct kk_err *err)
{
	KK_CLEANUP_JSON json_t *answer = NULL;
	struct kk_identity identity;
	struct kk_token parsed;
	struct fields f = {0};
	int r;

	r = kk_token_parse(token, &parsed, err);
	if (r < 0)
		return r;
	if (strcmp(parsed.role, role) != 0)
		return kk_err_set(err, EINVAL, "token",
				  "token: this join token is for %s (%s), not for %s",
				  role_name(parsed.role), parsed.node, role_name(role));
	r = prepare(state_dir, role, force, err);
	if (r == 0)
		r = call_join(&parsed, &answer, &f, err);
	if (r < 0)
		return r;
	if (strcmp(f.role, role) != 0)
		return kk_err_set(err, EPROTO, NULL, "Control at %s answered for another role",
				  parsed.url);
	fill(&f, &identity);
	r = write_identity(state_dir, &identity, err);
	if (r < 0)
		return r;
	*ret = identity;
	return 0;
}
