// SPDX-License-Identifier: MIT
/* Lists: page by page, and only what was asked for. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "controld/rest/operations.h"
#include "util/parse.h"

#define LIMIT_MAX 10000 /* and what is given where nobody says how many */

int kk_page_start(struct kk_page *page, struct kk_call *call)
{
	const char *limit = kk_httpd_query(call->req, "limit");
	const char *after = kk_httpd_query(call->req, "after");
	int r = 0;

	*page = (struct kk_page){.call = call, .limit = LIMIT_MAX};
	if (limit)
		r = kk_parse_int("limit", limit, 1, LIMIT_MAX, &page->limit, &call->err);
	if (r == 0 && after)
		r = kk_parse_int("after", after, 0, INT64_MAX, &page->after, &call->err);
	if (r < 0)
		return r;
	page->items = json_array();
	return page->items ? 0 : kk_err_set(&call->err, ENOMEM, NULL, "out of memory");
}

bool kk_page_wants(const struct kk_page *page, int64_t id)
{
	return id > page->after;
}

static bool equals(const json_t *value, const char *text)
{
	char number[32];
	size_t i;
	json_t *one;

	if (json_is_array(value)) {
		json_array_foreach((json_t *)value, i, one)
			if (equals(one, text))
				return true;
		return false;
	}
	if (json_is_string(value))
		return strcmp(json_string_value(value), text) == 0;
	if (!json_is_integer(value))
		return false;
	snprintf(number, sizeof(number), "%lld", json_integer_value(value));
	return strcmp(number, text) == 0;
}

/* Whether every query that names a field of @item names its value. */
static bool asked_for(const struct kk_call *call, const json_t *item)
{
	const char *at = call->op->queries;
	char name[32];

	while (at && *at) {
		size_t len = strcspn(at, " ");
		const char *text;

		snprintf(name, sizeof(name), "%.*s", (int)len, at);
		text = kk_httpd_query(call->req, name);
		if (text && !equals(json_object_get(item, name), text))
			return false;
		at += len + strspn(at + len, " ");
	}
	return true;
}

int kk_page_add(struct kk_page *page, int64_t id, json_t *item)
{
	if (!item)
		return -ENOMEM;
	if (!asked_for(page->call, item)) {
		json_decref(item);
		return 0;
	}
	if ((int64_t)json_array_size(page->items) == page->limit) {
		json_decref(item);
		page->more = true;
		return 1;
	}
	page->last = id;
	return json_array_append_new(page->items, item) ? -ENOMEM : 0;
}

int kk_page_answer(struct kk_page *page, int r)
{
	json_t *next;

	if (r < 0) {
		json_decref(page->items);
		return r;
	}
	next = page->more ? json_integer(page->last) : json_null();
	return kk_call_answer(page->call, 200,
			      json_pack("{s:o, s:o}", "items", page->items, "next", next));
}
