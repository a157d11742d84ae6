// SPDX-License-Identifier: MIT
/* The texts that nodes are sent, of which gateways of one organisation are told most alike. */
#include "controld/push/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controld/push/message.h"
#include "util/cleanup.h"
#include "util/json.h"

static int no_memory(struct kk_err *err)
{
	return kk_err_set(err, ENOMEM, NULL, "out of memory");
}

void kk_shared_clean(struct kk_shared *shared)
{
	free(shared->delta.text);
	free(shared->lists.text);
	*shared = (struct kk_shared){0};
}

/* Old gateways are told less. */
static bool is_shared(const struct kk_node *node)
{
	return node->role == KK_GATEWAY && node->model == KK_MODEL;
}

/* The node's own, as text. */
static int make_delta(struct kk_push *push, const struct kk_node *node, char **ret,
		      struct kk_err *err)
{
	KK_CLEANUP_JSON json_t *msg = NULL;
	int r = kk_message_delta(push->store, node->role, node->id, node->model, node->acked, &msg,
				 err);

	if (r < 0)
		return r;
	*ret = msg ? kk_json_text(msg) : NULL;
	return msg && !*ret ? no_memory(err) : 0;
}

static int copy(const char *text, char **ret, struct kk_err *err)
{
	*ret = text ? strdup(text) : NULL;
	return text && !*ret ? no_memory(err) : 0;
}

static int get_delta(struct kk_push *push, const struct kk_node *node, int64_t generation,
		     char **ret, struct kk_err *err)
{
	struct kk_shared *shared = &push->shared;
	int r;

	if (!is_shared(node) || node->self)
		return make_delta(push, node, ret, err);
	if (shared->delta.org == node->org && shared->delta.from == node->acked &&
	    shared->delta.generation == generation)
		return copy(shared->delta.text, ret, err);
	r = make_delta(push, node, ret, err);
	if (r < 0)
		return r;
	free(shared->delta.text);
	shared->delta.org = 0;
	r = copy(*ret, &shared->delta.text, err);
	if (r < 0)
		return r;
	shared->delta.org = node->org;
	shared->delta.from = node->acked;
	shared->delta.generation = generation;
	return 0;
}

static int get_lists(struct kk_push *push, const struct kk_node *node, int64_t generation,
		     struct kk_err *err)
{
	KK_CLEANUP_JSON json_t *lists = NULL;
	struct kk_shared *shared = &push->shared;
	int r;

	if (is_shared(node) && shared->lists.org == node->org &&
	    shared->lists.generation == generation)
		return 0;
	r = kk_message_lists(push->store, node->role, node->id, node->model, &lists, err);
	if (r < 0)
		return r;
	free(shared->lists.text);
	shared->lists.text = kk_json_text(lists);
	/* An Agent's lists are its own. */
	shared->lists.org = is_shared(node) ? node->org : 0;
	shared->lists.generation = generation;
	return shared->lists.text ? 0 : no_memory(err);
}

static int get_snapshot(struct kk_push *push, const struct kk_node *node, int64_t generation,
			char **ret, struct kk_err *err)
{
	KK_CLEANUP_JSON json_t *head = NULL;
	KK_CLEANUP_FREE char *text = NULL;
	const char *lists;
	size_t len;
	int r = kk_message_head(push->store, node->role, node->id, node->model, &head, err);

	if (r == 0)
		r = get_lists(push, node, generation, err);
	if (r < 0)
		return r;
	text = kk_json_text(head);
	lists = push->shared.lists.text;
	len = text ? strlen(text) : 0;
	*ret = len ? malloc(len + strlen(lists) + 1) : NULL;
	if (!*ret)
		return no_memory(err);
	/* Both are objects: one's closing brace and the other's opening one become a comma. */
	memcpy(*ret, text, len - 1);
	(*ret)[len - 1] = ',';
	strcpy(*ret + len, lists + 1);
	push->snapshots++;
	return 0;
}

int kk_shared_message(struct kk_push *push, const struct kk_node *node, char **ret,
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
