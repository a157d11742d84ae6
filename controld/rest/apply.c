// SPDX-License-Identifier: MIT
/*
 * A whole world at once: what is wanted is compared with what is there, and the difference is made in one
 * transaction and one generation.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "controld/rest/apply.h"
#include "controld/rest/operations.h"
#include "util/parse.h"

/* What makes an object another, and what does not. */
static const char *const not_wanted[] = {
	"id",	     "generation",	 "agent_port", "public_key", "joined",
	"connected", "acked_generation", "index",      "subnet",     "draining_until",
	"agent",     "enforced",	 "snat",
};

struct fields {
	json_t *gateways, *agents, *services, *hosts, *groups, *rules;
};

static const struct kk_json_field apply_fields[] = {
	KK_JSON_FIELD("gateways", KK_JSON_ANY, 0, struct fields, gateways),
	KK_JSON_FIELD("agents", KK_JSON_ANY, 0, struct fields, agents),
	KK_JSON_FIELD("services", KK_JSON_ANY, 0, struct fields, services),
	KK_JSON_FIELD("hosts", KK_JSON_ANY, 0, struct fields, hosts),
	KK_JSON_FIELD("groups", KK_JSON_ANY, 0, struct fields, groups),
	KK_JSON_FIELD("rules", KK_JSON_ANY, 0, struct fields, rules),
};

/* A service that is made, or changed from what @undo has, when the ports that it wants are free. */
struct later {
	struct kk_service_row row;
	size_t undo; /* index, or NOTHING */
};

#define NOTHING SIZE_MAX

struct apply {
	struct kk_call *call;
	struct kk_control *control;
	bool prune;
	json_t *changes; /* array of the answer */
	json_t *tokens;	 /* name to token, of nodes that were made */
	struct kk_push_undo *undo;
	size_t n_undo, undo_size;
	struct later *later;
	size_t n_later, later_size;
};

static int no_memory(struct apply *a)
{
	return kk_err_set(&a->call->err, ENOMEM, NULL, "out of memory");
}

json_t *kk_apply_bare(json_t *object)
{
	for (size_t i = 0; i < ARRAY_SIZE(not_wanted); i++)
		json_object_del(object, not_wanted[i]);
	return object;
}

int kk_apply_note(json_t *changes, const char *action, const char *kind, const char *name,
		  json_t *before, json_t *after, struct kk_err *err)
{
	json_t *change = json_pack("{s:s, s:s, s:s, s:o, s:o}", "action", action, "kind", kind,
				   "name", name, "before", before ? before : json_null(), "after",
				   after ? after : json_null());

	return json_array_append_new(changes, change)
		       ? kk_err_set(err, ENOMEM, NULL, "out of memory")
		       : 0;
}

static int note(struct apply *a, const char *action, const char *kind, const char *name,
		json_t *before, json_t *after)
{
	return kk_apply_note(a->changes, action, kind, name, before, after, &a->call->err);
}

static int note_undo(struct apply *a, int64_t service, const struct kk_service_row *before)
{
	if (a->n_undo == a->undo_size) {
		size_t size = a->undo_size ? a->undo_size * 2 : 16;
		struct kk_push_undo *bigger = reallocarray(a->undo, size, sizeof(*bigger));

		if (!bigger)
			return no_memory(a);
		a->undo = bigger;
		a->undo_size = size;
	}
	a->undo[a->n_undo] = (struct kk_push_undo){.service = service, .existed = before != NULL};
	if (before)
		a->undo[a->n_undo].before = *before;
	a->n_undo++;
	return 0;
}

/* ---- nodes ---- */

static int make_token(struct apply *a, enum kk_kind role, const char *name)
{
	struct kk_token_row token = {.role = role, .uses = 1};
	KK_CLEANUP_FREE char *text = NULL;
	json_t *last = json_array_get(a->changes, json_array_size(a->changes) - 1);
	int r;

	strcpy(token.node, name);
	r = kk_token_make(a->control, &token, KK_TOKEN_EXPIRES_S, &text, &a->call->err);
	if (r == 0)
		json_object_set_new(last, "join_token", json_string(text));
	return r;
}

