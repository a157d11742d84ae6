// SPDX-License-Identifier: MIT
/* Addresses that are shut out, from one service or all, for a time or for ever. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "controld/expiry.h"
#include "controld/rest/call.h"
#include "util/parse.h"

#define SECONDS_MAX 3153600000 /* a hundred years */

struct fields {
	const char *address, *service;
	int64_t seconds;
};

static const struct kk_json_field ban_fields[] = {
	KK_JSON_FIELD("address", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, address),
	KK_JSON_FIELD("service", KK_JSON_STRING, KK_JSON_NULLABLE, struct fields, service),
	KK_JSON_FIELD("seconds", KK_JSON_INT, KK_JSON_NULLABLE, struct fields, seconds, .min = 1,
		      .max = SECONDS_MAX),
};

static json_t *ban_json(const struct kk_ban_row *row)
{
	char text[KK_ADDRESS_TEXT];

	return json_pack("{s:I, s:s, s:o, s:o, s:I}", "id", (json_int_t)row->id, "address",
			 kk_address_text(&row->address, text), "service",
			 row->service ? json_string(row->service_name) : json_null(), "expires_at",
			 row->expires_at ? json_integer(row->expires_at) : json_null(),
			 "generation", (json_int_t)row->generation);
}

static int read_ban(struct kk_call *call, struct kk_ban_row *row)
{
	struct fields f = {0};
	int r = kk_json_read(call->body, ban_fields, ARRAY_SIZE(ban_fields), &f, &call->err);

	if (r == 0)
		r = kk_parse_address("address", f.address, &row->address, &call->err);
	if (r == 0 && f.service)
		r = kk_parse_name("service", f.service, &call->err);
	if (r < 0)
		return r;
	strcpy(row->service_name, f.service ? f.service : "");
	row->expires_at = f.seconds ? time(NULL) + f.seconds : 0;
	return 0;
}

int kk_bans_add(struct kk_call *call)
{
	struct kk_ban_row row = {0};
	int r = read_ban(call, &row);

	if (r == 0)
		r = kk_store_ban_add(call->control->store, &row, &call->err);
	if (r == 0)
		r = kk_expiry_look(call->control, &call->err);
	if (r == 0)
		r = kk_call_answer(call, 201, ban_json(&row));
	return r < 0 ? r : kk_call_wait(call, NULL, 0);
}

static int append(const struct kk_ban_row *row, void *userdata)
{
	struct kk_page *page = userdata;

	return kk_page_wants(page, row->id) ? kk_page_add(page, row->id, ban_json(row)) : 0;
}

int kk_bans_list(struct kk_call *call)
{
	struct kk_page page;
	int r = kk_page_start(&page, call);

	if (r < 0)
		return r;
	return kk_page_answer(&page,
			      kk_store_ban_list(call->control->store, append, &page, &call->err));
}

int kk_bans_remove(struct kk_call *call)
{
	int64_t id;
	int r;

	/* What is no number is none, too. */
	if (kk_parse_int("id", call->name, 1, INT64_MAX, &id, NULL) < 0)
		return kk_err_set(&call->err, ENOENT, NULL, "there is no ban \"%.32s\"",
				  call->name);
	r = kk_store_ban_remove(call->control->store, id, &call->err);
	if (r == 0)
		r = kk_call_answer(call, 200, kk_call_generation(call));
	return r < 0 ? r : kk_call_wait(call, NULL, 0);
}
