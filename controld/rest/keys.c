// SPDX-License-Identifier: MIT
#include <errno.h>
#include <string.h>

#include "controld/rest/call.h"
#include "controld/secret.h"
#include "controld/store/accounts.h"
#include "util/parse.h"

struct fields {
	const char *name;
};

static const struct kk_json_field key_fields[] = {
	KK_JSON_FIELD("name", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, name),
};

static json_t *key_json(const struct kk_api_key_row *row)
{
	return json_pack("{s:s, s:I}", "name", row->name, "created_at",
			 (json_int_t)row->created_at);
}

int kk_keys_add(struct kk_call *call)
{
	struct kk_api_key_row row = {.access = KK_OWNER};
	uint8_t hash[KK_HASH_LEN];
	char text[KK_SECRET_LEN];
	struct fields f = {0};
	json_t *answer;
	int r = kk_json_read(call->body, key_fields, ARRAY_SIZE(key_fields), &f, &call->err);

	if (r == 0)
		r = kk_parse_name("name", f.name, &call->err);
	if (r < 0)
		return r;
	strcpy(row.name, f.name);
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
	return json_array_append_new(userdata, key_json(row)) ? -ENOMEM : 0;
}

int kk_keys_list(struct kk_call *call)
{
	json_t *items = json_array();
	int r = kk_store_api_key_list(call->control->store, append, items, &call->err);

	if (r == 0)
		return kk_call_items(call, items);
	json_decref(items);
	return r;
}

int kk_keys_remove(struct kk_call *call)
{
	int r = kk_store_api_key_remove(call->control->store, call->name, &call->err);

	return r < 0 ? r : kk_call_answer(call, 200, kk_call_generation(call));
}
