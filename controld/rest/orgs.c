// SPDX-License-Identifier: MIT
#include <errno.h>
#include <string.h>

#include "controld/rest/call.h"
#include "controld/secret.h"
#include "util/parse.h"

#define OWNER_KEY "owner"

struct fields {
	const char *name;
};

static const struct kk_json_field org_fields[] = {
	KK_JSON_FIELD("name", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, name),
};

static json_t *org_json(const struct kk_org_row *row)
{
	return json_pack("{s:s, s:I}", "name", row->name, "created_at",
			 (json_int_t)row->created_at);
}

/* The key with which the organisation's owner comes in; the organisation is entered for it only. */
static int add_key(struct kk_call *call, int64_t org, char text[KK_SECRET_LEN])
{
	struct kk_api_key_row key = {.name = OWNER_KEY, .access = KK_OWNER};
	struct kk_store *store = call->control->store;
	uint8_t hash[KK_HASH_LEN];
	int64_t own;
	int r = kk_secret_make(KK_API_PREFIX, text, hash);

	if (r < 0)
		return kk_err_set(&call->err, -r, NULL, "no key could be made");
	own = kk_store_set_org(store, org);
	r = kk_store_api_key_add(store, hash, &key, &call->err);
	kk_store_set_org(store, own);
	return r;
}

int kk_orgs_add(struct kk_call *call)
{
	struct kk_org_row row = {0};
	char text[KK_SECRET_LEN];
	struct fields f = {0};
	json_t *answer;
	int r = kk_json_read(call->body, org_fields, ARRAY_SIZE(org_fields), &f, &call->err);

	if (r == 0)
		r = kk_parse_name("name", f.name, &call->err);
	if (r < 0)
		return r;
	strcpy(row.name, f.name);
	r = kk_store_org_add(call->control->store, &row, &call->err);
	if (r == 0)
		r = add_key(call, row.id, text);
	if (r < 0)
		return r;
	answer = org_json(&row);
	json_object_set_new(answer, "key", json_string(text));
	explicit_bzero(text, sizeof(text));
	return kk_call_answer(call, 201, answer);
}

static int append(const struct kk_org_row *row, void *userdata)
{
	struct kk_page *page = userdata;

	return kk_page_wants(page, row->id) ? kk_page_add(page, row->id, org_json(row)) : 0;
}

int kk_orgs_list(struct kk_call *call)
{
	struct kk_page page;
	int r = kk_page_start(&page, call);

	if (r < 0)
		return r;
	return kk_page_answer(&page,
			      kk_store_org_list(call->control->store, append, &page, &call->err));
}

int kk_orgs_remove(struct kk_call *call)
{
	int r = kk_store_org_remove(call->control->store, call->name, &call->err);

	call->access_changed = true;
	return r < 0 ? r : kk_call_answer(call, 200, kk_call_generation(call));
}