static int want_gateway(struct apply *a, const json_t *obj)
{
	struct kk_gateway_row row = {0}, now;
	struct kk_err *err = &a->call->err;
	KK_CLEANUP_JSON json_t *is = NULL, *wanted = NULL;
	int r = kk_gateway_read(a->control, obj, &row, err);

	if (r < 0)
		return r;
	r = kk_store_gateway_get(a->control->store, row.name, &now, NULL);
	if (r == 0) {
		is = kk_apply_bare(kk_gateway_json(a->control, &now));
		wanted = kk_apply_bare(kk_gateway_json(a->control, &row));
		if (json_equal(is, wanted))
			return 0;
		return kk_err_set(err, EEXIST, "gateways",
				  "gateways: %s is there with another address or port; remove it "
				  "first",
				  row.name);
	}
	if (r != -ENOENT)
		return r;
	r = kk_store_gateway_add(a->control->store, &row, err);
	if (r == 0)
		r = note(a, "add", "gateway", row.name, NULL,
			 kk_apply_bare(kk_gateway_json(a->control, &row)));
	return r < 0 ? r : make_token(a, KK_GATEWAY, row.name);
}

static int want_agent(struct apply *a, const json_t *obj)
{
	struct kk_agent_row row = {0}, now;
	struct kk_err *err = &a->call->err;
	int r = kk_agent_read(a->control, obj, &row, err);

	if (r < 0)
		return r;
	r = kk_store_agent_get(a->control->store, row.name, &now, NULL);
	if (r != -ENOENT)
		return r;
	r = kk_store_agent_add(a->control->store, &row, err);
	if (r == 0)
		r = note(a, "add", "agent", row.name, NULL,
			 kk_apply_bare(kk_agent_json(a->control, &row)));
	return r < 0 ? r : make_token(a, KK_AGENT, row.name);
}

/* ---- services ---- */

static int remove_service(struct apply *a, const struct kk_service_row *row)
{
	int r = kk_store_service_remove(a->control->store, row->name, &a->call->err);

	if (r == 0)
		r = note_undo(a, row->id, row);
	return r < 0 ? r : note(a, "remove", "service", row->name, kk_service_said_json(row), NULL);
}

static int add_service(struct apply *a, struct kk_service_row *row)
{
	int r = kk_store_service_add(a->control->store, row, &a->call->err);

	if (r == 0)
		r = note_undo(a, row->id, NULL);
	return r < 0 ? r : note(a, "add", "service", row->name, NULL, kk_service_said_json(row));
}

/* Room for @row, which is done after all others have given up their ports. */
static int put_off(struct apply *a, const struct kk_service_row *row, size_t undo)
{
	struct later *later;

	if (a->n_later == a->later_size) {
		size_t size = a->later_size ? a->later_size * 2 : 16;
		struct later *bigger = reallocarray(a->later, size, sizeof(*bigger));

		if (!bigger)
			return no_memory(a);
		a->later = bigger;
		a->later_size = size;
	}
	later = &a->later[a->n_later++];
	later->row = *row;
	later->undo = undo;
	return 0;
}

static int set_service(struct apply *a, const struct kk_service_row *now,
		       struct kk_service_row *row)
{
	int r = kk_store_service_replace(a->control->store, now, row, &a->call->err);

	return r < 0 ? r
		     : note(a, "set", "service", row->name, kk_service_said_json(now),
			    kk_service_said_json(row));
}

/* Services may take each other's ports: those that move give up theirs first. */
static int move_service(struct apply *a, const struct kk_service_row *now,
			struct kk_service_row *row)
{
	int r = kk_store_service_release(a->control->store, now->id, &a->call->err);

	return r < 0 ? r : put_off(a, row, a->n_undo - 1);
}

static int change_service(struct apply *a, const struct kk_service_row *now,
			  struct kk_service_row *row)
{
	int r;

	if (kk_service_row_same(now, row))
		return 0;
	/* What a service cannot be changed in is changed by removing it and making it anew. */
	if (now->protocol != row->protocol) {
		r = remove_service(a, now);
		return r < 0 ? r : put_off(a, row, NOTHING);
	}
	r = note_undo(a, now->id, now);
	if (r < 0)
		return r;
	return kk_service_row_moves(now, row) ? move_service(a, now, row)
					      : set_service(a, now, row);
}

static int want_service(struct apply *a, const json_t *obj)
{
	struct kk_service_row row = {0}, now;
	int r = kk_service_read(obj, &row, &a->call->err);

	if (r < 0)
		return r;
	r = kk_store_service_get(a->control->store, row.name, &now, NULL);
	if (r == -ENOENT)
		return put_off(a, &row, NOTHING);
	return r < 0 ? r : change_service(a, &now, &row);
}

