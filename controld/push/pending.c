// SPDX-License-Identifier: MIT
/* Changes on their way to the gateways: who waits for them, and undoing what a gateway rejects. */
#include "controld/push/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "controld/push/wire.h"
#include "util/cleanup.h"
#include "util/json.h"
#include "util/log.h"

#define FORGET_US (60 * 1000000ull) /* a nack that comes later undoes nothing any more */
#define SECOND_US 1000000ull
#define MANY	  1000 /* services of one change */

static uint64_t now_us(struct kk_push *push)
{
	uint64_t now = 0;

	sd_event_now(push->event, CLOCK_MONOTONIC, &now);
	return now;
}

/* ---- "applied" ---- */

#define NAMED_MAX 16 /* services of a change whose Agents are counted one by one */

struct applied {
	struct kk_push *push;
	const struct kk_push_change *change;
	int model;		 /* that the services of the change need */
	int nodes, acknowledged; /* of one role */
	json_t *waiting, *refused, *disconnected, *too_old;
};

static void count_node(struct applied *a, enum kk_kind role, int64_t id, const char *name)
{
	struct kk_node *node = kk_push_node(a->push, role, id);
	json_t *where = NULL;

	a->nodes++;
	if (!node || !node->ready)
		where = a->disconnected;
	else if (node->model < a->model)
		where = a->too_old; /* the service is kept from it, and it does not carry it */
	else if (kk_node_has(node, a->change->generation))
		a->acknowledged++;
	else
		where = node->refused ? a->refused : a->waiting;
	if (where)
		json_array_append_new(where, json_string(name));
}

/* One that never joined carries nothing and is waited for by nobody. */
static int count_gateway(const struct kk_gateway_row *row, void *userdata)
{
	if (row->joined)
		count_node(userdata, KK_GATEWAY, row->id, row->name);
	return 0;
}

static void count_agent(struct applied *a, json_t *seen, const struct kk_member *member)
{
	struct kk_agent_row row;

	if (json_object_get(seen, member->name))
		return;
	json_object_set_new(seen, member->name, json_true());
	if (kk_store_agent_get_id(a->push->store, member->agent, &row, NULL) == 0 && row.joined)
		count_node(a, KK_AGENT, row.id, row.name);
}

/* The Agents of the services that were changed: those they had and those they have. */
static void count_agents(struct applied *a)
{
	KK_CLEANUP_JSON json_t *seen = json_object();

	if (a->change->n_undo > NAMED_MAX)
		return;
	for (size_t i = 0; i < a->change->n_undo; i++) {
		const struct kk_push_undo *undo = &a->change->undo[i];
		struct kk_service_row now;

		for (size_t m = 0; undo->existed && m < undo->before.n_members; m++)
			count_agent(a, seen, &undo->before.members[m]);
		if (kk_store_service_get_id(a->push->store, undo->service, &now, NULL) < 0)
			continue;
		for (size_t m = 0; m < now.n_members; m++)
			count_agent(a, seen, &now.members[m]);
	}
}

static void find_model(struct applied *a)
{
	for (size_t i = 0; i < a->change->n_undo && i < NAMED_MAX; i++) {
		struct kk_service_row now;

		if (kk_store_service_get_id(a->push->store, a->change->undo[i].service, &now,
					    NULL) == 0 &&
		    kk_wire_service_model(&now) > a->model)
			a->model = kk_wire_service_model(&now);
	}
}

/* Lists that are seldom anything but empty are there only then. */
static void add_list(json_t *obj, const char *key, json_t *list)
{
	if (json_array_size(list))
		json_object_set(obj, key, list);
	json_decref(list);
}

static json_t *describe_applied(struct kk_push *push, const struct kk_push_change *change)
{
	struct applied a = {.push = push,
			    .change = change,
			    .waiting = json_array(),
			    .refused = json_array(),
			    .disconnected = json_array(),
			    .too_old = json_array()};
	int64_t org = kk_store_set_org(push->store, change->org);
	int gateways, acknowledged;
	json_t *obj;

	find_model(&a);
	kk_store_gateway_list(push->store, count_gateway, &a, NULL);
	gateways = a.nodes;
	acknowledged = a.acknowledged;
	a.nodes = a.acknowledged = 0;
	count_agents(&a);
	kk_store_set_org(push->store, org);
	obj = json_pack("{s:i, s:i, s:i, s:i, s:o, s:o}", "gateways", gateways, "acknowledged",
			acknowledged, "agents", a.nodes, "agents_acknowledged", a.acknowledged,
			"waiting", a.waiting, "disconnected", a.disconnected);
	add_list(obj, "refused", a.refused);
	add_list(obj, "too_old", a.too_old);
	return obj;
}

