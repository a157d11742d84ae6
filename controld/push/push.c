// SPDX-License-Identifier: MIT
#include "controld/push/push.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controld/push/delta.h"
#include "controld/push/internal.h"
#include "util/log.h"

#define RETRY_US (10 * 1000000ull) /* before a node is sent again what it refused */
/*
 * Between one round of messages and the next: the first change is sent at once, and what comes thick and fast
 * goes together.
 */
#define FLUSH_US   10000ull
#define TRIM_BYTES (256u << 10) /* one report of a gateway with thousands of Agents */
#define GREET_US   2000ull	/* for others' hellos to come */

struct kk_node *kk_push_node(struct kk_push *push, enum kk_kind role, int64_t id)
{
	return (size_t)id < push->nodes[role].size ? push->nodes[role].by_id[id] : NULL;
}

static int make_room(struct kk_push *push, enum kk_kind role, int64_t id)
{
	size_t old = push->nodes[role].size, size = old ? old : 16;
	struct kk_node **bigger;

	while (size <= (size_t)id)
		size *= 2;
	if (size == old)
		return 0;
	bigger = reallocarray(push->nodes[role].by_id, size, sizeof(struct kk_node *));
	if (!bigger)
		return -ENOMEM;
	memset(bigger + old, 0, (size - old) * sizeof(struct kk_node *));
	push->nodes[role].by_id = bigger;
	push->nodes[role].size = size;
	return 0;
}

/* Its organisation and its name. */
static int read_node(struct kk_push *push, struct kk_node *node)
{
	struct kk_gateway_row g;
	struct kk_agent_row a;
	int r;

	if (node->role == KK_GATEWAY) {
		r = kk_store_gateway_get_id(push->store, node->id, &g, NULL);
		node->org = g.org;
		strcpy(node->name, r == 0 ? g.name : "");
	} else {
		r = kk_store_agent_get_id(push->store, node->id, &a, NULL);
		node->org = a.org;
		strcpy(node->name, r == 0 ? a.name : "");
	}
	return r;
}

static struct kk_node *make_node(struct kk_push *push, enum kk_kind role, int64_t id)
{
	struct kk_node *node = kk_push_node(push, role, id);

	if (node)
		return node;
	if (make_room(push, role, id) < 0)
		return NULL;
	node = calloc(1, sizeof(*node));
	if (!node)
		return NULL;
	node->push = push;
	node->role = role;
	node->id = id;
	node->fd = -1;
	if (read_node(push, node) < 0) {
		free(node);
		return NULL;
	}
	push->nodes[role].by_id[id] = node;
	return node;
}

void kk_node_enter(const struct kk_node *node)
{
	char who[KK_NAME_MAX + 16];

	snprintf(who, sizeof(who), "%s %s", node->role == KK_GATEWAY ? "gateway" : "agent",
		 node->name);
	kk_store_enter(node->push->store, node->org, who, node->from);
}

bool kk_node_has(const struct kk_node *node, int64_t generation)
{
	/* One that nothing has changed for carries what is newest, whatever it was sent last. */
	return node->acked >= generation ||
	       (node->acked && !node->dirty && !node->sent && !node->refused);
}

static uint64_t now_us(struct kk_push *push)
{
	uint64_t now = 0;

	sd_event_now(push->event, CLOCK_MONOTONIC, &now);
	return now;
}

