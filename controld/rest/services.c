// SPDX-License-Identifier: MIT
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "controld/push/message.h"
#include "controld/rest/call.h"
#include "util/parse.h"

struct fields {
	const char *name, *agent, *protocol, *target;
	int64_t port;
	bool proxy_protocol;
};

static const struct kk_json_field add_fields[] = {
	KK_JSON_FIELD("name", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, name),
	KK_JSON_FIELD("agent", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, agent),
	KK_JSON_FIELD("protocol", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, protocol),
	KK_JSON_FIELD("port", KK_JSON_INT, KK_JSON_REQUIRED, struct fields, port, .min = 1,
		      .max = 65535),
	KK_JSON_FIELD("target", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, target,
		      .max = KK_TARGET_MAX - 1),
	KK_JSON_FIELD("proxy_protocol", KK_JSON_BOOL, 0, struct fields, proxy_protocol),
};

static const struct kk_json_field set_fields[] = {
	KK_JSON_FIELD("port", KK_JSON_INT, 0, struct fields, port, .min = 1, .max = 65535),
	KK_JSON_FIELD("target", KK_JSON_STRING, 0, struct fields, target, .max = KK_TARGET_MAX - 1),
	KK_JSON_FIELD("proxy_protocol", KK_JSON_BOOL, 0, struct fields, proxy_protocol),
};

json_t *kk_service_json(const struct kk_service_row *row)
{
	return json_pack("{s:I, s:s, s:s, s:s, s:i, s:i, s:s, s:b, s:I}", "id", (json_int_t)row->id,
			 "name", row->name, "agent", row->agent_name, "protocol",
			 kk_message_protocol(row->protocol), "port", (int)row->port, "agent_port",
			 (int)row->agent_port, "target", row->target, "proxy_protocol",
			 (int)row->proxy_protocol, "generation", (json_int_t)row->generation);
}

static int read_protocol(const char *text, uint8_t *ret, struct kk_err *err)
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

/* HOST:PORT, the host a name or an address. */
static int read_target(const char *text, char ret[KK_TARGET_MAX], struct kk_err *err)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789.-_:";
	char host[KK_TARGET_MAX];
	uint16_t port;

	if (kk_parse_hostport("target", text, false, host, sizeof(host), &port, NULL) < 0)
		return kk_err_set(err, EINVAL, "target",
				  "target: \"%.200s\" is not HOST:PORT with a port of 1 to 65535",
				  text);
	if (host[strspn(host, allowed)])
		return kk_err_set(err, EINVAL, "target",
				  "target: \"%.200s\" is not a host name or address", host);
	snprintf(ret, KK_TARGET_MAX, "%s", text);
	return 0;
}

struct port_user {
	const char *protocol;
	uint16_t port;
	char name[KK_NAME_MAX + 1];
};

static int find_user(const char *name, const char *ports, void *userdata)
{
	KK_CLEANUP_JSON json_t *list = kk_json_parse(ports, strlen(ports), NULL);
	struct port_user *user = userdata;
	json_t *item;
	size_t i;

	json_array_foreach(list, i, item) {
		const char *protocol = json_string_value(json_object_get(item, "protocol"));

		if (!protocol || strcmp(protocol, user->protocol) != 0 ||
		    json_integer_value(json_object_get(item, "port")) != user->port)
			continue;
		strcpy(user->name, name);
		return 1;
	}
	return 0;
}

/* A gateway's host may serve the port itself: it would lose it. */
static int check_gateways(struct kk_control *control, const struct kk_service_row *row,
			  struct kk_err *err)
{
	struct port_user user = {.protocol = kk_message_protocol(row->protocol), .port = row->port};
	int r = kk_store_gateway_list_ports(control->store, find_user, &user, err);

	if (r <= 0)
		return r;
	return kk_err_set(err, EEXIST, "port", "port: %u/%s is used by gateway %s itself",
			  row->port, user.protocol, user.name);
}

int kk_service_read(struct kk_control *control, const json_t *obj, struct kk_service_row *row,
		    struct kk_err *err)
{
	struct fields f = {0};
	int r = kk_json_read(obj, add_fields, ARRAY_SIZE(add_fields), &f, err);

	if (r == 0)
		r = kk_parse_name("name", f.name, err);
	if (r == 0)
		r = kk_parse_name("agent", f.agent, err);
	if (r == 0)
		r = read_protocol(f.protocol, &row->protocol, err);
	if (r == 0)
		r = read_target(f.target, row->target, err);
	if (r < 0)
		return r;
	strcpy(row->name, f.name);
	strcpy(row->agent_name, f.agent);
	row->port = (uint16_t)f.port;
	row->proxy_protocol = f.proxy_protocol;
	return check_gateways(control, row, err);
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
	int r = kk_service_read(call->control, call->body, &row, &call->err);

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
	struct fields f = {.port = row->port, .proxy_protocol = row->proxy_protocol};
	struct kk_err *err = &call->err;
	uint16_t old_port = row->port;
	int r = kk_json_read(call->body, set_fields, ARRAY_SIZE(set_fields), &f, err);

	if (r == 0 && json_object_size(call->body) == 0)
		r = kk_err_set(err, EINVAL, NULL,
			       "there is nothing to change: port, target or proxy_protocol");
	if (r == 0 && f.target)
		r = read_target(f.target, row->target, err);
	if (r < 0)
		return r;
	row->port = (uint16_t)f.port;
	row->proxy_protocol = f.proxy_protocol;
	return row->port == old_port ? 0 : check_gateways(call->control, row, err);
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
		r = kk_store_service_set(call->control->store, &row, &call->err);
	if (r == 0)
		r = kk_call_answer(call, 200, kk_service_json(&row));
	return r < 0 ? r : wait_for(call, row.id, &before);
}

int kk_services_remove(struct kk_call *call)
{
	struct kk_service_row before;
	int r = kk_store_service_get(call->control->store, call->name, &before, &call->err);

	if (r == 0)
		r = kk_call_match(call, before.id, before.generation);
	if (r == 0)
		r = kk_store_service_remove(call->control->store, call->name, &call->err);
	if (r == 0)
		r = kk_call_answer(call, 200, kk_call_generation(call));
	return r < 0 ? r : wait_for(call, before.id, &before);
}
