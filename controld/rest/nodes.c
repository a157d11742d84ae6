// SPDX-License-Identifier: MIT
/* What can be done with gateways and Agents alike; what differs is told by the operation's kind. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "controld/rest/operations.h"

/* A row of either. */
struct node {
	enum kk_kind kind;
	union {
		struct kk_gateway_row gateway;
		struct kk_agent_row agent;
	};
};

static json_t *node_json(struct kk_call *call, const struct node *node)
{
	return node->kind == KK_GATEWAY ? kk_gateway_json(call->control, &node->gateway)
					: kk_agent_json(call->control, &node->agent);
}

static int64_t node_id(const struct node *node)
{
	return node->kind == KK_GATEWAY ? node->gateway.id : node->agent.id;
}

static const char *node_name(const struct node *node)
{
	return node->kind == KK_GATEWAY ? node->gateway.name : node->agent.name;
}

static int64_t node_generation(const struct node *node)
{
	return node->kind == KK_GATEWAY ? node->gateway.generation : node->agent.generation;
}

/* The node that the path names, as If-Match wants it. */
static int get(struct kk_call *call, struct node *node)
{
	struct kk_store *store = call->control->store;
	int r;

	node->kind = call->op->kind;
	r = node->kind == KK_GATEWAY
		    ? kk_store_gateway_get(store, call->name, &node->gateway, &call->err)
		    : kk_store_agent_get(store, call->name, &node->agent, &call->err);
	return r < 0 ? r : kk_call_match(call, node_id(node), node_generation(node));
}

static int add(struct kk_call *call, struct node *node)
{
	struct kk_control *control = call->control;
	struct kk_err *err = &call->err;
	int r;

	node->kind = call->op->kind;
	if (node->kind == KK_GATEWAY) {
		r = kk_gateway_read(control, call->body, &node->gateway, err);
		return r < 0 ? r : kk_store_gateway_add(control->store, &node->gateway, err);
	}
	r = kk_agent_read(control, call->body, &node->agent, err);
	return r < 0 ? r : kk_store_agent_add(control->store, &node->agent, err);
}

int kk_nodes_add(struct kk_call *call)
{
	struct kk_token_row token = {.role = call->op->kind, .uses = 1};
	KK_CLEANUP_FREE char *text = NULL;
	struct node node = {0};
	json_t *answer;
	int r = add(call, &node);

	if (r < 0)
		return r;
	strcpy(token.node, node_name(&node));
	r = kk_token_make(call->control, &token, KK_TOKEN_EXPIRES_S, &text, &call->err);
	if (r < 0)
		return r;
	answer = node_json(call, &node);
	json_object_set_new(answer, "join_token", json_string(text));
	return kk_call_answer(call, 201, answer);
}

static int append_gateway(const struct kk_gateway_row *row, void *userdata)
{
	struct kk_page *page = userdata;

	if (!kk_page_wants(page, row->id))
		return 0;
	return kk_page_add(page, row->id, kk_gateway_json(page->call->control, row));
}

static int append_agent(const struct kk_agent_row *row, void *userdata)
{
	struct kk_page *page = userdata;

	if (!kk_page_wants(page, row->id))
		return 0;
	return kk_page_add(page, row->id, kk_agent_json(page->call->control, row));
}

int kk_nodes_list(struct kk_call *call)
{
	struct kk_store *store = call->control->store;
	struct kk_page page;
	int r = kk_page_start(&page, call);

	if (r < 0)
		return r;
	r = call->op->kind == KK_GATEWAY
		    ? kk_store_gateway_list(store, append_gateway, &page, &call->err)
		    : kk_store_agent_list(store, append_agent, &page, &call->err);
	return kk_page_answer(&page, r);
}

int kk_nodes_show(struct kk_call *call)
{
	struct node node;
	int r = get(call, &node);

	return r < 0 ? r : kk_call_answer(call, 200, node_json(call, &node));
}

int kk_nodes_remove(struct kk_call *call)
{
	struct kk_store *store = call->control->store;
	struct node node;
	int r = get(call, &node);

	if (r == 0)
		r = node.kind == KK_GATEWAY ? kk_store_gateway_remove(store, call->name, &call->err)
					    : kk_store_agent_remove(store, call->name, &call->err);
	if (r < 0)
		return r;
	call->cut.wanted = call->cut.forget = true;
	call->cut.role = node.kind;
	call->cut.id = node_id(&node);
	r = kk_call_answer(call, 200, kk_call_generation(call));
	return r < 0 ? r : kk_call_wait(call, NULL, 0);
}

int kk_nodes_revoke(struct kk_call *call)
{
	enum kk_kind kind = call->op->kind;
	int64_t id;
	int r = kk_store_node_revoke(call->control->store, kind, call->name, &id, &call->err);

	if (r < 0)
		return r;
	call->cut.wanted = true;
	call->cut.role = kind;
	call->cut.id = id;
	call->cut.reason = "the key was revoked";
	return kk_call_answer(call, 200, kk_call_generation(call));
}
