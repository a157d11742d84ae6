// SPDX-License-Identifier: MIT
#include "controld/push/message.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "util/cleanup.h"
#include "util/encode.h"
#include "util/json.h"

static const char *const list_names[] = {
	[KK_GATEWAY] = "gateways",
	[KK_AGENT] = "agents",
	[KK_SERVICE] = "services",
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

/* ---- objects, as the node of @role is told them ---- */

static json_t *gateway_object(const struct kk_gateway_row *row)
{
	char addr[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &row->address, addr, sizeof(addr));
	return json_pack("{s:I, s:s, s:i, s:o, s:o}", "id", (json_int_t)row->id, "name", row->name,
			 "index", (int)row->index, "endpoint",
			 json_sprintf("%s:%u", addr, row->wg_port), "public_key",
			 kk_message_key(row->has_key, row->public_key));
}

static json_t *agent_object(const struct kk_agent_row *row)
{
	return json_pack("{s:I, s:s, s:o, s:o}", "id", (json_int_t)row->id, "name", row->name,
			 "subnet", kk_message_prefix(&row->subnet), "public_key",
			 kk_message_key(row->has_key, row->public_key));
}

static json_t *service_object(const struct kk_service_row *row, enum kk_kind role)
{
	json_t *obj = json_pack("{s:I, s:s, s:s, s:i, s:i}", "id", (json_int_t)row->id, "name",
				row->name, "protocol", kk_message_protocol(row->protocol), "port",
				(int)row->port, "agent_port", (int)row->agent_port);
	int r;

	if (role == KK_GATEWAY)
		r = json_object_set_new(obj, "agent", json_integer(row->agent));
	else
		r = json_object_set_new(obj, "target", json_string(row->target)) |
		    json_object_set_new(obj, "proxy_protocol", json_boolean(row->proxy_protocol));
	if (r == 0)
		return obj;
	json_decref(obj);
	return NULL;
}

static int self_object(struct kk_store *store, enum kk_kind role, int64_t id, json_t **ret,
		       struct kk_err *err)
{
	struct kk_gateway_row g;
	struct kk_agent_row a;
	char addr[INET_ADDRSTRLEN];
	int r;

	if (role == KK_AGENT) {
		r = kk_store_agent_get_id(store, id, &a, err);
		if (r < 0)
			return r;
		*ret = json_pack("{s:I, s:s, s:o}", "id", (json_int_t)a.id, "name", a.name,
				 "subnet", kk_message_prefix(&a.subnet));
		return *ret ? 0 : no_memory(err);
	}
	r = kk_store_gateway_get_id(store, id, &g, err);
	if (r < 0)
		return r;
	inet_ntop(AF_INET, &g.address, addr, sizeof(addr));
	*ret = json_pack("{s:I, s:s, s:i, s:s, s:i, s:o}", "id", (json_int_t)g.id, "name", g.name,
			 "index", (int)g.index, "address", addr, "wg_port", (int)g.wg_port, "pool",
			 kk_message_prefix(kk_store_pool(store)));
	return *ret ? 0 : no_memory(err);
}

/* ---- snapshot ---- */

struct list {
	json_t *items;
	enum kk_kind role;
};

static int append_gateway(const struct kk_gateway_row *row, void *userdata)
{
	struct list *list = userdata;

	return json_array_append_new(list->items, gateway_object(row)) ? -ENOMEM : 0;
}

static int append_agent(const struct kk_agent_row *row, void *userdata)
{
	struct list *list = userdata;

	return json_array_append_new(list->items, agent_object(row)) ? -ENOMEM : 0;
}

static int append_service(const struct kk_service_row *row, void *userdata)
{
	struct list *list = userdata;

	return json_array_append_new(list->items, service_object(row, list->role)) ? -ENOMEM : 0;
}

static int add_list(struct kk_store *store, json_t *msg, enum kk_kind role, int64_t id,
		    enum kk_kind kind, struct kk_err *err)
{
	struct list list = {json_array(), role};
	int r;

	if (!list.items)
		return no_memory(err);
	if (kind == KK_GATEWAY)
		r = kk_store_gateway_list(store, append_gateway, &list, err);
	else if (kind == KK_AGENT)
		r = kk_store_agent_list(store, append_agent, &list, err);
	else
		r = kk_store_service_list(store, role == KK_AGENT ? id : 0, append_service, &list,
					  err);
	if (json_object_set_new(msg, list_names[kind], list.items) && r == 0)
		r = -ENOMEM;
	return r == -ENOMEM ? no_memory(err) : r;
}

int kk_message_head(struct kk_store *store, enum kk_kind role, int64_t id, json_t **ret,
		    struct kk_err *err)
{
	json_t *self;
	int r = self_object(store, role, id, &self, err);

	if (r < 0)
		return r;
	*ret = json_pack("{s:s, s:s, s:I, s:o}", "type", "snapshot", "epoch", kk_store_epoch(store),
			 "generation", (json_int_t)kk_store_generation(store), "self", self);
	return *ret ? 0 : no_memory(err);
}

int kk_message_lists(struct kk_store *store, enum kk_kind role, int64_t id, json_t **ret,
		     struct kk_err *err)
{
	KK_CLEANUP_JSON json_t *lists = json_object();
	int r = lists ? 0 : no_memory(err);

	if (r == 0)
		r = add_list(store, lists, role, id, role == KK_GATEWAY ? KK_AGENT : KK_GATEWAY,
			     err);
	if (r == 0)
		r = add_list(store, lists, role, id, KK_SERVICE, err);
	if (r == 0)
		*ret = KK_STEAL(lists);
	return r;
}

int kk_message_snapshot(struct kk_store *store, enum kk_kind role, int64_t id, json_t **ret,
			struct kk_err *err)
{
	KK_CLEANUP_JSON json_t *msg = NULL, *lists = NULL;
	int r = kk_message_head(store, role, id, &msg, err);

	if (r == 0)
		r = kk_message_lists(store, role, id, &lists, err);
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
		return role == KK_GATEWAY || change->agent == id;
	}
	return false;
}

