// SPDX-License-Identifier: MIT
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "controld/expiry.h"
#include "controld/push/wire.h"
#include "controld/rest/call.h"
#include "util/parse.h"

#define LIMIT_MAX   10000000 /* a second */
#define DRAIN_MAX_S 86400

struct fields {
	const char *name, *agent, *protocol, *target, *address, *access;
	json_t *agents, *allow, *deny;
	int64_t port, last_port, limit_packets, limit_connections;
	bool proxy_protocol;
};

#define FIELD(name, type, flags, ...)                                                              \
	KK_JSON_FIELD(#name, type, flags, struct fields, name, ##__VA_ARGS__)
/* What can be said when a service is made and changed later. */
#define COMMON                                                                                     \
	FIELD(agent, KK_JSON_STRING, 0), FIELD(agents, KK_JSON_ANY, 0),                            \
		FIELD(last_port, KK_JSON_INT, 0, .min = 1, .max = 65535),                          \
		FIELD(proxy_protocol, KK_JSON_BOOL, 0),                                            \
		FIELD(address, KK_JSON_STRING, KK_JSON_NULLABLE), FIELD(allow, KK_JSON_ANY, 0),    \
		FIELD(deny, KK_JSON_ANY, 0), FIELD(access, KK_JSON_STRING, 0),                     \
		FIELD(limit_packets, KK_JSON_INT, 0, .min = 0, .max = LIMIT_MAX),                  \
		FIELD(limit_connections, KK_JSON_INT, 0, .min = 0, .max = LIMIT_MAX)

static const struct kk_json_field add_fields[] = {
	FIELD(name, KK_JSON_STRING, KK_JSON_REQUIRED),
	FIELD(protocol, KK_JSON_STRING, KK_JSON_REQUIRED),
	FIELD(port, KK_JSON_INT, KK_JSON_REQUIRED, .min = 1, .max = 65535),
	FIELD(target, KK_JSON_STRING, KK_JSON_REQUIRED, .max = KK_TARGET_MAX - 1),
	COMMON,
};

static const struct kk_json_field set_fields[] = {
	FIELD(port, KK_JSON_INT, 0, .min = 1, .max = 65535),
	FIELD(target, KK_JSON_STRING, 0, .max = KK_TARGET_MAX - 1),
	COMMON,
};

/* ---- as it is shown ---- */

static int compare_names(const void *a, const void *b)
{
	return strcmp(((const struct kk_member *)a)->name, ((const struct kk_member *)b)->name);
}

/* In order of name, so that services that are alike look alike. */
static json_t *members_json(const struct kk_service_row *row)
{
	struct kk_member members[KK_MEMBERS_MAX];
	json_t *list = json_array();

	memcpy(members, row->members, sizeof(members));
	qsort(members, row->n_members, sizeof(members[0]), compare_names);
	for (size_t i = 0; list && i < row->n_members; i++)
		json_array_append_new(list, json_string(members[i].name));
	return list;
}

static json_t *rules_json(const struct kk_service_row *row, bool allow)
{
	json_t *list = json_array();
	char text[KK_PREFIX_TEXT];

	for (size_t i = 0; list && i < row->n_rules; i++)
		if (row->rules[i].allow == allow)
			json_array_append_new(
				list, json_string(kk_prefix_text(&row->rules[i].prefix, text)));
	return list;
}

json_t *kk_service_said_json(const struct kk_service_row *row)
{
	char text[KK_ADDRESS_TEXT];

	return json_pack(
		"{s:s, s:o, s:s, s:i, s:i, s:s, s:b, s:o, s:s, s:o, s:o, s:I, s:I}", "name",
		row->name, "agents", members_json(row), "protocol", kk_wire_protocol(row->protocol),
		"port", (int)row->port, "last_port", (int)row->last_port, "target", row->target,
		"proxy_protocol", (int)row->proxy_protocol, "address",
		row->address.family ? json_string(kk_address_text(&row->address, text))
				    : json_null(),
		"access", row->closed ? "rules" : "open", "allow", rules_json(row, true), "deny",
		rules_json(row, false), "limit_packets", (json_int_t)row->limit_packets,
		"limit_connections", (json_int_t)row->limit_connections);
}

json_t *kk_service_json(const struct kk_service_row *row)
{
	json_t *obj = kk_service_said_json(row);
	KK_CLEANUP_JSON json_t *more = json_pack(
		"{s:I, s:s, s:i, s:b, s:o, s:I}", "id", (json_int_t)row->id, "agent",
		row->members[0].name, "agent_port", (int)row->agent_port, "snat", (int)row->snat,
		"draining_until", row->drain_until ? json_integer(row->drain_until) : json_null(),
		"generation", (json_int_t)row->generation);

	if (!obj || !more || json_object_update(obj, more)) {
		json_decref(obj);
		return NULL;
	}
	return obj;
}

/* ---- as it is given ---- */

int kk_protocol_read(const char *text, uint8_t *ret, struct kk_err *err)
{
	if (strcmp(text, "tcp") == 0)
		*ret = IPPROTO_TCP;
	else if (strcmp(text, "udp") == 0)
		*ret = IPPROTO_UDP;
	else
		return kk_err_set(err, EINVAL, "protocol",
				  "protocol: \"%.16s\" is neither tcp nor udp", text);
	return 0;
}

/* HOST:PORT or HOST:FIRST-LAST, the host a name or an address. */
static int read_target(const char *text, char ret[KK_TARGET_MAX], struct kk_err *err)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789.-_:";
	char host[KK_TARGET_MAX];
	uint16_t first, last;

	if (kk_parse_hostports("target", text, false, host, sizeof(host), &first, &last, NULL) < 0)
		return kk_err_set(err, EINVAL, "target",
				  "target: \"%.200s\" is not HOST:PORT with a port of 1 to 65535",
				  text);
	if (host[strspn(host, allowed)])
		return kk_err_set(err, EINVAL, "target",
				  "target: \"%.200s\" is not a host name or address", host);
	snprintf(ret, KK_TARGET_MAX, "%s", text);
	return 0;
}

