// SPDX-License-Identifier: MIT
/* Names for prefixes, of which access rules speak. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "controld/rest/call.h"
#include "util/parse.h"

struct fields {
	const char *name;
	json_t *prefixes;
};

static const struct kk_json_field add_fields[] = {
	KK_JSON_FIELD("name", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, name),
	KK_JSON_FIELD("prefixes", KK_JSON_ANY, KK_JSON_REQUIRED, struct fields, prefixes),
};

static const struct kk_json_field set_fields[] = {
	KK_JSON_FIELD("prefixes", KK_JSON_ANY, KK_JSON_REQUIRED, struct fields, prefixes),
};

json_t *kk_host_json(const struct kk_host_row *row)
{
	json_t *list = json_array();
	char text[KK_PREFIX_TEXT];

	for (size_t i = 0; list && i < row->n_prefixes; i++)
		json_array_append_new(list, json_string(kk_prefix_text(&row->prefixes[i], text)));
	return json_pack("{s:I, s:s, s:o, s:I}", "id", (json_int_t)row->id, "name", row->name,
			 "prefixes", list, "generation", (json_int_t)row->generation);
}

static int compare(const void *a, const void *b)
{
	const struct kk_prefix *x = a, *y = b;
	int order = kk_address_compare(&x->addr, &y->addr);

	return order ? order : (int)x->len - (int)y->len;
}

static int add_prefix(const char *text, struct kk_host_row *row, struct kk_err *err)
{
	struct kk_prefix prefix;
	int r = kk_parse_prefix("prefixes", text ? text : "", &prefix, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < row->n_prefixes; i++)
		if (kk_prefix_equal(&row->prefixes[i], &prefix))
			return kk_err_set(err, EINVAL, "prefixes", "prefixes: %s is named twice",
					  text);
	if (row->n_prefixes == KK_HOST_PREFIXES_MAX)
		return kk_err_set(err, EINVAL, "prefixes", "prefixes: %d are the most of one host",
				  KK_HOST_PREFIXES_MAX);
	row->prefixes[row->n_prefixes++] = prefix;
	return 0;
}

static int read_prefixes(const json_t *list, struct kk_host_row *row, struct kk_err *err)
{
	json_t *item;
	size_t i;
	int r = 0;

	row->n_prefixes = 0;
	if (!json_array_size(list))
		return kk_err_set(err, EINVAL, "prefixes",
				  "prefixes: a list of at least one is wanted");
	json_array_foreach((json_t *)list, i, item) {
		r = add_prefix(json_string_value(item), row, err);
		if (r < 0)
			return r;
	}
	qsort(row->prefixes, row->n_prefixes, sizeof(row->prefixes[0]), compare);
	return 0;
}

int kk_host_read(const json_t *obj, struct kk_host_row *row, struct kk_err *err)
{
	struct fields f = {0};
	int r = kk_json_read(obj, add_fields, ARRAY_SIZE(add_fields), &f, err);

	if (r == 0)
		r = kk_parse_name("name", f.name, err);
	if (r == 0)
		r = read_prefixes(f.prefixes, row, err);
	if (r == 0)
		strcpy(row->name, f.name);
	return r;
}

int kk_hosts_add(struct kk_call *call)
{
	struct kk_host_row row = {0};
	int r = kk_host_read(call->body, &row, &call->err);

	if (r == 0)
		r = kk_store_host_add(call->control->store, &row, &call->err);
	if (r == 0)
		r = kk_call_answer(call, 201, kk_host_json(&row));
	return r < 0 ? r : kk_call_wait(call, NULL, 0);
}

static int append(const struct kk_host_row *row, void *userdata)
{
	struct kk_page *page = userdata;

	return kk_page_wants(page, row->id) ? kk_page_add(page, row->id, kk_host_json(row)) : 0;
}

int kk_hosts_list(struct kk_call *call)
{
	struct kk_page page;
	int r = kk_page_start(&page, call);

	if (r < 0)
		return r;
	return kk_page_answer(&page,
			      kk_store_host_list(call->control->store, append, &page, &call->err));
}

int kk_hosts_show(struct kk_call *call)
{
	struct kk_host_row row;
	int r = kk_store_host_get(call->control->store, call->name, &row, &call->err);

	return r < 0 ? r : kk_call_answer(call, 200, kk_host_json(&row));
}

/* The host that the path names, as it is if If-Match says how. */
static int get(struct kk_call *call, struct kk_host_row *row)
{
	int r = kk_store_host_get(call->control->store, call->name, row, &call->err);

	return r < 0 ? r : kk_call_match(call, row->id, row->generation);
}

int kk_hosts_set(struct kk_call *call)
{
	struct kk_host_row row;
	struct fields f = {0};
	int r = get(call, &row);

	if (r == 0)
		r = kk_json_read(call->body, set_fields, ARRAY_SIZE(set_fields), &f, &call->err);
	if (r == 0)
		r = read_prefixes(f.prefixes, &row, &call->err);
	if (r == 0)
		r = kk_store_host_set(call->control->store, &row, &call->err);
	if (r == 0)
		r = kk_call_answer(call, 200, kk_host_json(&row));
	return r < 0 ? r : kk_call_wait(call, NULL, 0);
}

int kk_hosts_remove(struct kk_call *call)
{
	struct kk_host_row row;
	int r = get(call, &row);

	if (r == 0)
		r = kk_store_host_remove(call->control->store, call->name, &call->err);
	if (r == 0)
		r = kk_call_answer(call, 200, kk_call_generation(call));
	return r < 0 ? r : kk_call_wait(call, NULL, 0);
}
