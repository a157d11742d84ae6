// SPDX-License-Identifier: MIT
#include "controld/push/message.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "util/cleanup.h"
#include "util/encode.h"
#include "util/json.h"

static const char *const list_names[] = {
	[KK_GATEWAY] = "gateways", [KK_AGENT] = "agents", [KK_SERVICE] = "services",
	[KK_RULE] = "rules",	   [KK_BAN] = "bans",
};

/* Whom a message is for. */
struct reader {
	int64_t org;
	enum kk_kind role;
	int64_t id;
	int model;
};

static int no_memory(struct kk_err *err)
{
	return kk_err_set(err, ENOMEM, NULL, "out of memory");
}

json_t *kk_message_prefix(const struct kk_prefix4 *prefix)
{
	char addr[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &prefix->addr, addr, sizeof(addr));
	return json_sprintf("%s/%u", addr, prefix->len);
}

json_t *kk_message_key(bool has_key, const uint8_t key[KK_KEY_LEN])
{
	char text[KK_KEY_BASE64_LEN + 1];

	if (!has_key)
		return json_null();
	kk_key_format(key, text);
	return json_string(text);
}

const char *kk_message_protocol(uint8_t protocol)
{
	return protocol == IPPROTO_UDP ? "udp" : "tcp";
}

int kk_message_service_model(const struct kk_service_row *row)
{
	if (row->snat)
		return 3;
	return row->last_port > row->port || row->n_members > 1 || row->address.family ||
			       row->limit_packets || row->limit_connections || row->n_rules ||
			       row->closed || row->drain_until
		       ? 2
		       : 1;
}

/* ---- objects, as the node of @role is told them ---- */

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

static json_t *gateway_object(const struct kk_gateway_row *row, int model)
{
	const union kk_sockaddr endpoint = kk_sockaddr_make(main_address(row, model), row->wg_port);
	char text[KK_ENDPOINT_TEXT];

	return json_pack("{s:I, s:s, s:i, s:s, s:o}", "id", (json_int_t)row->id, "name", row->name,
			 "index", (int)row->index, "endpoint", kk_sockaddr_text(&endpoint, text),
			 "public_key", kk_message_key(row->has_key, row->public_key));
}

