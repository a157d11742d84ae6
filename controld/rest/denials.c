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
	struct kk_denial_row row = {0};
	struct fields f = {0};
	int r = kk_json_read(call->body, denial_fields, ARRAY_SIZE(denial_fields), &f, &call->err);

	if (r == 0)
		r = kk_parse_prefix("prefix", f.prefix, &row.prefix, &call->err);
	if (r == 0)
		r = kk_store_denial_add(call->control->store, &row, &call->err);
	if (r == 0)
		r = kk_call_answer(call, 201, denial_json(&row));
	return r < 0 ? r : kk_call_wait(call, NULL, 0);
}

static int append(const struct kk_denial_row *row, void *userdata)
{
	struct kk_page *page = userdata;

	return kk_page_wants(page, row->id) ? kk_page_add(page, row->id, denial_json(row)) : 0;
}

int kk_denials_list(struct kk_call *call)
{
	struct kk_page page;
	int r = kk_page_start(&page, call);

	if (r < 0)
		return r;
	return kk_page_answer(
		&page, kk_store_denial_list(call->control->store, append, &page, &call->err));
}

int kk_denials_remove(struct kk_call *call)
{
	int64_t id;
	int r;

	/* What is no number is none, too. */
	if (kk_parse_int("id", call->name, 1, INT64_MAX, &id, NULL) < 0)
		return kk_err_set(&call->err, ENOENT, NULL, "there is no denial \"%.32s\"",
				  call->name);
	r = kk_store_denial_remove(call->control->store, id, &call->err);
	if (r == 0)
		r = kk_call_answer(call, 200, kk_call_generation(call));
	return r < 0 ? r : kk_call_wait(call, NULL, 0);
}
