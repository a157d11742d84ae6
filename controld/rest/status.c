// SPDX-License-Identifier: MIT
/*
 * The system at a glance, which costs the same however much there is of it; and page by page what every node
 * reports, where a page is as long as answers other calls soon enough.
 */
#include <string.h>

#include "controld/rest/operations.h"

#define REPORTS_LEN (256u << 10) /* bytes of reports, after which a page ends */

static int count_one(const struct kk_gateway_row *row, void *userdata)
{
	(void)row;
	++*(json_int_t *)userdata;
	return 0;
}

static json_t *nodes_json(struct kk_call *call, enum kk_kind role, json_int_t total)
{
	struct kk_control *control = call->control;
	const int64_t org = kk_store_org(control->store);

	return json_pack("{s:I, s:I}", "total", total, "connected",
			 (json_int_t)kk_push_connected(control->push, org, role));
}

int kk_status_show(struct kk_call *call)
{
	struct kk_store *store = call->control->store;
	int64_t agents = 0, peers = 0, services = 0;
	json_int_t gateways = 0;
	int r = kk_store_gateway_list(store, count_one, &gateways, &call->err);

	if (r == 0)
		r = kk_store_agent_count(store, false, &agents, &call->err);
	if (r == 0)
		r = kk_store_agent_count(store, true, &peers, &call->err);
	if (r == 0)
		r = kk_store_service_count(store, &services, &call->err);
	if (r < 0)
		return r;
	return kk_call_answer(call, 200,
			      json_pack("{s:s, s:I, s:o, s:o, s:I, s:I}", "version", KK_VERSION,
					"generation", (json_int_t)kk_store_generation(store),
					"gateways", nodes_json(call, KK_GATEWAY, gateways),
					"agents", nodes_json(call, KK_AGENT, agents), "peers",
					(json_int_t)peers, "services", (json_int_t)services));
}

struct listing {
	struct kk_page page;
	struct kk_control *control;
	const char *name; /* of the only one that is asked for, or NULL */
	size_t len;	  /* of the reports so far */
};

/* 1: the node comes into this page, 0: it does not, -1: nor does any behind it. */
static int wants(struct listing *l, int64_t id, const char *name)
{
	if (!kk_page_wants(&l->page, id) || (l->name && strcmp(l->name, name) != 0))
		return 0;
	l->page.more = l->len >= REPORTS_LEN;
	return l->page.more ? -1 : 1;
}

/* What the node has said of itself, passed through. */
static int append(struct listing *l, enum kk_kind role, int64_t id, json_t *item)
{
	struct kk_push *push = l->control->push;
	struct kk_push_state state;
	json_t *report = kk_push_report(push, role, id);

	kk_push_state(push, role, id, &state);
	l->len += kk_push_report_len(push, role, id);
	json_object_set_new(item, "report", report ? report : json_null());
	if (state.refused)
		json_object_set(item, "refused", state.refused);
	return kk_page_add(&l->page, id, item);
}

static int append_gateway(const struct kk_gateway_row *row, void *userdata)
{
	struct listing *l = userdata;
	int wanted = wants(l, row->id, row->name);

	if (wanted <= 0)
		return -wanted;
	return append(l, KK_GATEWAY, row->id, kk_gateway_json(l->control, row));
}

static int append_agent(const struct kk_agent_row *row, void *userdata)
{
	struct listing *l = userdata;
	int wanted = wants(l, row->id, row->name);

	if (wanted <= 0)
		return -wanted;
	return append(l, KK_AGENT, row->id, kk_agent_json(l->control, row));
}

int kk_status_list(struct kk_call *call)
{
	struct kk_store *store = call->control->store;
	struct listing l = {.control = call->control, .name = kk_httpd_query(call->req, "name")};
	int r = kk_page_start(&l.page, call);

	if (r < 0)
		return r;
	r = call->op->kind == KK_GATEWAY
		    ? kk_store_gateway_list(store, append_gateway, &l, &call->err)
		    : kk_store_agent_list(store, append_agent, &l, &call->err);
	return kk_page_answer(&l.page, r);
}
