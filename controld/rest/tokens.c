// SPDX-License-Identifier: MIT
#include <errno.h>
#include <string.h>
#include <time.h>

#include "controld/rest/call.h"
#include "controld/secret.h"
#include "proto/token.h"
#include "util/parse.h"

#define USES_MAX 65024

struct fields {
	const char *role, *node, *prefix;
	int64_t expires_in, uses;
};

static const struct kk_json_field token_fields[] = {
	KK_JSON_FIELD("role", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, role),
	KK_JSON_FIELD("node", KK_JSON_STRING, 0, struct fields, node),
	KK_JSON_FIELD("prefix", KK_JSON_STRING, 0, struct fields, prefix),
	KK_JSON_FIELD("uses", KK_JSON_INT, 0, struct fields, uses, .min = 1, .max = USES_MAX),
	KK_JSON_FIELD("expires_in", KK_JSON_INT, 0, struct fields, expires_in, .min = 60,
		      .max = 2592000),
};

static const char *role_name(enum kk_kind role)
{
	return role == KK_GATEWAY ? "gateway" : "agent";
}

static json_t *text_or_null(const char *text)
{
	return *text ? json_string(text) : json_null();
}

static json_t *token_json(const struct kk_token_row *row)
{
	return json_pack("{s:I, s:s, s:o, s:o, s:o, s:I}", "id", (json_int_t)row->id, "role",
			 role_name(row->role), "node", text_or_null(row->node), "prefix",
			 text_or_null(row->prefix), "uses",
			 row->uses < 0 ? json_null() : json_integer(row->uses), "expires_at",
			 (json_int_t)row->expires_at);
}

int kk_token_make(struct kk_control *control, struct kk_token_row *row, int64_t expires_in,
		  char **ret, struct kk_err *err)
{
	struct kk_token token = {0};
	uint8_t hash[KK_HASH_LEN];
	char *text;
	int r = kk_secret_make("", token.secret, hash);

	if (r < 0)
		return kk_err_set(err, -r, NULL, "no secret could be made");
	strcpy(token.url, control->url);
	strcpy(token.pin, control->identity.pin);
	strcpy(token.role, role_name(row->role));
	strcpy(token.node, row->node[0] ? row->node : row->prefix);
	text = kk_token_format(&token);
	explicit_bzero(token.secret, sizeof(token.secret));
	if (!text)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	row->expires_at = time(NULL) + expires_in;
	r = kk_store_token_add(control->store, hash, row, err);
	if (r < 0)
		free(text);
	else
		*ret = text;
	return r;
}

/* For one node that is there, or for Agents that come into being as they join. */
static int read_scope(const struct fields *f, struct kk_token_row *row, struct kk_err *err)
{
	int r;

	if (f->prefix && f->node)
		return kk_err_set(err, EINVAL, "prefix",
				  "prefix: a token is for one node or for a prefix, not for both");
	if (f->prefix) {
		if (row->role != KK_AGENT)
			return kk_err_set(err, EINVAL, "prefix",
					  "prefix: only Agents are made as they join");
		r = kk_parse_name("prefix", f->prefix, err);
		if (r == 0 && strlen(f->prefix) > KK_PREFIX_MAX)
			r = kk_err_set(err, EINVAL, "prefix", "prefix: %s is longer than %d",
				       f->prefix, KK_PREFIX_MAX);
		if (r == 0)
			strcpy(row->prefix, f->prefix);
		row->uses = f->uses ? f->uses : -1;
		return r;
	}
	if (!f->node)
		return kk_err_set(err, EINVAL, "node", "node: is missing");
	if (f->uses > 1)
		return kk_err_set(err, EINVAL, "uses",
				  "uses: a node's own token is good for one join");
	row->uses = 1;
	r = kk_parse_name("node", f->node, err);
	if (r == 0)
		strcpy(row->node, f->node);
	return r;
}

int kk_tokens_add(struct kk_call *call)
{
	struct fields f = {.expires_in = KK_TOKEN_EXPIRES_S};
	KK_CLEANUP_FREE char *text = NULL;
	struct kk_token_row row = {0};
	json_t *answer;
	int r = kk_json_read(call->body, token_fields, ARRAY_SIZE(token_fields), &f, &call->err);

	if (r == 0 && strcmp(f.role, "gateway") != 0 && strcmp(f.role, "agent") != 0)
		r = kk_err_set(&call->err, EINVAL, "role",
			       "role: \"%.16s\" is neither gateway nor agent", f.role);
	if (r < 0)
		return r;
	row.role = strcmp(f.role, "gateway") == 0 ? KK_GATEWAY : KK_AGENT;
	r = read_scope(&f, &row, &call->err);
	if (r == 0)
		r = kk_token_make(call->control, &row, f.expires_in, &text, &call->err);
	if (r < 0)
		return r;
	answer = token_json(&row);
	json_object_set_new(answer, "join_token", json_string(text));
	return kk_call_answer(call, 201, answer);
}

static int append(const struct kk_token_row *row, void *userdata)
{
	struct kk_page *page = userdata;

	return kk_page_wants(page, row->id) ? kk_page_add(page, row->id, token_json(row)) : 0;
}

int kk_tokens_list(struct kk_call *call)
{
	struct kk_page page;
	int r = kk_page_start(&page, call);

	if (r < 0)
		return r;
	return kk_page_answer(&page, kk_store_token_list(call->control->store, time(NULL), append,
							 &page, &call->err));
}

int kk_tokens_remove(struct kk_call *call)
{
	int64_t id;
	int r;

	/* What is no number is no token, too. */
	if (kk_parse_int("id", call->name, 1, INT64_MAX, &id, NULL) < 0)
		return kk_err_set(&call->err, ENOENT, NULL, "there is no join token \"%.32s\"",
				  call->name);
	r = kk_store_token_remove(call->control->store, id, &call->err);
	return r < 0 ? r : kk_call_answer(call, 200, kk_call_generation(call));
}
