// SPDX-License-Identifier: MIT
#include "controld/push/snapshot.h"

#include <errno.h>

#include "controld/push/wire.h"
#include "util/cleanup.h"
#include "util/json.h"

/* Whom it is for. */
struct reader {
	enum kk_kind role;
	int64_t id;
	int model;
};

static int no_memory(struct kk_err *err)
{
	return kk_err_set(err, ENOMEM, NULL, "out of memory");
}

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

	return append(list, kk_wire_gateway(row, list->reader->model));
}

static int append_agent(const struct kk_agent_row *row, void *userdata)
{
	return append(userdata, kk_wire_agent(row));
}

static int append_service(const struct kk_service_row *row, void *userdata)
{
	struct list *list = userdata;

	if (kk_wire_service_model(row) > list->reader->model)
		return 0;
	return append(list, kk_wire_service(row, list->reader->role));
}

static int append_rule(const struct kk_rule_row *row, void *userdata)
{
	return append(userdata, kk_wire_rule(row));
}

static int append_ban(const struct kk_ban_row *row, void *userdata)
{
	return append(userdata, kk_wire_ban(row));
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
	if (json_object_set_new(msg, kk_wire_list(kind), list.items) && r == 0)
		r = -ENOMEM;
	return r == -ENOMEM ? no_memory(err) : r;
}

int kk_snapshot_head(struct kk_store *store, enum kk_kind role, int64_t id, int model, json_t **ret,
		     struct kk_err *err)
{
	json_t *self;
	int r = kk_wire_self(store, role, id, model, &self, err);

	if (r < 0)
		return r;
	*ret = json_pack("{s:s, s:s, s:I, s:o}", "type", "snapshot", "epoch", kk_store_epoch(store),
			 "generation", (json_int_t)kk_store_generation(store), "self", self);
	return *ret ? 0 : no_memory(err);
}

int kk_snapshot_lists(struct kk_store *store, enum kk_kind role, int64_t id, int model,
		      json_t **ret, struct kk_err *err)
{
	const struct reader reader = {role, id, model};
	KK_CLEANUP_JSON json_t *lists = json_object();
	int r = lists ? 0 : no_memory(err);

	if (r == 0)
		r = add_list(store, lists, &reader, role == KK_GATEWAY ? KK_AGENT : KK_GATEWAY,
			     err);
	if (r == 0)
		r = add_list(store, lists, &reader, KK_SERVICE, err);
	if (r == 0 && kk_wire_has_policy(role, model))
		r = add_list(store, lists, &reader, KK_RULE, err);
	if (r == 0 && kk_wire_has_policy(role, model))
		r = add_list(store, lists, &reader, KK_BAN, err);
	if (r == 0)
		*ret = KK_STEAL(lists);
	return r;
}

int kk_snapshot_make(struct kk_store *store, enum kk_kind role, int64_t id, int model, json_t **ret,
		     struct kk_err *err)
{
	KK_CLEANUP_JSON json_t *msg = NULL, *lists = NULL;
	int r = kk_snapshot_head(store, role, id, model, &msg, err);

	if (r == 0)
		r = kk_snapshot_lists(store, role, id, model, &lists, err);
	if (r < 0)
		return r;
	if (json_object_update(msg, lists))
		return no_memory(err);
	*ret = KK_STEAL(msg);
	return 0;
}