/* What was put off. */
static int want_later(struct apply *a)
{
	struct kk_host_ports *ports = NULL;
	int r = a->n_later ? kk_host_ports_read(a->control, &ports, &a->call->err) : 0;

	for (size_t i = 0; i < a->n_later && r == 0; i++) {
		struct later *later = &a->later[i];

		r = kk_host_ports_check(ports, &later->row, &a->call->err);
		if (r == 0)
			r = later->undo == NOTHING
				    ? add_service(a, &later->row)
				    : set_service(a, &a->undo[later->undo].before, &later->row);
	}
	kk_host_ports_free(ports);
	return r;
}

/* ---- lists ---- */

struct kind {
	const char *list, *name;
	int (*want)(struct apply *a, const json_t *obj);
	const struct kk_apply_value *value; /* in place of @want */
};

/* In the order in which they are made; what is not wanted any more goes in the reverse one. */
enum {
	GATEWAYS,
	AGENTS,
	HOSTS,
	GROUPS,
	SERVICES,
	RULES,
};

static const struct kind kinds[] = {
	[GATEWAYS] = {"gateways", "gateway", want_gateway, NULL},
	[AGENTS] = {"agents", "agent", want_agent, NULL},
	[HOSTS] = {"hosts", "host", NULL, &kk_apply_hosts},
	[GROUPS] = {"groups", "group", NULL, &kk_apply_groups},
	[SERVICES] = {"services", "service", want_service, NULL},
	[RULES] = {"rules", "rule", NULL, &kk_apply_rules},
};

/* Names as keys; -EINVAL for what is no list of objects with names, or has one twice. */
static int index_names(struct apply *a, const struct kind *kind, const json_t *list, json_t **ret)
{
	KK_CLEANUP_JSON json_t *names = json_object();
	struct kk_err *err = &a->call->err;
	json_t *obj;
	size_t i;

	if (list && !json_is_array(list))
		return kk_err_set(err, EINVAL, kind->list, "%s: is not a list", kind->list);
	json_array_foreach((json_t *)list, i, obj) {
		const char *name = json_string_value(json_object_get(obj, "name"));

		if (!name)
			return kk_err_set(err, EINVAL, kind->list,
					  "%s: number %zu is no object with a name", kind->list,
					  i + 1);
		if (json_object_get(names, name))
			return kk_err_set(err, EINVAL, kind->list, "%s: %.64s is there twice",
					  kind->list, name);
		if (json_object_set_new(names, name, json_true()))
			return no_memory(a);
	}
	*ret = KK_STEAL(names);
	return 0;
}

static int want_all(struct apply *a, const struct kind *kind, const json_t *list)
{
	json_t *obj;
	size_t i;
	int r = 0;

	json_array_foreach((json_t *)list, i, obj) {
		r = kind->value
			    ? kind->value->want(a->control->store, obj, a->changes, &a->call->err)
			    : kind->want(a, obj);
		if (r < 0)
			break;
	}
	return r;
}

/* ---- what is not wanted any more ---- */

struct unwanted {
	const json_t *names; /* of those that are wanted */
	json_t *found;
};

int kk_apply_unwanted(const json_t *wanted, json_t *found, const char *name)
{
	if (json_object_get(wanted, name))
		return 0;
	return json_array_append_new(found, json_string(name)) ? -ENOMEM : 0;
}

static int find_name(struct unwanted *u, const char *name)
{
	return kk_apply_unwanted(u->names, u->found, name);
}

static int find_gateway(const struct kk_gateway_row *row, void *userdata)
{
	return find_name(userdata, row->name);
}

static int find_agent(const struct kk_agent_row *row, void *userdata)
{
	return find_name(userdata, row->name);
}

static int find_service(const struct kk_service_row *row, void *userdata)
{
	return find_name(userdata, row->name);
}

static int prune_service(struct apply *a, const char *name)
{
	struct kk_service_row row;
	int r = kk_store_service_get(a->control->store, name, &row, &a->call->err);

	return r < 0 ? r : remove_service(a, &row);
}

static int prune_gateway(struct apply *a, const char *name)
{
	int r = kk_store_gateway_remove(a->control->store, name, &a->call->err);

	return r < 0 ? r : note(a, "remove", "gateway", name, NULL, NULL);
}

static int prune_agent(struct apply *a, const char *name)
{
	int r = kk_store_agent_remove(a->control->store, name, &a->call->err);

	return r < 0 ? r : note(a, "remove", "agent", name, NULL, NULL);
}