static json_t *agent_object(const struct kk_agent_row *row)
{
	return json_pack("{s:I, s:s, s:o, s:o}", "id", (json_int_t)row->id, "name", row->name,
			 "subnet", kk_message_prefix(&row->subnet), "public_key",
			 kk_message_key(row->has_key, row->public_key));
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

static json_t *service_object(const struct kk_service_row *row, enum kk_kind role)
{
	json_t *obj = json_pack("{s:I, s:s, s:s, s:i, s:i}", "id", (json_int_t)row->id, "name",
				row->name, "protocol", kk_message_protocol(row->protocol), "port",
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

static json_t *rule_object(const struct kk_rule_row *row)
{
	json_t *obj = json_pack("{s:I, s:o}", "id", (json_int_t)row->id, "prefix",
				prefix_json(&row->prefix));

	if (row->service)
		obj = set(obj, "service", json_integer(row->service));
	return row->allow ? set(obj, "allow", json_true()) : obj;
}

static json_t *ban_object(const struct kk_ban_row *row)
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
			 kk_message_prefix(&a->subnet), "pool6",
			 prefix_json(kk_store_pool6(store)));
}

static json_t *self_gateway(struct kk_store *store, const struct kk_gateway_row *g, int model)
{
	char key[2 * KK_FLOW_KEY_LEN + 1];

	kk_hex(kk_store_flow_key(store), KK_FLOW_KEY_LEN, key);
	return json_pack("{s:I, s:s, s:i, s:o, s:o, s:i, s:o, s:o, s:s}", "id", (json_int_t)g->id,
			 "name", g->name, "index", (int)g->index, "address",
			 address_json(main_address(g, model)), "addresses", addresses_json(g),
			 "wg_port", (int)g->wg_port, "pool",
			 kk_message_prefix(kk_store_pool(store)), "pool6",
			 prefix_json(kk_store_pool6(store)), "flow_key", key);
}

static int self_object(struct kk_store *store, const struct reader *reader, json_t **ret,
		       struct kk_err *err)
{
	struct kk_gateway_row g;
	struct kk_agent_row a;
	int r;

	if (reader->role == KK_AGENT) {
		r = kk_store_agent_get_id(store, reader->id, &a, err);
		*ret = r == 0 ? self_agent(store, &a) : NULL;
	} else {
		r = kk_store_gateway_get_id(store, reader->id, &g, err);
		*ret = r == 0 ? self_gateway(store, &g, reader->model) : NULL;
	}
	if (r < 0)
		return r;
	return *ret ? 0 : no_memory(err);
}

/* ---- snapshot ---- */

struct list {
	json_t *items;
	const struct reader *reader;
};

static int append(struct list *list, json_t *obj)
{
	return json_array_append_new(list->items, obj) ? -ENOMEM : 0;
}

static int append_gateway(const struct kk_gateway_row *row, void *userdata)
{
	struct list *list = userdata;

	return append(list, gateway_object(row, list->reader->model));
}

static int append_agent(const struct kk_agent_row *row, void *userdata)
{
	return append(userdata, agent_object(row));
}

static int append_service(const struct kk_service_row *row, void *userdata)
{
	struct list *list = userdata;

	if (kk_message_service_model(row) > list->reader->model)
		return 0;
	return append(list, service_object(row, list->reader->role));
}

static int append_rule(const struct kk_rule_row *row, void *userdata)
{
	return append(userdata, rule_object(row));
}

static int append_ban(const struct kk_ban_row *row, void *userdata)
{
	return append(userdata, ban_object(row));
}

/* Plain peers are to a gateway what Agents are. */
static int add_agents(struct kk_store *store, struct list *list, struct kk_err *err)
{
	int r = kk_store_agent_list(store, append_agent, list, err);

	return r < 0 ? r : kk_store_peer_list(store, append_agent, list, err);
}

static int add_list(struct kk_store *store, json_t *msg, const struct reader *reader,
		    enum kk_kind kind, struct kk_err *err)
{
	struct list list = {json_array(), reader};
	int r;

	if (!list.items)
		return no_memory(err);
	if (kind == KK_GATEWAY)
		r = kk_store_gateway_list(store, append_gateway, &list, err);
	else if (kind == KK_AGENT)
		r = add_agents(store, &list, err);
	else if (kind == KK_SERVICE)
		r = kk_store_service_list(store, reader->role == KK_AGENT ? reader->id : 0,
					  append_service, &list, err);
	else if (kind == KK_RULE)
		r = kk_store_rule_list(store, append_rule, &list, err);
	else
		r = kk_store_ban_list(store, append_ban, &list, err);
	if (json_object_set_new(msg, list_names[kind], list.items) && r == 0)
		r = -ENOMEM;
	return r == -ENOMEM ? no_memory(err) : r;
}

static bool has_policy(const struct reader *reader)
{
	return reader->role == KK_GATEWAY && reader->model >= 2;
}

int kk_message_head(struct kk_store *store, enum kk_kind role, int64_t id, int model, json_t **ret,
		    struct kk_err *err)
{
	const struct reader reader = {kk_store_org(store), role, id, model};
	json_t *self;
	int r = self_object(store, &reader, &self, err);

	if (r < 0)
		return r;
	*ret = json_pack("{s:s, s:s, s:I, s:o}", "type", "snapshot", "epoch", kk_store_epoch(store),
			 "generation", (json_int_t)kk_store_generation(store), "self", self);
	return *ret ? 0 : no_memory(err);
}

int kk_message_lists(struct kk_store *store, enum kk_kind role, int64_t id, int model, json_t **ret,
		     struct kk_err *err)
{
	const struct reader reader = {kk_store_org(store), role, id, model};
	KK_CLEANUP_JSON json_t *lists = json_object();
	int r = lists ? 0 : no_memory(err);

	if (r == 0)
		r = add_list(store, lists, &reader, role == KK_GATEWAY ? KK_AGENT : KK_GATEWAY,
			     err);
	if (r == 0)
		r = add_list(store, lists, &reader, KK_SERVICE, err);
	if (r == 0 && has_policy(&reader))
		r = add_list(store, lists, &reader, KK_RULE, err);
	if (r == 0 && has_policy(&reader))
		r = add_list(store, lists, &reader, KK_BAN, err);
	if (r == 0)
		*ret = KK_STEAL(lists);
	return r;
}

int kk_message_snapshot(struct kk_store *store, enum kk_kind role, int64_t id, int model,
			json_t **ret, struct kk_err *err)
{
	KK_CLEANUP_JSON json_t *msg = NULL, *lists = NULL;
	int r = kk_message_head(store, role, id, model, &msg, err);

	if (r == 0)
		r = kk_message_lists(store, role, id, model, &lists, err);
	if (r < 0)
		return r;
	if (json_object_update(msg, lists))
		return no_memory(err);
	*ret = KK_STEAL(msg);
	return 0;
}

/* ---- delta ---- */

bool kk_message_concerns(int64_t org, enum kk_kind role, int64_t id, const struct kk_change *change)
{
	if (change->org != org)
		return false;
	switch (change->kind) {
	case KK_GATEWAY:
		return role == KK_AGENT || change->id == id;
	case KK_AGENT:
		return role == KK_GATEWAY || change->id == id;
	case KK_SERVICE:
		return role == KK_GATEWAY ? !change->agent : change->agent == id;
	case KK_RULE:
	case KK_BAN:
		return role == KK_GATEWAY;
	case KK_HOST:
	case KK_GROUP:
	case KK_ACCESS_RULE:
		break;
	}
	return false;
}

/* The changes that concern a node, in the order of the log. */
struct collected {
	struct reader reader;
	struct kk_change *changes;
	size_t n, size;
};

static int collect(const struct kk_change *change, void *userdata)
{
	struct collected *c = userdata;

	if (!kk_message_concerns(c->reader.org, c->reader.role, c->reader.id, change))
		return 0;
	if ((change->kind == KK_RULE || change->kind == KK_BAN) && !has_policy(&c->reader))
		return 0;
	if (c->n == c->size) {
		size_t size = c->size ? c->size * 2 : 16;
		struct kk_change *bigger = reallocarray(c->changes, size, sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		c->changes = bigger;
		c->size = size;
	}
	c->changes[c->n++] = *change;
	return 0;
}

static int by_object(const void *a, const void *b)
{
	const struct kk_change *x = a, *y = b;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return x->generation < y->generation ? -1 : x->generation > y->generation;
}

static bool is_member(const struct kk_service_row *row, int64_t agent)
{
	for (size_t i = 0; i < row->n_members; i++)
		if (row->members[i].agent == agent)
			return true;
	return false;
}

/* -ENOENT for a service that is none of the reader's. */
static int current_service(struct kk_store *store, const struct reader *reader, int64_t id,
			   json_t **ret)
{
	struct kk_service_row row;
	int r = kk_store_service_get_id(store, id, &row, NULL);

	if (r < 0)
		return r;
	if ((reader->role == KK_AGENT && !is_member(&row, reader->id)) ||
	    kk_message_service_model(&row) > reader->model)
		return -ENOENT;
	*ret = service_object(&row, reader->role);
	return 0;
}

/* The object as it is now; -ENOENT if it is gone. */
static int current_object(struct kk_store *store, const struct reader *reader,
			  const struct kk_change *change, json_t **ret)
{
	struct kk_gateway_row g;
	struct kk_agent_row a;
	struct kk_rule_row rule;
	struct kk_ban_row ban;
	int r;

	*ret = NULL;
	switch (change->kind) {
	case KK_GATEWAY:
		r = kk_store_gateway_get_id(store, change->id, &g, NULL);
		*ret = r == 0 ? gateway_object(&g, reader->model) : NULL;
		break;
	case KK_AGENT:
		r = kk_store_agent_get_id(store, change->id, &a, NULL);
		*ret = r == 0 ? agent_object(&a) : NULL;
		break;
	case KK_RULE:
		r = kk_store_rule_get(store, change->id, &rule, NULL);
		*ret = r == 0 ? rule_object(&rule) : NULL;
		break;
	case KK_BAN:
		r = kk_store_ban_get(store, change->id, &ban, NULL);
		*ret = r == 0 ? ban_object(&ban) : NULL;
		break;
	default:
		r = current_service(store, reader, change->id, ret);
		break;
	}
	return r < 0 ? r : *ret ? 0 : -ENOMEM;
}

static int append_to(json_t *lists, enum kk_kind kind, json_t *value)
{
	json_t *list = json_object_get(lists, list_names[kind]);

	if (!list) {
		list = json_array();
		if (json_object_set_new(lists, list_names[kind], list)) {
			json_decref(value);
			return -ENOMEM;
		}
	}
	return json_array_append_new(list, value) ? -ENOMEM : 0;
}

/* @first is the object's first change since the node heard of it. */
static int add_object(struct kk_store *store, const struct collected *c,
		      const struct kk_change *first, json_t *put, json_t *remove)
{
	json_t *value;
	int r;

	if (first->kind == c->reader.role) {
		r = self_object(store, &c->reader, &value, NULL);
		if (r == 0 && json_object_set_new(put, "self", value))
			r = -ENOMEM;
		return r;
	}
	r = current_object(store, &c->reader, first, &value);
	if (r == 0)
		return append_to(put, first->kind, value);
	if (r != -ENOENT)
		return r;
	/* What came and went in between the node never knew. */
	return first->op == KK_ADD ? 0 : append_to(remove, first->kind, json_integer(first->id));
}

static int build_delta(struct kk_store *store, const struct collected *c, int64_t from,
		       json_t **ret)
{
	KK_CLEANUP_JSON json_t *put = json_object();
	KK_CLEANUP_JSON json_t *remove = json_object();

	for (size_t i = 0; i < c->n; i++) {
		const struct kk_change *change = &c->changes[i];
		int r;

		if (i && change->kind == change[-1].kind && change->id == change[-1].id)
			continue;
		r = add_object(store, c, change, put, remove);
		if (r < 0)
			return r;
	}
	if (!json_object_size(put) && !json_object_size(remove))
		return 0;
	*ret = json_pack("{s:s, s:I, s:I, s:O, s:O}", "type", "delta", "from", (json_int_t)from,
			 "generation", (json_int_t)kk_store_generation(store), "put", put, "remove",
			 remove);
	return *ret ? 0 : -ENOMEM;
}

int kk_message_delta(struct kk_store *store, enum kk_kind role, int64_t id, int model, int64_t from,
		     json_t **ret, struct kk_err *err)
{
	struct collected c = {.reader = {kk_store_org(store), role, id, model}};
	int r;

	*ret = NULL;
	r = role == KK_AGENT ? kk_store_agent_changes(store, from, id, collect, &c, err)
			     : kk_store_changes(store, from, collect, &c, err);
	if (r == 0 && c.n) {
		qsort(c.changes, c.n, sizeof(*c.changes), by_object);
		r = build_delta(store, &c, from, ret);
	}
	free(c.changes);
	if (r < 0 && r != -ESTALE)
		kk_err_set(err, -r, NULL, "a delta could not be made");
	return r;
}
