// SPDX-License-Identifier: MIT
#include <errno.h>
#include <string.h>

#include "controld/rest/call.h"
#include "util/parse.h"

struct fields {
	const char *name, *role, *password;
};

static const struct kk_json_field add_fields[] = {
	KK_JSON_FIELD("name", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, name),
	KK_JSON_FIELD("role", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, role),
	KK_JSON_FIELD("password", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, password),
};

static const struct kk_json_field set_fields[] = {
	KK_JSON_FIELD("role", KK_JSON_STRING, 0, struct fields, role),
	KK_JSON_FIELD("password", KK_JSON_STRING, 0, struct fields, password),
};

static json_t *user_json(const struct kk_user_row *row)
{
	return json_pack("{s:s, s:s, s:I}", "name", row->name, "role", kk_access_name(row->access),
			 "created_at", (json_int_t)row->created_at);
}

int kk_users_add(struct kk_call *call)
{
	struct kk_user_row row = {0};
	struct fields f = {0};
	struct kk_err *err = &call->err;
	int r = kk_json_read(call->body, add_fields, ARRAY_SIZE(add_fields), &f, err);

	if (r == 0)
		r = kk_parse_name("name", f.name, err);
	if (r == 0)
		r = kk_access_parse(f.role, &row.access, err);
	if (r == 0)
		r = kk_call_may_give(call, row.access);
	if (r < 0)
		return r;
	strcpy(row.name, f.name);
	strcpy(row.password, call->password);
	r = kk_store_user_add(call->control->store, &row, err);
	return r < 0 ? r : kk_call_answer(call, 201, user_json(&row));
}

static int append(const struct kk_user_row *row, void *userdata)
{
	struct kk_page *page = userdata;

	return kk_page_wants(page, row->id) ? kk_page_add(page, row->id, user_json(row)) : 0;
}

int kk_users_list(struct kk_call *call)
{
	struct kk_page page;
	int r = kk_page_start(&page, call);

	if (r < 0)
		return r;
	return kk_page_answer(&page,
			      kk_store_user_list(call->control->store, append, &page, &call->err));
}

int kk_users_show(struct kk_call *call)
{
	struct kk_user_row row;
	int r = kk_store_user_get(call->control->store, call->name, &row, &call->err);

	return r < 0 ? r : kk_call_answer(call, 200, user_json(&row));
}

/* The user whom the path names, and who may not be more than the caller. */
static int get(struct kk_call *call, struct kk_user_row *row)
{
	int r = kk_store_user_get(call->control->store, call->name, row, &call->err);

	return r < 0 ? r : kk_call_may_give(call, row->access);
}

int kk_users_set(struct kk_call *call)
{
	struct kk_user_row row;
	struct fields f = {0};
	int r = get(call, &row);

	if (r == 0)
		r = kk_json_read(call->body, set_fields, ARRAY_SIZE(set_fields), &f, &call->err);
	if (r == 0 && json_object_size(call->body) == 0)
		r = kk_err_set(&call->err, EINVAL, NULL,
			       "there is nothing to change: role or password");
	if (r == 0 && f.role)
		r = kk_access_parse(f.role, &row.access, &call->err);
	if (r == 0)
		r = kk_call_may_give(call, row.access);
	if (r < 0)
		return r;
	if (f.password)
		strcpy(row.password, call->password);
	r = kk_store_user_set(call->control->store, &row, &call->err);
	call->access_changed = true;
	return r < 0 ? r : kk_call_answer(call, 200, user_json(&row));
}

int kk_users_remove(struct kk_call *call)
{
	struct kk_user_row row;
	int r = get(call, &row);

	if (r == 0)
		r = kk_store_user_remove(call->control->store, call->name, &call->err);
	call->access_changed = true;
	return r < 0 ? r : kk_call_answer(call, 200, kk_call_generation(call));
}