/* The service's ports and the target's: as many, or one for all. */
static int check_ranges(const struct kk_service_row *row, struct kk_err *err)
{
	char host[KK_TARGET_MAX];
	uint16_t first = 0, last = 0;
	int r;

	if (row->last_port < row->port)
		return kk_err_set(err, EINVAL, "last_port", "last_port: %u is below port %u",
				  row->last_port, row->port);
	if (row->last_port - row->port >= KK_RANGE_MAX)
		return kk_err_set(err, EINVAL, "last_port",
				  "last_port: %d ports are more than the %d of one service",
				  row->last_port - row->port + 1, KK_RANGE_MAX);
	r = kk_parse_hostports("target", row->target, false, host, sizeof(host), &first, &last,
			       err);
	if (r == 0 && first != last && last - first != row->last_port - row->port)
		return kk_err_set(err, EINVAL, "target",
				  "target: \"%.200s\" has %d ports, the service %d", row->target,
				  last - first + 1, row->last_port - row->port + 1);
	return r;
}

static int add_member(const char *name, struct kk_service_row *row, struct kk_err *err)
{
	int r = kk_parse_name("agent", name ? name : "", err);

	if (r < 0)
		return r;
	if (row->n_members == KK_MEMBERS_MAX)
		return kk_err_set(err, EINVAL, "agents", "agents: %d are the most of one service",
				  KK_MEMBERS_MAX);
	strcpy(row->members[row->n_members++].name, name);
	return 0;
}

/* Either one as "agent", or "agents". */
static int read_members(const struct fields *f, struct kk_service_row *row, struct kk_err *err)
{
	json_t *item;
	size_t i;
	int r = 0;

	if (f->agent && f->agents)
		return kk_err_set(err, EINVAL, "agents",
				  "agents: either agent or agents is wanted, not both");
	if (!f->agent && !f->agents)
		return 0;
	row->n_members = 0;
	if (f->agent)
		return add_member(f->agent, row, err);
	if (!json_array_size(f->agents))
		return kk_err_set(err, EINVAL, "agents",
				  "agents: a list of at least one name is wanted");
	json_array_foreach(f->agents, i, item) {
		r = add_member(json_string_value(item), row, err);
		if (r < 0)
			break;
	}
	return r;
}

static int add_rule(const char *field, const char *text, bool allow, struct kk_service_row *row,
		    struct kk_err *err)
{
	struct kk_service_rule rule = {.allow = allow};
	int r = kk_parse_prefix(field, text ? text : "", &rule.prefix, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < row->n_rules; i++)
		if (kk_prefix_equal(&row->rules[i].prefix, &rule.prefix))
			return kk_err_set(err, EINVAL, field, "%s: %s is named twice", field, text);
	if (row->n_rules == KK_SERVICE_RULES_MAX)
		return kk_err_set(err, EINVAL, field, "%s: %d prefixes are the most of one service",
				  field, KK_SERVICE_RULES_MAX);
	row->rules[row->n_rules++] = rule;
	return 0;
}

