// SPDX-License-Identifier: MIT
#include <errno.h>

#include "controld/rest/call.h"

struct listing {
	struct kk_control *control;
	json_t *items;
};

/* What the node has said of itself, passed through. */
static int append(struct listing *l, enum kk_kind role, int64_t id, json_t *item)
{
	struct kk_push_state state;
	json_t *report;

	kk_push_state(l->control->push, role, id, &state);
	report = kk_push_report(l->control->push, role, id);
	json_object_set_new(item, "report", report ? report : json_null());
	if (state.refused)
		json_object_set(item, "refused", state.refused);
	return json_array_append_new(l->items, item) ? -ENOMEM : 0;
}

static int append_gateway(const struct kk_gateway_row *row, void *userdata)
{
	struct listing *l = userdata;

	return append(l, KK_GATEWAY, row->id, kk_gateway_json(l->control, row));
}

static int append_agent(const struct kk_agent_row *row, void *userdata)
{
	struct listing *l = userdata;

	return append(l, KK_AGENT, row->id, kk_agent_json(l->control, row));
}

static int append_peer(const struct kk_agent_row *row, void *userdata)
{
	struct listing *l = userdata;

	return json_array_append_new(l->items, kk_peer_json(l->control, row)) ? -ENOMEM : 0;
}

int kk_status_show(struct kk_call *call)
{
	struct listing gateways = {call->control, json_array()};
	struct listing agents = {call->control, json_array()};
	struct listing peers = {call->control, json_array()};
	struct kk_store *store = call->control->store;
	int64_t services = 0;
	int r = kk_store_gateway_list(store, append_gateway, &gateways, &call->err);

	if (r == 0)
		r = kk_store_agent_list(store, append_agent, &agents, &call->err);
	if (r == 0)
		r = kk_store_peer_list(store, append_peer, &peers, &call->err);
	if (r == 0)
		r = kk_store_service_count(store, &services, &call->err);
	if (r == 0)
		return kk_call_answer(call, 200,
				      json_pack("{s:s, s:I, s:o, s:o, s:o, s:I}", "version",
						KK_VERSION, "generation",
						(json_int_t)kk_store_generation(store), "gateways",
						gateways.items, "agents", agents.items, "peers",
						peers.items, "services", (json_int_t)services));
	json_decref(gateways.items);
	json_decref(agents.items);
	json_decref(peers.items);
	return r;
}