/* The changes that concern a node, in the order of the log. */
struct collected {
	int64_t org;
	enum kk_kind role;
	int64_t id;
	struct kk_change *changes;
	size_t n, size;
};

static int collect(const struct kk_change *change, void *userdata)
{
	struct collected *c = userdata;

	if (!kk_message_concerns(c->org, c->role, c->id, change))
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

/* The object as it is now; -ENOENT if it is gone. */
static int current_object(struct kk_store *store, enum kk_kind role, const struct kk_change *change,
			  json_t **ret)
{
	struct kk_gateway_row g;
	struct kk_agent_row a;
	struct kk_service_row s;
	int r;

	switch (change->kind) {
	case KK_GATEWAY:
		r = kk_store_gateway_get_id(store, change->id, &g, NULL);
		*ret = r == 0 ? gateway_object(&g) : NULL;
		break;
	case KK_AGENT:
		r = kk_store_agent_get_id(store, change->id, &a, NULL);
		*ret = r == 0 ? agent_object(&a) : NULL;
		break;
	default:
		r = kk_store_service_get_id(store, change->id, &s, NULL);
		*ret = r == 0 ? service_object(&s, role) : NULL;
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

	if (first->kind == c->role) {
		r = self_object(store, c->role, c->id, &value, NULL);
		if (r == 0 && json_object_set_new(put, "self", value))
			r = -ENOMEM;
		return r;
	}
	r = current_object(store, c->role, first, &value);
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

int kk_message_delta(struct kk_store *store, enum kk_kind role, int64_t id, int64_t from,
		     json_t **ret, struct kk_err *err)
{
	struct collected c = {.org = kk_store_org(store), .role = role, .id = id};
	int r;

	*ret = NULL;
	r = kk_store_changes(store, from, collect, &c, err);
	if (r == 0 && c.n) {
		qsort(c.changes, c.n, sizeof(*c.changes), by_object);
		r = build_delta(store, &c, from, ret);
	}
	free(c.changes);
	if (r < 0 && r != -ESTALE)
		kk_err_set(err, -r, NULL, "a delta could not be made");
	return r;
}
