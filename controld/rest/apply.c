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
	json_t *gateways, *agents, *peers, *services, *hosts, *groups, *rules;
};

static const struct kk_json_field apply_fields[] = {
	KK_JSON_FIELD("gateways", KK_JSON_ANY, 0, struct fields, gateways),
	KK_JSON_FIELD("agents", KK_JSON_ANY, 0, struct fields, agents),
	KK_JSON_FIELD("peers", KK_JSON_ANY, 0, struct fields, peers),
	KK_JSON_FIELD("services", KK_JSON_ANY, 0, struct fields, services),
	KK_JSON_FIELD("hosts", KK_JSON_ANY, 0, struct fields, hosts),
	KK_JSON_FIELD("groups", KK_JSON_ANY, 0, struct fields, groups),
	KK_JSON_FIELD("rules", KK_JSON_ANY, 0, struct fields, rules),
};

int kk_apply_no_memory(struct kk_apply *a)
{
	return kk_err_set(&a->call->err, ENOMEM, NULL, "out of memory");
}

void *kk_apply_room(void **list, size_t n, size_t *room, size_t size)
{
	if (n == *room) {
		size_t more = *room ? *room * 2 : 16;
		void *bigger = reallocarray(*list, more, size);

		if (!bigger)
			return NULL;
		*list = bigger;
		*room = more;
	}
	return (char *)*list + n * size;
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

/* ---- lists ---- */

struct kind {
	const char *list, *name;
	const struct kk_apply_kind *kind;
	const struct kk_apply_value *value; /* in place of @kind */
};

/* In the order in which they are made; what is not wanted any more goes in the reverse one. */
enum {
	GATEWAYS,
	AGENTS,
	PEERS,
	HOSTS,
	GROUPS,
	SERVICES,
	RULES,
};

static const struct kind kinds[] = {
	[GATEWAYS] = {"gateways", "gateway", &kk_apply_gateways, NULL},
	[AGENTS] = {"agents", "agent", &kk_apply_agents, NULL},
	[PEERS] = {"peers", "peer", &kk_apply_peers, NULL},
	[HOSTS] = {"hosts", "host", NULL, &kk_apply_hosts},
	[GROUPS] = {"groups", "group", NULL, &kk_apply_groups},
	[SERVICES] = {"services", "service", &kk_apply_services, NULL},
	[RULES] = {"rules", "rule", NULL, &kk_apply_rules},
};

/* Names as keys; -EINVAL for what is no list of objects with names, or has one twice. */
static int index_names(struct kk_apply *a, const struct kind *kind, const json_t *list,
		       json_t **ret)
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
			return kk_apply_no_memory(a);
	}
	*ret = KK_STEAL(names);
	return 0;
}

static int want_all(struct kk_apply *a, const struct kind *kind, const json_t *list)
{
	json_t *obj;
	size_t i;
	int r = 0;

	json_array_foreach((json_t *)list, i, obj) {
		r = kind->value
			    ? kind->value->want(a->control->store, obj, a->changes, &a->call->err)
			    : kind->kind->want(a, obj);
		if (r < 0)
			break;
	}
	return r;
}

/* ---- what is not wanted any more ---- */

int kk_apply_unwanted(const json_t *wanted, json_t *found, const char *name)
{
	if (json_object_get(wanted, name))
		return 0;
	return json_array_append_new(found, json_string(name)) ? -ENOMEM : 0;
}

static int find_unwanted(struct kk_apply *a, const struct kind *kind, const json_t *wanted,
			 json_t *found)
{
	return kind->value ? kind->value->find(a->control->store, wanted, found, &a->call->err)
			   : kind->kind->find(a, wanted, found);
}

static int prune_one(struct kk_apply *a, const struct kind *kind, const char *name)
{
	return kind->value ? kind->value->remove(a->control->store, name, a->changes, &a->call->err)
			   : kind->kind->remove(a, name);
}

/* What a list that is not given at all says is nothing, so nothing of its kind is removed. */
static int prune(struct kk_apply *a, size_t kind, const json_t *const lists[],
		 json_t *const names[])
{
	KK_CLEANUP_JSON json_t *found = json_array();
	json_t *name;
	size_t i;
	int r;

	if (!a->prune || !lists[kind])
		return 0;
	r = find_unwanted(a, &kinds[kind], names[kind], found);
	json_array_foreach(found, i, name) {
		if (r < 0)
			break;
		r = prune_one(a, &kinds[kind], json_string_value(name));
	}
	return r;
}

/*
 * Services that go make room for those that come, without the rules that name them; Agents have to be there before
 * their services and after them, and so have hosts and groups with their rules.
 */
static int run_lists(struct kk_apply *a, const json_t *const lists[], json_t *const names[])
{
	static const size_t after[] = {GROUPS, HOSTS, PEERS, AGENTS, GATEWAYS};
	int r = prune(a, RULES, lists, names);

	if (r == 0)
		r = prune(a, SERVICES, lists, names);
	for (size_t i = GATEWAYS; i <= SERVICES && r == 0; i++) {
		r = want_all(a, &kinds[i], lists[i]);
		if (r == 0 && i == GATEWAYS)
			r = kk_apply_gateways_later(a);
	}
	if (r == 0)
		r = kk_apply_services_later(a);
	/* Services may have followed a gateway to its new address. */
	if (r == 0 && a->moved)
		r = kk_store_gateways_check(a->control->store, &a->call->err);
	if (r == 0)
		r = want_all(a, &kinds[RULES], lists[RULES]);
	for (size_t i = 0; i < ARRAY_SIZE(after) && r == 0; i++)
		r = prune(a, after[i], lists, names);
	return r;
}

static int run(struct kk_apply *a, const struct fields *f)
{
	const json_t *lists[] = {
		[GATEWAYS] = f->gateways, [AGENTS] = f->agents, [PEERS] = f->peers,
		[HOSTS] = f->hosts,	  [GROUPS] = f->groups, [SERVICES] = f->services,
		[RULES] = f->rules,
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

static int apply(struct kk_apply *a, bool dry_run)
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
	struct kk_apply a = {.call = call, .control = call->control, .changes = json_array()};
	bool dry_run = false;
	int r = kk_call_flag(call, "dry_run", &dry_run);

	if (r == 0)
		r = kk_call_flag(call, "prune", &a.prune);
	if (r == 0 && !a.changes)
		r = kk_apply_no_memory(&a);
	if (r == 0)
		r = apply(&a, dry_run);
	json_decref(a.changes);
	free(a.undo);
	free(a.later);
	free(a.gateways);
	return r;
}