/* @list takes the place of what was allowed (or denied) before. */
static int read_rules(const char *field, const json_t *list, bool allow, struct kk_service_row *row,
		      struct kk_err *err)
{
	size_t i, n = 0;
	json_t *item;
	int r = 0;

	if (!list)
		return 0;
	if (!json_is_array(list))
		return kk_err_set(err, EINVAL, field, "%s: a list of prefixes is wanted", field);
	for (i = 0; i < row->n_rules; i++)
		if (row->rules[i].allow != allow)
			row->rules[n++] = row->rules[i];
	row->n_rules = n;
	json_array_foreach((json_t *)list, i, item) {
		r = add_rule(field, json_string_value(item), allow, row, err);
		if (r < 0)
			return r;
	}
	qsort(row->rules, row->n_rules, sizeof(row->rules[0]), kk_service_rule_compare);
	return 0;
}

/* Whether all may come in that are not shut out, or only those whom access rules and allow let in. */
static int read_access(const char *text, bool *ret_closed, struct kk_err *err)
{
	*ret_closed = strcmp(text, "rules") == 0;
	if (*ret_closed || strcmp(text, "open") == 0)
		return 0;
	return kk_err_set(err, EINVAL, "access", "access: \"%.16s\" is neither open nor rules",
			  text);
}

/* What is in both kinds of body; what is not named stays. */
static int read_common(const struct fields *f, const json_t *body, struct kk_service_row *row,
		       struct kk_err *err)
{
	const json_t *address = json_object_get(body, "address");
	int r = read_members(f, row, err);

	if (r == 0 && f->target)
		r = read_target(f->target, row->target, err);
	if (r == 0 && json_is_null(address))
		row->address = (struct kk_address){0};
	if (r == 0 && f->address)
		r = kk_parse_address("address", f->address, &row->address, err);
	if (r == 0 && f->access)
		r = read_access(f->access, &row->closed, err);
	if (r == 0)
		r = read_rules("allow", f->allow, true, row, err);
	if (r == 0)
		r = read_rules("deny", f->deny, false, row, err);
	if (r < 0)
		return r;
	row->port = (uint16_t)f->port;
	row->last_port = (uint16_t)f->last_port;
	row->proxy_protocol = f->proxy_protocol;
	row->limit_packets = (uint32_t)f->limit_packets;
	row->limit_connections = (uint32_t)f->limit_connections;
	return check_ranges(row, err);
}

/* A gateway's host may serve the port itself: it would lose it. */
static int check_gateways(struct kk_control *control, const struct kk_service_row *row,
			  struct kk_err *err)
{
	struct kk_host_ports *ports;
	int r = kk_host_ports_read(control, &ports, err);

	if (r < 0)
		return r;
	r = kk_host_ports_check(ports, row, err);
	kk_host_ports_free(ports);
	return r;
}

int kk_service_read(const json_t *obj, struct kk_service_row *row, struct kk_err *err)
{
	struct fields f = {0};
	int r = kk_json_read(obj, add_fields, ARRAY_SIZE(add_fields), &f, err);

	if (r == 0)
		r = kk_parse_name("name", f.name, err);
	if (r == 0 && !f.agent && !f.agents)
		r = kk_err_set(err, EINVAL, "agent", "agent: is missing");
	if (r == 0)
		r = kk_protocol_read(f.protocol, &row->protocol, err);
	if (!f.last_port)
		f.last_port = f.port;
	if (r == 0)
		r = read_common(&f, obj, row, err);
	if (r < 0)
		return r;
	strcpy(row->name, f.name);
	return 0;
}

/* The answer waits for a change that led from @before, or from nothing. */
static int wait_for(struct kk_call *call, int64_t service, const struct kk_service_row *before)
{
	struct kk_push_undo *undo = calloc(1, sizeof(*undo));

	if (!undo)
		return kk_err_set(&call->err, ENOMEM, NULL, "out of memory");
	undo->service = service;
	undo->existed = before != NULL;
	if (before)
		undo->before = *before;
	return kk_call_wait(call, undo, 1);
}

