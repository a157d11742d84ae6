// SPDX-License-Identifier: MIT
/* Prefixes that no service lets in. */
#include <errno.h>

#include "controld/rest/call.h"
#include "util/parse.h"

struct fields {
	const char *prefix;
};

static const struct kk_json_field denial_fields[] = {
	KK_JSON_FIELD("prefix", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, prefix),
};

static json_t *denial_json(const struct kk_denial_row *row)
{
	char text[KK_PREFIX_TEXT];

	return json_pack("{s:I, s:s, s:I}", "id", (json_int_t)row->id, "prefix",
			 kk_prefix_text(&row->prefix, text), "generation",
			 (json_int_t)row->generation);
}

int kk_denials_add(struct kk_call *call)
{
	struct kk_push_change change = {0};
	struct kk_denial_row row = {0};
	struct fields f = {0};
	int r = kk_json_read(call->body, denial_fields, ARRAY_SIZE(denial_fields), &f, &call->err);

	if (r == 0)
		r = kk_parse_prefix("prefix", f.prefix, &row.prefix, &call->err);
	if (r == 0)
		r = kk_store_denial_add(call->control->store, &row, &call->err);
	if (r == 0)
		r = kk_call_answer(call, 201, denial_json(&row));
	return r < 0 ? r : kk_call_hold(call, &change);
}

static int append(const struct kk_denial_row *row, void *userdata)
{
	return json_array_append_new(userdata, denial_json(row)) ? -ENOMEM : 0;
}

int kk_denials_list(struct kk_call *call)
{
	json_t *items = json_array();
	int r = kk_store_denial_list(call->control->store, append, items, &call->err);

	if (r == 0)
		return kk_call_items(call, items);
	json_decref(items);
	return r;
}

int kk_denials_remove(struct kk_call *call)
{
	struct kk_push_change change = {0};
	int64_t id;
	int r = kk_parse_int("id", call->name, 1, INT64_MAX, &id, &call->err);

	if (r == 0)
		r = kk_store_denial_remove(call->control->store, id, &call->err);
	if (r == 0)
		r = kk_call_answer(call, 200, kk_call_generation(call));
	return r < 0 ? r : kk_call_hold(call, &change);
}