static int find_unwanted(struct apply *a, size_t kind, struct unwanted *u)
{
	struct kk_store *store = a->control->store;
	struct kk_err *err = &a->call->err;

	if (kinds[kind].value)
		return kinds[kind].value->find(store, u->names, u->found, err);
	if (kind == GATEWAYS)
		return kk_store_gateway_list(store, find_gateway, u, err);
	if (kind == AGENTS)
		return kk_store_agent_list(store, find_agent, u, err);
	return kk_store_service_list(store, 0, find_service, u, err);
}

static int prune_one(struct apply *a, size_t kind, const char *name)
{
	if (kinds[kind].value)
		return kinds[kind].value->remove(a->control->store, name, a->changes,
						 &a->call->err);
	return kind == GATEWAYS ? prune_gateway(a, name)
	       : kind == AGENTS ? prune_agent(a, name)
				: prune_service(a, name);
}

/* What a list that is not given at all says is nothing, so nothing of its kind is removed. */
static int prune(struct apply *a, size_t kind, const json_t *const lists[], json_t *const names[])
{
	KK_CLEANUP_JSON json_t *found = json_array();
	struct unwanted u = {names[kind], found};
	json_t *name;
	size_t i;
	int r;

	if (!a->prune || !lists[kind])
		return 0;
	r = find_unwanted(a, kind, &u);
	json_array_foreach(found, i, name) {
		if (r < 0)
			break;
		r = prune_one(a, kind, json_string_value(name));
	}
	return r;
}

/*
 * Services that go make room for those that come, without the rules that name them; Agents have to be there before
 * their services and after them, and so have hosts and groups with their rules.
 */
static int run_lists(struct apply *a, const json_t *const lists[], json_t *const names[])
{
	static const size_t after[] = {GROUPS, HOSTS, AGENTS, GATEWAYS};
	int r = prune(a, RULES, lists, names);

	if (r == 0)
		r = prune(a, SERVICES, lists, names);
	for (size_t i = GATEWAYS; i <= SERVICES && r == 0; i++)
		r = want_all(a, &kinds[i], lists[i]);
	if (r == 0)
		r = want_later(a);
	if (r == 0)
		r = want_all(a, &kinds[RULES], lists[RULES]);
	for (size_t i = 0; i < ARRAY_SIZE(after) && r == 0; i++)
		r = prune(a, after[i], lists, names);
	return r;
}

static int run(struct apply *a, const struct fields *f)
{
	const json_t *lists[] = {
		[GATEWAYS] = f->gateways, [AGENTS] = f->agents,	    [HOSTS] = f->hosts,
		[GROUPS] = f->groups,	  [SERVICES] = f->services, [RULES] = f->rules,
	};
	json_t *names[ARRAY_SIZE(kinds)] = {NULL};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(kinds) && r == 0; i++)
		r = index_names(a, &kinds[i], lists[i], &names[i]);
	if (r == 0)
		r = run_lists(a, lists, names);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		json_decref(names[i]);
	return r;
}

static int apply(struct apply *a, bool dry_run)
{
	struct kk_call *call = a->call;
	struct fields f = {0};
	json_t *answer;
	int r = kk_json_read(call->body, apply_fields, ARRAY_SIZE(apply_fields), &f, &call->err);

	if (r == 0)
		r = run(a, &f);
	if (r < 0)
		return r;
	answer = json_pack("{s:O, s:b, s:I}", "changes", a->changes, "dry_run", (int)dry_run,
			   "generation", (json_int_t)kk_store_latest(call->control->store));
	call->dry_run = dry_run;
	r = kk_call_answer(call, 200, answer);
	if (r < 0 || dry_run)
		return r;
	call->nodes_removed = a->prune;
	return kk_call_wait(call, KK_STEAL(a->undo), a->n_undo);
}

int kk_apply(struct kk_call *call)
{
	struct apply a = {.call = call, .control = call->control, .changes = json_array()};
	bool dry_run = false;
	int r = kk_call_flag(call, "dry_run", &dry_run);

	if (r == 0)
		r = kk_call_flag(call, "prune", &a.prune);
	if (r == 0 && !a.changes)
		r = no_memory(&a);
	if (r == 0)
		r = apply(&a, dry_run);
	json_decref(a.changes);
	free(a.undo);
	free(a.later);
	return r;
}