/* ---- the list ---- */

static void settle(struct kk_push *push, struct kk_pending *p, const struct kk_err *refused)
{
	if (p->settled)
		return;
	p->settled = true;
	if (!p->change.settled)
		return;
	p->change.settled(refused ? NULL : describe_applied(push, &p->change), refused,
			  p->change.userdata);
}

static void drop(struct kk_push *push, struct kk_pending *p)
{
	TAILQ_REMOVE(&push->pending, p, link);
	free(p->change.undo);
	free(p);
}

static void set_timer(struct kk_push *push)
{
	uint64_t next = UINT64_MAX;
	struct kk_pending *p;

	TAILQ_FOREACH(p, &push->pending, link)
	{
		uint64_t at = p->settled ? p->forget_at : p->settle_by;

		if (at < next)
			next = at;
	}
	sd_event_source_set_time(push->timer, next);
	sd_event_source_set_enabled(push->timer,
				    next == UINT64_MAX ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct kk_push *push = userdata;
	struct kk_pending *p, *next;

	(void)source;
	for (p = TAILQ_FIRST(&push->pending); p; p = next) {
		next = TAILQ_NEXT(p, link);
		if (p->settle_by <= usec)
			settle(push, p, NULL);
		if (p->forget_at <= usec)
			drop(push, p);
	}
	set_timer(push);
	return 0;
}

/* An Agent that refused something has answered, and holds up nobody. */
static bool holds_up(const struct kk_node *node, int64_t org, int64_t now)
{
	return node && node->org == org && node->ready && !kk_node_has(node, now) &&
	       !(node->role == KK_AGENT && node->refused);
}

/* The generation that every connected node of the organisation carries, as far as it concerns it. */
static int64_t common_generation(struct kk_push *push, int64_t org)
{
	int64_t now = kk_store_generation(push->store), common = now;

	for (enum kk_kind role = KK_GATEWAY; role <= KK_AGENT; role++) {
		for (size_t id = 0; id < push->nodes[role].size; id++) {
			struct kk_node *node = push->nodes[role].by_id[id];

			if (holds_up(node, org, now) && node->acked < common)
				common = node->acked;
		}
	}
	return common;
}

static void check(struct kk_push *push)
{
	struct kk_pending *p, *next;
	int64_t org = 0, common = 0;

	for (p = TAILQ_FIRST(&push->pending); p; p = next) {
		next = TAILQ_NEXT(p, link);
		if (p->change.org != org) {
			org = p->change.org;
			common = common_generation(push, org);
		}
		if (p->change.generation > common)
			continue;
		settle(push, p, NULL);
		drop(push, p);
	}
	set_timer(push);
}

/* Thousands of nodes that answer one after the other are looked at together, after each turn of their lines. */
static int on_check(sd_event_source *source, void *userdata)
{
	(void)source;
	check(userdata);
	return 0;
}

void kk_pending_check(struct kk_push *push)
{
	if (!TAILQ_EMPTY(&push->pending))
		sd_event_source_set_enabled(push->check, SD_EVENT_ONESHOT);
}

int kk_push_wait(struct kk_push *push, const struct kk_push_change *change)
{
	struct kk_pending *p = calloc(1, sizeof(*p));
	uint64_t now = now_us(push);

	if (!p) {
		free(change->undo);
		return -ENOMEM;
	}
	p->change = *change;
	p->settle_by = now + change->wait_s * SECOND_US;
	p->forget_at = now + FORGET_US + change->wait_s * SECOND_US;
	TAILQ_INSERT_TAIL(&push->pending, p, link);
	/* An answer about thousands of services is long in the making: it is the nodes that are in a hurry. */
	if (!change->wait_s && change->n_undo > MANY)
		kk_push_flush(push);
	if (!change->wait_s)
		settle(push, p, NULL);
	check(push);
	return 0;
}

void kk_push_wait_cancel(struct kk_push *push, void *userdata)
{
	struct kk_pending *p;

	TAILQ_FOREACH(p, &push->pending, link)
	{
		if (p->change.userdata != userdata)
			continue;
		p->change.settled = NULL;
		p->change.userdata = NULL;
	}
}

/* ---- undoing ---- */

static bool changes_service(const struct kk_push_change *change, int64_t service)
{
	for (size_t i = 0; i < change->n_undo; i++)
		if (change->undo[i].service == service)
			return true;
	return false;
}

/* Whether the service has been changed again since, so that the older state is of no interest. */
static bool superseded(struct kk_push *push, int64_t service, int64_t generation)
{
	struct kk_service_row row;
	struct kk_pending *p;

	if (kk_store_service_get_id(push->store, service, &row, NULL) == 0 &&
	    row.generation > generation)
		return true;
	TAILQ_FOREACH(p, &push->pending, link)
	if (p->change.generation > generation && changes_service(&p->change, service))
		return true;
	return false;
}

static bool any_superseded(struct kk_push *push, const struct kk_push_change *change,
			   int64_t generation)
{
	for (size_t i = 0; i < change->n_undo; i++)
		if (superseded(push, change->undo[i].service, generation))
			return true;
	return false;
}

/* What is put back where it was may take the place of what is put back as well. */
static int release_all(struct kk_push *push, const struct kk_push_change *change,
		       struct kk_err *err)
{
	int r = 0;

	for (size_t i = 0; i < change->n_undo && r == 0; i++) {
		const struct kk_push_undo *undo = &change->undo[i];
		struct kk_service_row now;

		if (undo->existed &&
		    kk_store_service_get_id(push->store, undo->service, &now, NULL) == 0 &&
		    kk_service_row_moves(&now, &undo->before))
			r = kk_store_service_release(push->store, undo->service, err);
	}
	return r;
}

/*
 * First what was made goes and what was changed is put back, then what was removed comes again: what one of them
 * took, another may have had.
 */
static int restore_all(struct kk_push *push, struct kk_push_change *change, struct kk_err *err)
{
	int r = release_all(push, change, err);

	for (int existed = 0; existed <= 1; existed++) {
		for (size_t i = change->n_undo; i-- > 0 && r == 0;) {
			struct kk_push_undo *undo = &change->undo[i];

			if (undo->existed == existed)
				r = kk_store_service_restore(push->store, undo->service,
							     existed ? &undo->before : NULL, err);
		}
	}
	return r;
}

static void restore(struct kk_push *push, struct kk_pending *p, const struct kk_err *why)
{
	struct kk_err err = {0};
	int r = kk_store_begin(push->store, &err);

	if (r == 0)
		r = kk_store_end(push->store, restore_all(push, &p->change, &err), &err);
	if (r < 0)
		kk_error("generation %lld, which was rejected, cannot be undone: %s",
			 (long long)p->change.generation, err.msg);
	else
		kk_warn("generation %lld is undone: %s", (long long)p->change.generation, why->msg);
}

int kk_pending_undo(struct kk_push *push, const struct kk_node *node, int64_t from, int64_t to,
		    const struct kk_err *why)
{
	struct kk_pending_list undo = TAILQ_HEAD_INITIALIZER(undo);
	struct kk_pending *p, *next;
	int n = 0;

	if (node->role != KK_GATEWAY)
		return 0;
	for (p = TAILQ_FIRST(&push->pending); p; p = next) {
		next = TAILQ_NEXT(p, link);
		if (p->change.org != node->org || !p->change.n_undo ||
		    p->change.generation <= from || p->change.generation > to ||
		    any_superseded(push, &p->change, to))
			continue;
		TAILQ_REMOVE(&push->pending, p, link);
		/* The newest first, so that the oldest state is what remains. */
		TAILQ_INSERT_HEAD(&undo, p, link);
	}
	while ((p = TAILQ_FIRST(&undo))) {
		TAILQ_REMOVE(&undo, p, link);
		restore(push, p, why);
		settle(push, p, why);
		free(p->change.undo);
		free(p);
		n++;
	}
	set_timer(push);
	return n;
}

int kk_pending_init(struct kk_push *push)
{
	int r = sd_event_add_time(push->event, &push->timer, CLOCK_MONOTONIC, UINT64_MAX, 1000,
				  on_timer, push);

	if (r >= 0)
		r = sd_event_add_defer(push->event, &push->check, on_check, push);
	return r < 0 ? r : sd_event_source_set_enabled(push->check, SD_EVENT_OFF);
}

void kk_pending_clean(struct kk_push *push)
{
	struct kk_pending *p;

	push->check = sd_event_source_disable_unref(push->check);
	while ((p = TAILQ_FIRST(&push->pending)))
		drop(push, p);
}
