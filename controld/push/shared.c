// SPDX-License-Identifier: MIT
/* The texts that nodes are sent, of which gateways of one organisation are told most alike. */
#include "controld/push/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controld/push/delta.h"
#include "controld/push/snapshot.h"
#include "util/cleanup.h"
#include "util/json.h"

static int no_memory(struct kk_err *err)
{
	return kk_err_set(err, ENOMEM, NULL, "out of memory");
}

void kk_shared_clean(struct kk_shared *shared)
{
	for (size_t i = 0; i < ARRAY_SIZE(shared->deltas); i++)
		free(shared->deltas[i].text);
	for (size_t i = 0; i < ARRAY_SIZE(shared->lists); i++)
		free(shared->lists[i].text);
	*shared = (struct kk_shared){0};
}

/* The node's own, as text. */
static int make_delta(struct kk_push *push, const struct kk_node *node, char **ret,
		      struct kk_err *err)
{
	KK_CLEANUP_JSON json_t *msg = NULL;
	int r = kk_delta_make(push->store, node->role, node->id, node->model, node->acked, &msg,
			      err);

	if (r < 0)
		return r;
	*ret = msg ? kk_json_text(msg) : NULL;
	return msg && !*ret ? no_memory(err) : 0;
}

static struct kk_shared_text *find_delta(struct kk_shared *shared, const struct kk_node *node,
					 int64_t generation)
{
	for (size_t i = 0; i < ARRAY_SIZE(shared->deltas); i++) {
		struct kk_shared_text *d = &shared->deltas[i];

		if (d->org == node->org && d->model == node->model && d->from == node->acked &&
		    d->generation == generation)
			return d;
	}
	return NULL;
}

static int get_delta(struct kk_push *push, const struct kk_node *node, int64_t generation,
		     struct kk_message *ret, struct kk_err *err)
{
	struct kk_shared *shared = &push->shared;
	struct kk_shared_text *delta;
	char *text = NULL;
	int r;

	if (node->role != KK_GATEWAY || node->self) {
		r = make_delta(push, node, &ret->own, err);
		ret->text = ret->own;
		return r;
	}
	delta = find_delta(shared, node, generation);
	if (!delta) {
		r = make_delta(push, node, &text, err);
		if (r < 0)
			return r;
		delta = &shared->deltas[shared->next++ % ARRAY_SIZE(shared->deltas)];
		free(delta->text);
		*delta = (struct kk_shared_text){.org = node->org,
						 .from = node->acked,
						 .generation = generation,
						 .model = node->model,
						 .text = text};
	}
	ret->text = delta->text;
	return 0;
}

static int make_lists(struct kk_push *push, const struct kk_node *node, char **ret,
		      struct kk_err *err)
{
	KK_CLEANUP_JSON json_t *lists = NULL;
	int r = kk_snapshot_lists(push->store, node->role, node->id, node->model, &lists, err);

	if (r < 0)
		return r;
	*ret = kk_json_text(lists);
	return *ret ? 0 : no_memory(err);
}

/* *@ret is borrowed from @push, or the same as *@own. */
static int get_lists(struct kk_push *push, const struct kk_node *node, int64_t generation,
		     const char **ret, char **own, struct kk_err *err)
{
	struct kk_shared_text *lists = &push->shared.lists[node->model];
	char *text = NULL;
	int r = 0;

	if (node->role != KK_GATEWAY) {
		r = make_lists(push, node, own, err);
		*ret = *own;
		return r;
	}
	if (lists->org != node->org || lists->generation != generation) {
		r = make_lists(push, node, &text, err);
		if (r < 0)
			return r;
		free(lists->text);
		*lists = (struct kk_shared_text){
			.org = node->org, .generation = generation, .text = text};
	}
	*ret = lists->text;
	return 0;
}

static int get_snapshot(struct kk_push *push, const struct kk_node *node, int64_t generation,
			struct kk_message *ret, struct kk_err *err)
{
	KK_CLEANUP_JSON json_t *head = NULL;
	KK_CLEANUP_FREE char *text = NULL, *own = NULL;
	const char *lists = NULL;
	size_t len;
	int r = kk_snapshot_head(push->store, node->role, node->id, node->model, &head, err);

	if (r == 0)
		r = get_lists(push, node, generation, &lists, &own, err);
	if (r < 0)
		return r;
	text = kk_json_text(head);
	len = text ? strlen(text) : 0;
	ret->own = len ? malloc(len + strlen(lists) + 1) : NULL;
	if (!ret->own)
		return no_memory(err);
	/* Both are objects: one's closing brace and the other's opening one become a comma. */
	memcpy(ret->own, text, len - 1);
	ret->own[len - 1] = ',';
	strcpy(ret->own + len, lists + 1);
	ret->text = ret->own;
	push->snapshots++;
	return 0;
}

int kk_shared_message(struct kk_push *push, const struct kk_node *node, struct kk_message *ret,
		      int64_t *ret_generation, struct kk_err *err)
{
	int64_t generation = kk_store_generation(push->store);
	int r = -ESTALE;

	*ret_generation = generation;
	if (node->acked)
		r = get_delta(push, node, generation, ret, err);
	if (r == -ESTALE)
		r = get_snapshot(push, node, generation, ret, err);
	return r;
}
