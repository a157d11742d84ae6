// SPDX-License-Identifier: MIT
#include <errno.h>
#include <string.h>

#include "controld/push/message.h"
#include "controld/rest/call.h"
#include "util/parse.h"

struct fields {
	const char *name;
};

static const struct kk_json_field agent_fields[] = {
	KK_JSON_FIELD("name", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, name),
};

json_t *kk_agent_json(struct kk_control *control, const struct kk_agent_row *row)
{
	struct kk_push_state state;

	kk_push_state(control->push, KK_AGENT, row->id, &state);
	return json_pack("{s:I, s:s, s:o, s:o, s:b, s:b, s:o, s:I}", "id", (json_int_t)row->id,
			 "name", row->name, "subnet", kk_message_prefix(&row->subnet), "public_key",
			 kk_message_key(row->has_key, row->public_key), "joined", (int)row->joined,
			 "connected", (int)state.connected, "acked_generation",
			 state.acked < 0 ? json_null() : json_integer(state.acked), "generation",
			 (json_int_t)row->generation);
}

int kk_agents_add(struct kk_call *call)
{
	struct kk_token_row token = {.role = KK_AGENT};
	KK_CLEANUP_FREE char *text = NULL;
	struct kk_agent_row row = {0};
	struct fields f = {0};
	json_t *answer;
	int r = kk_json_read(call->body, agent_fields, ARRAY_SIZE(agent_fields), &f, &call->err);

	if (r == 0)
		r = kk_parse_name("name", f.name, &call->err);
	if (r < 0)
		return r;
	strcpy(row.name, f.name);
	r = kk_store_agent_add(call->control->store, &row, &call->err);
	if (r < 0)
		return r;
	strcpy(token.node, row.name);
	r = kk_token_make(call->control, &token, KK_TOKEN_EXPIRES_S, &text, &call->err);
	if (r < 0)
		return r;
	answer = kk_agent_json(call->control, &row);
	json_object_set_new(answer, "join_token", json_string(text));
	return kk_call_answer(call, 201, answer);
}

struct listing {
	struct kk_control *control;
	json_t *items;
};

static int append(const struct kk_agent_row *row, void *userdata)
{
	struct listing *l = userdata;

	return json_array_append_new(l->items, kk_agent_json(l->control, row)) ? -ENOMEM : 0;
}

int kk_agents_list(struct kk_call *call)
{
	struct listing l = {call->control, json_array()};
	int r = kk_store_agent_list(call->control->store, append, &l, &call->err);

	if (r == 0)
		return kk_call_items(call, l.items);
	json_decref(l.items);
	return r;
}

int kk_agents_show(struct kk_call *call)
{
	struct kk_agent_row row;
	int r = kk_store_agent_get(call->control->store, call->name, &row, &call->err);

	return r < 0 ? r : kk_call_answer(call, 200, kk_agent_json(call->control, &row));
}

int kk_agents_remove(struct kk_call *call)
{
	struct kk_push_change change = {0};
	struct kk_agent_row row;
	int r = kk_store_agent_get(call->control->store, call->name, &row, &call->err);

	if (r == 0)
		r = kk_store_agent_remove(call->control->store, call->name, &call->err);
	if (r < 0)
		return r;
	kk_push_forget(call->control->push, KK_AGENT, row.id);
	r = kk_call_answer(call, 200, kk_call_generation(call));
	return r < 0 ? r : kk_call_hold(call, &change);
}

int kk_agents_revoke(struct kk_call *call)
{
	int64_t id;
	int r = kk_store_node_revoke(call->control->store, KK_AGENT, call->name, &id, &call->err);

	if (r < 0)
		return r;
	kk_push_drop(call->control->push, KK_AGENT, id, "the key was revoked");
	return kk_call_answer(call, 200, kk_call_generation(call));
}