static void start_timer(sd_event_source *source, uint64_t at)
{
	int enabled = SD_EVENT_OFF;

	sd_event_source_get_enabled(source, &enabled);
	if (enabled != SD_EVENT_OFF)
		return;
	sd_event_source_set_time(source, at);
	sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

void kk_node_due(struct kk_node *node)
{
	node->dirty = true;
	if (node->due)
		return;
	node->due = true;
	TAILQ_INSERT_TAIL(&node->push->due, node, link);
	start_timer(node->push->flush, node->push->flushed + FLUSH_US);
}

void kk_node_greeted(struct kk_node *node)
{
	struct kk_push *push = node->push;

	if (node->greeting)
		return;
	node->greeting = true;
	if (TAILQ_EMPTY(&push->greeting))
		start_timer(push->greet, now_us(push) + GREET_US);
	TAILQ_INSERT_TAIL(&push->greeting, node, greeting_link);
}

static void mark(struct kk_node *node)
{
	if (node && node->ws)
		kk_node_due(node);
}

static void mark_all(struct kk_push *push, enum kk_kind role, int64_t org)
{
	for (size_t id = 0; id < push->nodes[role].size; id++) {
		struct kk_node *node = push->nodes[role].by_id[id];

		if (node && node->org == org)
			mark(node);
	}
}

/* As kk_delta_concerns() has it. */
static void on_change(const struct kk_change *changes, size_t n, void *userdata)
{
	struct kk_push *push = userdata;
	int64_t marked[2] = {0, 0}; /* the organisation all of whose gateways, Agents are */

	kk_shared_clean(&push->shared);
	for (size_t i = 0; i < n; i++) {
		const struct kk_change *c = &changes[i];
		enum kk_kind all = c->kind == KK_GATEWAY ? KK_AGENT : KK_GATEWAY;
		enum kk_kind one = c->kind == KK_GATEWAY ? KK_GATEWAY : KK_AGENT;
		struct kk_node *node =
			kk_push_node(push, one, c->kind == KK_SERVICE ? c->agent : c->id);

		/* What follows from the others for the gateways is among the changes, too. */
		if (c->kind > KK_BAN)
			continue;
		/* Rules and bans are of gateways alone. */
		if (c->kind <= KK_SERVICE && node && node->org == c->org) {
			node->self |= c->kind != KK_SERVICE;
			mark(node);
		}
		if (marked[all] == c->org)
			continue;
		marked[all] = c->org;
		mark_all(push, all, c->org);
	}
}

/*
 * A commit waits for the disk. A key that is lost with the power does no harm, since its node says it again, but
 * nobody may hear of it before it is noted.
 */
static int on_greet(sd_event_source *source, uint64_t usec, void *userdata)
{
	TAILQ_HEAD(, kk_node) nodes = TAILQ_HEAD_INITIALIZER(nodes);
	struct kk_push *push = userdata;
	struct kk_err err = {0};
	struct kk_node *node;
	int r = kk_store_begin(push->store, &err), begun = r;

	(void)source;
	(void)usec;
	while ((node = TAILQ_FIRST(&push->greeting))) {
		struct kk_err own = {0};
		int s = 0;

		TAILQ_REMOVE(&push->greeting, node, greeting_link);
		node->greeting = false;
		if (begun == 0) {
			kk_node_enter(node);
			s = kk_store_node_set_key(push->store, node->role, node->id,
						  node->public_key, &own);
		}
		if (s < 0)
			kk_node_welcome(node, s, &own);
		else
			TAILQ_INSERT_TAIL(&nodes, node, greeting_link);
	}
	if (begun == 0)
		r = kk_store_end(push->store, r, &err);
	while ((node = TAILQ_FIRST(&nodes))) {
		TAILQ_REMOVE(&nodes, node, greeting_link);
		kk_node_welcome(node, r, &err);
	}
	return 0;
}

void kk_push_flush(struct kk_push *push)
{
	struct kk_node *node;

	push->flushed = now_us(push);
	kk_store_read_begin(push->store);
	while ((node = TAILQ_FIRST(&push->due))) {
		TAILQ_REMOVE(&push->due, node, link);
		node->due = false;
		if (node->ready && node->dirty && !node->sent)
			kk_node_update(node);
	}
	kk_store_read_end(push->store);
	kk_pending_check(push);
}

static int on_flush(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	kk_push_flush(userdata);
	return 0;
}

/* What many large messages needed for a moment stays with the process otherwise. */
static void give_back(struct kk_push *push)
{
	if (push->handled < TRIM_BYTES)
		return;
	push->handled = 0;
	malloc_trim(0);
}

/* What a node refused for a passing reason it may take later. */
static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct kk_push *push = userdata;

	for (enum kk_kind role = KK_GATEWAY; role <= KK_AGENT; role++) {
		for (size_t id = 0; id < push->nodes[role].size; id++) {
			struct kk_node *node = push->nodes[role].by_id[id];

			if (node && node->ready && node->refused && !node->sent)
				kk_node_due(node);
		}
	}
	kk_shared_clean(&push->shared);
	give_back(push);
	sd_event_source_set_time(source, usec + RETRY_US);
	sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	return 0;
}

static int add_timer(struct kk_push *push, sd_event_source **source,
		     sd_event_time_handler_t handler)
{
	int r = sd_event_add_time(push->event, source, CLOCK_MONOTONIC, 0, 1, handler, push);

	return r < 0 ? r : sd_event_source_set_enabled(*source, SD_EVENT_OFF);
}

int kk_push_new(sd_event *event, struct kk_store *store, struct kk_push **ret)
{
	struct kk_push *push = calloc(1, sizeof(*push));
	int r;

	if (!push)
		return -ENOMEM;
	push->event = sd_event_ref(event);
	push->store = store;
	TAILQ_INIT(&push->pending);
	TAILQ_INIT(&push->due);
	TAILQ_INIT(&push->greeting);
	r = kk_poll_new(event, &push->poll);
	if (r >= 0)
		r = add_timer(push, &push->flush, on_flush);
	if (r >= 0)
		r = add_timer(push, &push->greet, on_greet);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &push->retry, CLOCK_MONOTONIC, RETRY_US,
					       1000000, on_retry, push);
	if (r >= 0)
		r = kk_pending_init(push);
	if (r < 0) {
		kk_push_free(push);
		return r;
	}
	kk_store_on_change(store, on_change, push);
	*ret = push;
	return 0;
}

