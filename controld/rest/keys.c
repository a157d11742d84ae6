// SPDX-License-Identifier: MIT
#include <errno.h>
#include <string.h>
#include <time.h>

#include "controld/rest/call.h"
#include "controld/secret.h"
#include "util/parse.h"

struct fields {
	const char *name, *role;
	int64_t expires_in;
};

static const struct kk_json_field key_fields[] = {
	KK_JSON_FIELD("name", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, name),
	KK_JSON_FIELD("role", KK_JSON_STRING, 0, struct fields, role),
	KK_JSON_FIELD("expires_in", KK_JSON_INT, 0, struct fields, expires_in, .min = 60,
		      .max = 315360000),
};

static json_t *key_json(const struct kk_api_key_row *row)
{
	return json_pack("{s:s, s:s, s:I, s:o}", "name", row->name, "role",
			 kk_access_name(row->access), "created_at", (json_int_t)row->created_at,
			 "expires_at",
			 row->expires_at ? json_integer(row->expires_at) : json_null());
}

static int read_fields(struct kk_call *call, struct kk_api_key_row *row)
{
	struct fields f = {0};
	int r = kk_json_read(call->body, key_fields, ARRAY_SIZE(key_fields), &f, &call->err);

	if (r == 0)
		r = kk_parse_name("name", f.name, &call->err);
	row->access = call->caller.access;
	if (r == 0 && f.role)
		r = kk_access_parse(f.role, &row->access, &call->err);
	if (r == 0)
		r = kk_call_may_give(call, row->access);
	if (r < 0)
		return r;
	strcpy(row->name, f.name);
	row->expires_at = f.expires_in ? time(NULL) + f.expires_in : 0;
	return 0;
}

int kk_keys_add(struct kk_call *call)
{
	struct kk_api_key_row row = {0};
	uint8_t hash[KK_HASH_LEN];
	char text[KK_SECRET_LEN];
	json_t *answer;
	int r = read_fields(call, &row);

	if (r < 0)
		return r;
	r = kk_secret_make(KK_API_PREFIX, text, hash);
	if (r < 0)
		return kk_err_set(&call->err, -r, NULL, "no key could be made");
	r = kk_store_api_key_add(call->control->store, hash, &row, &call->err);
	if (r < 0)
		return r;
	answer = key_json(&row);
	json_object_set_new(answer, "key", json_string(text));
	explicit_bzero(text, sizeof(text));
	return kk_call_answer(call, 201, answer);
}

static int append(const struct kk_api_key_row *row, void *userdata)
{
	struct kk_page *page = userdata;

	return kk_page_wants(page, row->id) ? kk_page_add(page, row->id, key_json(row)) : 0;
}

int kk_keys_list(struct kk_call *call)
{
	struct kk_page page;
	int r = kk_page_start(&page, call);

	if (r < 0)
		return r;
	return kk_page_answer(
		&page, kk_store_api_key_list(call->control->store, append, &page, &call->err));
}

int kk_keys_remove(struct kk_call *call)
{
	struct kk_store *store = call->control->store;
	struct kk_api_key_row row;
	int r = kk_store_api_key_get(store, call->name, &row, &call->err);

	if (r == 0)
		r = kk_call_may_give(call, row.access);
	if (r == 0)
		r = kk_store_api_key_remove(store, call->name, &call->err);
	call->access_changed = true;
	return r < 0 ? r : kk_call_answer(call, 200, kk_call_generation(call));
}
