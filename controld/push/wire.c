// SPDX-License-Identifier: MIT
#include "controld/push/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <time.h>

#include "util/encode.h"

const char *kk_wire_list(enum kk_kind kind)
{
	static const char *const names[] = {
		[KK_GATEWAY] = "gateways", [KK_AGENT] = "agents", [KK_SERVICE] = "services",
		[KK_RULE] = "rules",	   [KK_BAN] = "bans",
	};

	return names[kind];
}

bool kk_wire_has_policy(enum kk_kind role, int model)
{
	return role == KK_GATEWAY && model >= 2;
}

json_t *kk_wire_prefix(const struct kk_prefix4 *prefix)
{
	char addr[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &prefix->addr, addr, sizeof(addr));
	return json_sprintf("%s/%u", addr, prefix->len);
}

json_t *kk_wire_key(bool has_key, const uint8_t key[KK_KEY_LEN])
{
	char text[KK_KEY_BASE64_LEN + 1];

	if (!has_key)
		return json_null();
	kk_key_format(key, text);
	return json_string(text);
}

const char *kk_wire_protocol(uint8_t protocol)
{
	return protocol == IPPROTO_UDP ? "udp" : "tcp";
}

int kk_wire_service_model(const struct kk_service_row *row)
{
	if (row->snat)
		return 3;
	return row->last_port > row->port || row->n_members > 1 || row->address.family ||
			       row->limit_packets || row->limit_connections || row->n_rules ||
			       row->closed || row->drain_until
		       ? 2
		       : 1;
}

/* NULL becomes an error of memory where the object is put somewhere. */
static json_t *set(json_t *obj, const char *key, json_t *value)
{
	if (obj && json_object_set_new(obj, key, value) == 0)
		return obj;
	json_decref(obj);
	return NULL;
}

static json_t *address_json(const struct kk_address *address)
{
	char text[KK_ADDRESS_TEXT];

	return json_string(kk_address_text(address, text));
}

static json_t *prefix_json(const struct kk_prefix *prefix)
{
	char text[KK_PREFIX_TEXT];

	return json_string(kk_prefix_text(prefix, text));
}

static json_t *addresses_json(const struct kk_gateway_row *row)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < row->n_addresses; i++)
		json_array_append_new(list, address_json(&row->addresses[i]));
	return list;
}

/* Nodes of the first model read IPv4 only. */
static const struct kk_address *main_address(const struct kk_gateway_row *row, int model)
{
	for (size_t i = 0; model < 2 && i < row->n_addresses; i++)
		if (row->addresses[i].family == AF_INET)
			return &row->addresses[i];
	return &row->addresses[0];
}

json_t *kk_wire_gateway(const struct kk_gateway_row *row, int model)
{
	const union kk_sockaddr endpoint = kk_sockaddr_make(main_address(row, model), row->wg_port);
	char text[KK_ENDPOINT_TEXT];

	return json_pack("{s:I, s:s, s:i, s:s, s:o}", "id", (json_int_t)row->id, "name", row->name,
			 "index", (int)row->index, "endpoint", kk_sockaddr_text(&endpoint, text),
			 "public_key", kk_wire_key(row->has_key, row->public_key));
}

json_t *kk_wire_agent(const struct kk_agent_row *row)
{
	return json_pack("{s:I, s:s, s:o, s:o}", "id", (json_int_t)row->id, "name", row->name,
			 "subnet", kk_wire_prefix(&row->subnet), "public_key",
			 kk_wire_key(row->has_key, row->public_key));
}

static json_t *members_json(const struct kk_service_row *row)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < row->n_members; i++)
		json_array_append_new(list, json_integer(row->members[i].agent));
	return list;
}

