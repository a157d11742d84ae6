// SPDX-License-Identifier: MIT
/* Names for several hosts, of which access rules speak. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "controld/rest/call.h"
#include "util/parse.h"

struct fields {
	const char *name;
	json_t *hosts;
};

static const struct kk_json_field add_fields[] = {
	KK_JSON_FIELD("name", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, name),
	KK_JSON_FIELD("hosts", KK_JSON_ANY, 0, struct fields, hosts),
};

static const struct kk_json_field set_fields[] = {
	KK_JSON_FIELD("hosts", KK_JSON_ANY, KK_JSON_REQUIRED, struct fields, hosts),
};

json_t *kk_group_json(const struct kk_group_row *row)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < row->n_hosts; i++)
		json_array_append_new(list, json_string(row->hosts[i]));
	return json_pack("{s:I, s:s, s:o, s:I}", "id", (json_int_t)row->id, "name", row->name,
			 "hosts", list, "generation", (json_int_t)row->generation);
}

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* A group may be empty: then it is nobody. */
static int read_hosts(const json_t *list, struct kk_group_row *row, struct kk_err *err)
{
	json_t *item;
	size_t i;

	row->n_hosts = 0;
	if (list && !json_is_array(list))
		return kk_err_set(err, EINVAL, "hosts", "hosts: a list of names is wanted");
	json_array_foreach((json_t *)list, i, item) {
		const char *name = json_string_value(item);
		int r = kk_parse_name("hosts", name ? name : "", err);

		if (r < 0)
			return r;
		if (row->n_hosts == KK_GROUP_HOSTS_MAX)
			return kk_err_set(err, EINVAL, "hosts",
					  "hosts: %d are the most of one group",
					  KK_GROUP_HOSTS_MAX);
		strcpy(row->hosts[row->n_hosts++], name);
	}
	qsort(row->hosts, row->n_hosts, sizeof(row->hosts[0]), compare);
	for (i = 1; i < row->n_hosts; i++)
		if (strcmp(row->hosts[i], row->hosts[i - 1]) == 0)
			return kk_err_set(err, EINVAL, "hosts", "hosts: %s is named twice",
					  row->hosts[i]);
	return 0;
}

int kk_group_read(const json_t *obj, struct kk_group_row *row, struct kk_err *err)
{
	struct fields f = {0};
	int r = kk_json_read(obj, add_fields, ARRAY_SIZE(add_fields), &f, err);

	if (r == 0)
		r = kk_parse_name("name", f.name, err);
	if (r == 0)
		r = read_hosts(f.hosts, row, err);
	if (r == 0)
		strcpy(row->name, f.name);
	return r;
}

int kk_groups_add(struct kk_call *call)
{
	struct kk_group_row row = {0};
	int r = kk_group_read(call->body, &row, &call->err);

	if (r == 0)
		r = kk_store_group_add(call->control->store, &row, &call->err);
	if (r == 0)
		r = kk_call_answer(call, 201, kk_group_json(&row));
	return r < 0 ? r : kk_call_wait(call, NULL, 0);
}

static int append(const struct kk_group_row *row, void *userdata)
{
	struct kk_page *page = userdata;

	return kk_page_wants(page, row->id) ? kk_page_add(page, row->id, kk_group_json(row)) : 0;
}

int kk_groups_list(struct kk_call *call)
{
	struct kk_page page;
	int r = kk_page_start(&page, call);

	if (r < 0)
		return r;
	return kk_page_answer(&page,
			      kk_store_group_list(call->control->store, append, &page, &call->err));
}

int kk_groups_show(struct kk_call *call)
{
	struct kk_group_row row;
	int r = kk_store_group_get(call->control->store, call->name, &row, &call->err);

	return r < 0 ? r : kk_call_answer(call, 200, kk_group_json(&row));
}

/* The group that the path names, as it is if If-Match says how. */
static int get(struct kk_call *call, struct kk_group_row *row)
{
	int r = kk_store_group_get(call->control->store, call->name, row, &call->err);

	return r < 0 ? r : kk_call_match(call, row->id, row->generation);
}

int kk_groups_set(struct kk_call *call)
{
	struct kk_group_row row;
	struct fields f = {0};
	int r = get(call, &row);

	if (r == 0)
		r = kk_json_read(call->body, set_fields, ARRAY_SIZE(set_fields), &f, &call->err);
	if (r == 0)
		r = read_hosts(f.hosts, &row, &call->err);
	if (r == 0)
		r = kk_store_group_set(call->control->store, &row, &call->err);
	if (r == 0)
		r = kk_call_answer(call, 200, kk_group_json(&row));
	return r < 0 ? r : kk_call_wait(call, NULL, 0);
}

int kk_groups_remove(struct kk_call *call)
{
	struct kk_group_row row;
	int r = get(call, &row);

	if (r == 0)
		r = kk_store_group_remove(call->control->store, call->name, &call->err);
	if (r == 0)
		r = kk_call_answer(call, 200, kk_call_generation(call));
	return r < 0 ? r : kk_call_wait(call, NULL, 0);
}
