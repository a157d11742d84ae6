// SPDX-License-Identifier: MIT
/* Access rules: who may reach which service, or which port of which host (requirement H2). */
#include <errno.h>
#include <string.h>

#include "controld/push/wire.h"
#include "controld/rest/call.h"
#include "util/parse.h"

struct fields {
	const char *name, *source, *destination, *protocol;
	int64_t port, last_port;
};

#define FIELD(name, type, flags, ...)                                                              \
	KK_JSON_FIELD(#name, type, flags, struct fields, name, ##__VA_ARGS__)
/* Without ports the destination is a service. */
#define PORTS                                                                                      \
	FIELD(protocol, KK_JSON_STRING, KK_JSON_NULLABLE),                                         \
		FIELD(port, KK_JSON_INT, KK_JSON_NULLABLE, .min = 1, .max = 65535),                \
		FIELD(last_port, KK_JSON_INT, KK_JSON_NULLABLE, .min = 1, .max = 65535)

static const struct kk_json_field add_fields[] = {
	FIELD(name, KK_JSON_STRING, KK_JSON_REQUIRED),
	FIELD(source, KK_JSON_STRING, KK_JSON_REQUIRED),
	FIELD(destination, KK_JSON_STRING, KK_JSON_REQUIRED),
	PORTS,
};

static const struct kk_json_field set_fields[] = {
	FIELD(source, KK_JSON_STRING, 0),
	FIELD(destination, KK_JSON_STRING, 0),
	PORTS,
};

json_t *kk_access_rule_json(const struct kk_access_rule_row *row)
{
	bool ports = row->protocol != 0;

	return json_pack("{s:I, s:s, s:s, s:s, s:o, s:o, s:o, s:b, s:I}", "id", (json_int_t)row->id,
			 "name", row->name, "source", row->source, "destination", row->destination,
			 "protocol",
			 ports ? json_string(kk_wire_protocol(row->protocol)) : json_null(), "port",
			 ports ? json_integer(row->port) : json_null(), "last_port",
			 ports ? json_integer(row->last_port) : json_null(), "enforced",
			 (int)row->enforced, "generation", (json_int_t)row->generation);
}

/* Both or none of protocol and port. */
static int read_ports(const struct fields *f, struct kk_access_rule_row *row, struct kk_err *err)
{
	if (!f->protocol && !f->port && !f->last_port) {
		row->protocol = 0;
		row->port = row->last_port = 0;
		return 0;
	}
	if (!f->port)
		return kk_err_set(err, EINVAL, "port", "port: is missing beside protocol");
	if (!f->protocol)
		return kk_err_set(err, EINVAL, "protocol",
				  "protocol: is missing beside port; a service is named without");
	row->port = (uint16_t)f->port;
	row->last_port = (uint16_t)(f->last_port ? f->last_port : f->port);
	if (row->last_port < row->port)
		return kk_err_set(err, EINVAL, "last_port", "last_port: %u is below port %u",
				  row->last_port, row->port);
	return kk_protocol_read(f->protocol, &row->protocol, err);
}

static int read_ends(const struct fields *f, struct kk_access_rule_row *row, struct kk_err *err)
{
	int r = f->source ? kk_parse_name("source", f->source, err) : 0;

	if (r == 0 && f->destination)
		r = kk_parse_name("destination", f->destination, err);
	if (r < 0)
		return r;
	if (f->source)
		strcpy(row->source, f->source);
	if (f->destination)
		strcpy(row->destination, f->destination);
	return 0;
}

int kk_access_rule_read(const json_t *obj, struct kk_access_rule_row *row, struct kk_err *err)
{
	struct fields f = {0};
	int r = kk_json_read(obj, add_fields, ARRAY_SIZE(add_fields), &f, err);

	if (r == 0)
		r = kk_parse_name("name", f.name, err);
	if (r == 0)
		r = read_ends(&f, row, err);
	if (r == 0)
		r = read_ports(&f, row, err);
	if (r == 0)
		strcpy(row->name, f.name);
	return r;
}

/* What is not named stays; of protocol and ports, where one of them or the destination is named, nothing does. */
static int read_set(const json_t *body, struct kk_access_rule_row *row, struct kk_err *err)
{
	struct fields f = {0};
	int r = kk_json_read(body, set_fields, ARRAY_SIZE(set_fields), &f, err);

	if (r == 0)
		r = read_ends(&f, row, err);
	if (r == 0 && (f.destination || json_object_get(body, "port") ||
		       json_object_get(body, "protocol") || json_object_get(body, "last_port")))
		r = read_ports(&f, row, err);
	return r;
}

int kk_rules_add(struct kk_call *call)
{
	struct kk_access_rule_row row = {0};
	int r = kk_access_rule_read(call->body, &row, &call->err);

	if (r == 0)
		r = kk_store_access_rule_add(call->control->store, &row, &call->err);
	if (r == 0)
		r = kk_call_answer(call, 201, kk_access_rule_json(&row));
	return r < 0 ? r : kk_call_wait(call, NULL, 0);
}

static int append(const struct kk_access_rule_row *row, void *userdata)
{
	struct kk_page *page = userdata;

	return kk_page_wants(page, row->id) ? kk_page_add(page, row->id, kk_access_rule_json(row))
					    : 0;
}

int kk_rules_list(struct kk_call *call)
{
	struct kk_page page;
	int r = kk_page_start(&page, call);

	if (r < 0)
		return r;
	return kk_page_answer(
		&page, kk_store_access_rule_list(call->control->store, append, &page, &call->err));
}

int kk_rules_show(struct kk_call *call)
{
	struct kk_access_rule_row row;
	int r = kk_store_access_rule_get(call->control->store, call->name, &row, &call->err);

	return r < 0 ? r : kk_call_answer(call, 200, kk_access_rule_json(&row));
}

/* The rule that the path names, as it is if If-Match says how. */
static int get(struct kk_call *call, struct kk_access_rule_row *row)
{
	int r = kk_store_access_rule_get(call->control->store, call->name, row, &call->err);

	return r < 0 ? r : kk_call_match(call, row->id, row->generation);
}

int kk_rules_set(struct kk_call *call)
{
	struct kk_access_rule_row row;
	int r = get(call, &row);

	if (r == 0 && !json_object_size(call->body))
		r = kk_err_set(&call->err, EINVAL, NULL,
			       "there is nothing to change: source, destination or port");
	if (r == 0)
		r = read_set(call->body, &row, &call->err);
	if (r == 0)
		r = kk_store_access_rule_set(call->control->store, &row, &call->err);
	if (r == 0)
		r = kk_call_answer(call, 200, kk_access_rule_json(&row));
	return r < 0 ? r : kk_call_wait(call, NULL, 0);
}

int kk_rules_remove(struct kk_call *call)
{
	struct kk_access_rule_row row;
	int r = get(call, &row);

	if (r == 0)
		r = kk_store_access_rule_remove(call->control->store, call->name, &call->err);
	if (r == 0)
		r = kk_call_answer(call, 200, kk_call_generation(call));
	return r < 0 ? r : kk_call_wait(call, NULL, 0);
}