/* What is as it usually is goes unsaid. */
static json_t *service_at_gateway(json_t *obj, const struct kk_service_row *row)
{
	if (row->n_members > 1)
		obj = set(obj, "agents", members_json(row));
	else
		obj = set(obj, "agent", json_integer(row->members[0].agent));
	if (row->address.family)
		obj = set(obj, "address", address_json(&row->address));
	if (row->limit_packets)
		obj = set(obj, "limit_packets", json_integer(row->limit_packets));
	if (row->limit_connections)
		obj = set(obj, "limit_connections", json_integer(row->limit_connections));
	if (row->drain_until)
		obj = set(obj, "draining", json_true());
	if (row->snat)
		obj = set(obj, "snat", json_true());
	return obj;
}

json_t *kk_wire_service(const struct kk_service_row *row, enum kk_kind role)
{
	json_t *obj = json_pack("{s:I, s:s, s:s, s:i, s:i}", "id", (json_int_t)row->id, "name",
				row->name, "protocol", kk_wire_protocol(row->protocol), "port",
				(int)row->port, "agent_port", (int)row->agent_port);

	if (row->last_port > row->port)
		obj = set(obj, "last_port", json_integer(row->last_port));
	if (role == KK_GATEWAY)
		return service_at_gateway(obj, row);
	obj = set(obj, "target", json_string(row->target));
	if (row->n_members > 1)
		obj = set(obj, "shared", json_true());
	return set(obj, "proxy_protocol", json_boolean(row->proxy_protocol));
}

json_t *kk_wire_rule(const struct kk_rule_row *row)
{
	json_t *obj = json_pack("{s:I, s:o}", "id", (json_int_t)row->id, "prefix",
				prefix_json(&row->prefix));

	if (row->service)
		obj = set(obj, "service", json_integer(row->service));
	return row->allow ? set(obj, "allow", json_true()) : obj;
}

json_t *kk_wire_ban(const struct kk_ban_row *row)
{
	const int64_t left = row->expires_at - time(NULL);
	json_t *obj = json_pack("{s:I, s:o}", "id", (json_int_t)row->id, "address",
				address_json(&row->address));

	if (row->service)
		obj = set(obj, "service", json_integer(row->service));
	if (row->expires_at)
		obj = set(obj, "seconds", json_integer(left > 0 ? left : 0));
	return obj;
}

static json_t *self_agent(struct kk_store *store, const struct kk_agent_row *a)
{
	return json_pack("{s:I, s:s, s:o, s:o}", "id", (json_int_t)a->id, "name", a->name, "subnet",
			 kk_wire_prefix(&a->subnet), "pool6", prefix_json(kk_store_pool6(store)));
}

static json_t *self_gateway(struct kk_store *store, const struct kk_gateway_row *g, int model)
{
	char key[2 * KK_FLOW_KEY_LEN + 1];

	kk_hex(kk_store_flow_key(store), KK_FLOW_KEY_LEN, key);
	return json_pack("{s:I, s:s, s:i, s:o, s:o, s:i, s:o, s:o, s:s}", "id", (json_int_t)g->id,
			 "name", g->name, "index", (int)g->index, "address",
			 address_json(main_address(g, model)), "addresses", addresses_json(g),
			 "wg_port", (int)g->wg_port, "pool", kk_wire_prefix(kk_store_pool(store)),
			 "pool6", prefix_json(kk_store_pool6(store)), "flow_key", key);
}

int kk_wire_self(struct kk_store *store, enum kk_kind role, int64_t id, int model, json_t **ret,
		 struct kk_err *err)
{
	struct kk_gateway_row g;
	struct kk_agent_row a;
	int r;

	if (role == KK_AGENT) {
		r = kk_store_agent_get_id(store, id, &a, err);
		*ret = r == 0 ? self_agent(store, &a) : NULL;
	} else {
		r = kk_store_gateway_get_id(store, id, &g, err);
		*ret = r == 0 ? self_gateway(store, &g, model) : NULL;
	}
	if (r < 0)
		return r;
	return *ret ? 0 : kk_err_set(err, ENOMEM, NULL, "out of memory");
}