int kk_services_add(struct kk_call *call)
{
	struct kk_service_row row = {0};
	int r = kk_service_read(call->body, &row, &call->err);

	if (r == 0)
		r = check_gateways(call->control, &row, &call->err);
	if (r == 0)
		r = kk_store_service_add(call->control->store, &row, &call->err);
	if (r == 0)
		r = kk_call_answer(call, 201, kk_service_json(&row));
	return r < 0 ? r : wait_for(call, row.id, NULL);
}

static int append(const struct kk_service_row *row, void *userdata)
{
	struct kk_page *page = userdata;

	return kk_page_wants(page, row->id) ? kk_page_add(page, row->id, kk_service_json(row)) : 0;
}

int kk_services_list(struct kk_call *call)
{
	struct kk_page page;
	int r = kk_page_start(&page, call);

	if (r < 0)
		return r;
	return kk_page_answer(
		&page, kk_store_service_list(call->control->store, 0, append, &page, &call->err));
}

int kk_services_show(struct kk_call *call)
{
	struct kk_service_row row;
	int r = kk_store_service_get(call->control->store, call->name, &row, &call->err);

	return r < 0 ? r : kk_call_answer(call, 200, kk_service_json(&row));
}

static int read_set(struct kk_call *call, struct kk_service_row *row)
{
	struct fields f = {.port = row->port,
			   .proxy_protocol = row->proxy_protocol,
			   .limit_packets = row->limit_packets,
			   .limit_connections = row->limit_connections};
	struct kk_err *err = &call->err;
	const uint16_t old_port = row->port, old_last = row->last_port;
	int r = kk_json_read(call->body, set_fields, ARRAY_SIZE(set_fields), &f, err);

	if (r == 0 && json_object_size(call->body) == 0)
		r = kk_err_set(err, EINVAL, NULL,
			       "there is nothing to change: port, target or proxy_protocol");
	if (r == 0 && row->drain_until)
		r = kk_err_set(err, EBUSY, NULL, "service %s is being removed", row->name);
	if (r < 0)
		return r;
	/* A port alone is one; without one the range stays. */
	if (!f.last_port)
		f.last_port = json_object_get(call->body, "port") ? f.port : old_last;
	r = read_common(&f, call->body, row, err);
	if (r < 0)
		return r;
	if (row->port >= old_port && row->last_port <= old_last)
		return 0;
	return check_gateways(call->control, row, err);
}

int kk_services_set(struct kk_call *call)
{
	struct kk_service_row row, before;
	int r = kk_store_service_get(call->control->store, call->name, &row, &call->err);

	if (r < 0)
		return r;
	before = row;
	r = kk_call_match(call, row.id, row.generation);
	if (r == 0)
		r = read_set(call, &row);
	if (r == 0)
		r = kk_store_service_replace(call->control->store, &before, &row, &call->err);
	if (r == 0)
		r = kk_call_answer(call, 200, kk_service_json(&row));
	return r < 0 ? r : wait_for(call, row.id, &before);
}

/* ?drain=S: what runs may go on for so long. */
static int read_drain(struct kk_call *call, int64_t *ret)
{
	const char *text = kk_httpd_query(call->req, "drain");

	return text ? kk_parse_int("drain", text, 0, DRAIN_MAX_S, ret, &call->err) : 0;
}

/* It stays as it is for those who are connected, until the time is over (expiry.c). */
static int drain(struct kk_call *call, const struct kk_service_row *before, int64_t seconds)
{
	struct kk_service_row row = *before;
	int r;

	row.drain_until = time(NULL) + seconds;
	r = kk_store_service_replace(call->control->store, before, &row, &call->err);
	if (r == 0)
		r = kk_expiry_look(call->control, &call->err);
	return r < 0 ? r : kk_call_answer(call, 200, kk_service_json(&row));
}

int kk_services_remove(struct kk_call *call)
{
	struct kk_service_row before;
	int64_t seconds = 0;
	int r = read_drain(call, &seconds);

	if (r == 0)
		r = kk_store_service_get(call->control->store, call->name, &before, &call->err);
	if (r == 0)
		r = kk_call_match(call, before.id, before.generation);
	if (r < 0)
		return r;
	if (seconds) {
		r = drain(call, &before, seconds);
	} else {
		r = kk_store_service_remove(call->control->store, call->name, &call->err);
		if (r == 0)
			r = kk_call_answer(call, 200, kk_call_generation(call));
	}
	return r < 0 ? r : wait_for(call, before.id, &before);
}
