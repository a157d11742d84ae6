// SPDX-License-Identifier: MIT
#include "controld/push/delta.h"

#include <errno.h>
#include <stdlib.h>

#include "controld/push/wire.h"
#include "util/cleanup.h"
#include "util/json.h"

/* Whom it is for. */
struct reader {
	int64_t org;
	enum kk_kind role;
	int64_t id;
	int model;
};

bool kk_delta_concerns(int64_t org, enum kk_kind role, int64_t id, const struct kk_change *change)
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

	if (!kk_delta_concerns(c->reader.org, c->reader.role, c->reader.id, change))
		return 0;
	if ((change->kind == KK_RULE || change->kind == KK_BAN) &&
	    !kk_wire_has_policy(c->reader.role, c->reader.model))
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
	    kk_wire_service_model(&row) > reader->model)
		return -ENOENT;
	*ret = kk_wire_service(&row, reader->role);
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
		*ret = r == 0 ? kk_wire_gateway(&g, reader->model) : NULL;
		break;
	case KK_AGENT:
		r = kk_store_agent_get_id(store, change->id, &a, NULL);
		*ret = r == 0 ? kk_wire_agent(&a) : NULL;
		break;
	case KK_RULE:
		r = kk_store_rule_get(store, change->id, &rule, NULL);
		*ret = r == 0 ? kk_wire_rule(&rule) : NULL;
		break;
	case KK_BAN:
		r = kk_store_ban_get(store, change->id, &ban, NULL);
		*ret = r == 0 ? kk_wire_ban(&ban) : NULL;
		break;
	default:
		r = current_service(store, reader, change->id, ret);
		break;
	}
	return r < 0 ? r : *ret ? 0 : -ENOMEM;
}

static int append_to(json_t *lists, enum kk_kind kind, json_t *value)
{
	json_t *list = json_object_get(lists, kk_wire_list(kind));

	if (!list) {
		list = json_array();
		if (json_object_set_new(lists, kk_wire_list(kind), list)) {
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
		r = kk_wire_self(store, c->reader.role, c->reader.id, c->reader.model, &value,
				 NULL);
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

int kk_delta_make(struct kk_store *store, enum kk_kind role, int64_t id, int model, int64_t from,
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
