// SPDX-License-Identifier: MIT
#include "controld/store/audit.h"

#include <errno.h>
#include <string.h>

#include "controld/rest/call.h"

static json_t *object_or_null(const char *text)
{
	json_t *obj = text ? kk_json_parse(text, strlen(text), NULL) : NULL;

	return obj ? obj : json_null();
}

static int append(const struct kk_audit_row *row, void *userdata)
{
	return kk_page_add(userdata, row->id,
			   json_pack("{s:I, s:I, s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "id",
				     (json_int_t)row->id, "at", (json_int_t)row->at, "who",
				     row->who, "from", row->from, "action", row->action, "kind",
				     row->kind, "object", row->object, "before",
				     object_or_null(row->before), "after",
				     object_or_null(row->after)));
}

/* The newest first: "after" is the last entry of the page before, behind which there are older ones. */
int kk_audit_show(struct kk_call *call)
{
	struct kk_audit_filter filter = {
		.who = kk_httpd_query(call->req, "who"),
		.kind = kk_httpd_query(call->req, "kind"),
		.object = kk_httpd_query(call->req, "object"),
	};
	struct kk_page page;
	int r = kk_page_start(&page, call);

	if (r < 0)
		return r;
	filter.before = page.after;
	filter.limit = page.limit + 1;
	return kk_page_answer(&page, kk_store_audit_list(call->control->store, &filter, append,
							 &page, &call->err));
}