static void free_node(struct kk_node *node)
{
	if (node->due)
		TAILQ_REMOVE(&node->push->due, node, link);
	if (node->greeting)
		TAILQ_REMOVE(&node->push->greeting, node, greeting_link);
	kk_report_clean(&node->report);
	json_decref(node->refused);
	free(node);
}

void kk_push_free(struct kk_push *push)
{
	if (!push)
		return;
	kk_store_on_change(push->store, NULL, NULL);
	kk_pending_clean(push);
	kk_shared_clean(&push->shared);
	for (enum kk_kind role = KK_GATEWAY; role <= KK_AGENT; role++) {
		for (size_t id = 0; id < push->nodes[role].size; id++) {
			struct kk_node *node = push->nodes[role].by_id[id];

			if (!node)
				continue;
			kk_node_disconnect(node, 1001, "Control ends");
			free_node(node);
		}
		free(push->nodes[role].by_id);
	}
	sd_event_source_disable_unref(push->flush);
	sd_event_source_disable_unref(push->greet);
	kk_poll_free(push->poll);
	sd_event_source_disable_unref(push->retry);
	sd_event_source_disable_unref(push->timer);
	sd_event_unref(push->event);
	free(push);
}

void kk_push_open(struct kk_push *push, enum kk_kind role, int64_t id, const char *from,
		  struct kk_httpd_upgrade *connection, int fd)
{
	struct kk_node *node = make_node(push, role, id);

	if (!node) {
		kk_httpd_upgrade_close(connection);
		return;
	}
	if (node->ws)
		kk_node_disconnect(node, 1008, "replaced by another connection");
	snprintf(node->from, sizeof(node->from), "%s", from);
	if (kk_node_connect(node, connection, fd) < 0)
		kk_error("%s cannot be served: out of memory", node->name);
}

void kk_push_drop(struct kk_push *push, enum kk_kind role, int64_t id, const char *reason)
{
	struct kk_node *node = kk_push_node(push, role, id);

	if (!node || !node->ws)
		return;
	kk_node_disconnect(node, 1008, reason);
	kk_pending_check(push);
}

void kk_push_forget(struct kk_push *push, enum kk_kind role, int64_t id)
{
	struct kk_node *node = kk_push_node(push, role, id);

	if (!node)
		return;
	kk_node_disconnect(node, 1008, "removed");
	push->nodes[role].by_id[id] = NULL;
	free_node(node);
	kk_pending_check(push);
}

void kk_push_sweep(struct kk_push *push)
{
	for (enum kk_kind role = KK_GATEWAY; role <= KK_AGENT; role++) {
		for (size_t id = 0; id < push->nodes[role].size; id++) {
			struct kk_node *node = push->nodes[role].by_id[id];

			if (node && read_node(push, node) == -ENOENT)
				kk_push_forget(push, role, (int64_t)id);
		}
	}
}

void kk_push_state(struct kk_push *push, enum kk_kind role, int64_t id, struct kk_push_state *ret)
{
	struct kk_node *node = kk_push_node(push, role, id);
	int64_t now = kk_store_generation(push->store);

	*ret = (struct kk_push_state){.acked = -1};
	if (!node)
		return;
	ret->connected = node->ready || node->greeting;
	if (node->ready)
		ret->acked = kk_node_has(node, now) ? now : node->acked;
	ret->refused = node->refused;
}

size_t kk_push_report_len(struct kk_push *push, enum kk_kind role, int64_t id)
{
	const struct kk_node *node = kk_push_node(push, role, id);

	return node ? node->report.len : 0;
}

json_t *kk_push_report(struct kk_push *push, enum kk_kind role, int64_t id)
{
	const struct kk_node *node = kk_push_node(push, role, id);

	return node ? kk_report_json(&node->report) : NULL;
}

size_t kk_push_connected(struct kk_push *push, int64_t org, enum kk_kind role)
{
	size_t n = 0;

	for (size_t id = 0; id < push->nodes[role].size; id++) {
		const struct kk_node *node = push->nodes[role].by_id[id];

		n += node && (node->ready || node->greeting) && node->org == org;
	}
	return n;
}

void kk_push_count(struct kk_push *push, struct kk_push_counts *ret)
{
	*ret = (struct kk_push_counts){
		.messages = push->messages, .bytes = push->bytes, .snapshots = push->snapshots};
	for (enum kk_kind role = KK_GATEWAY; role <= KK_AGENT; role++) {
		for (size_t id = 0; id < push->nodes[role].size; id++) {
			struct kk_node *node = push->nodes[role].by_id[id];

			ret->connected[role] += node && node->ready;
		}
	}
}
