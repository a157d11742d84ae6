// SPDX-License-Identifier: MIT
/* Gateways, Agents and plain peers, as apply brings them about. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "controld/push/wire.h"
#include "controld/rest/apply.h"
#include "util/parse.h"

static int note(struct kk_apply *a, const char *action, const char *kind, const char *name,
		json_t *before, json_t *after)
{
	return kk_apply_note(a->changes, action, kind, name, before, after, &a->call->err);
}

static int make_token(struct kk_apply *a, enum kk_kind role, const char *name)
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

struct look {
	const json_t *wanted;
	json_t *found;
};

/* ---- gateways ---- */

static json_t *gateway_json(struct kk_apply *a, const struct kk_gateway_row *row)
{
	return kk_apply_bare(kk_gateway_json(a->control, row));
}

static bool same_addresses(const struct kk_gateway_row *a, const struct kk_gateway_row *b)
{
	for (size_t i = 0; i < a->n_addresses && a->n_addresses == b->n_addresses; i++)
		if (!kk_address_equal(&a->addresses[i], &b->addresses[i]))
			return false;
	return a->n_addresses == b->n_addresses;
}

/* Gateways may take each other's addresses: those that move give up theirs first. */
static int put_off(struct kk_apply *a, const struct kk_gateway_row *row,
		   const struct kk_gateway_row *before)
{
	struct kk_apply_gateway *later = kk_apply_room((void **)&a->gateways, a->n_gateways,
						       &a->gateways_size, sizeof(*later));

	if (!later)
		return kk_apply_no_memory(a);
	*later = (struct kk_apply_gateway){.row = *row, .existed = before};
	if (before)
		later->before = *before;
	a->n_gateways++;
	return before ? kk_store_gateway_release(a->control->store, before->id, &a->call->err) : 0;
}

static int want_gateway(struct kk_apply *a, const json_t *obj)
{
	struct kk_gateway_row row = {0}, now, next;
	struct kk_err *err = &a->call->err;
	int r = kk_gateway_read(a->control, obj, &row, err);

	if (r < 0)
		return r;
	r = kk_store_gateway_get(a->control->store, row.name, &now, NULL);
	if (r == -ENOENT)
		return put_off(a, &row, NULL);
	if (r < 0)
		return kk_err_set(err, -r, NULL, "the database failed");
	if (row.wg_port != now.wg_port)
		return kk_err_set(err, EEXIST, "wg_port",
				  "wg_port: gateway %s is there with %u and cannot be given %u; "
				  "remove it first",
				  row.name, now.wg_port, row.wg_port);
	if (same_addresses(&now, &row))
		return 0;
	next = now;
	memcpy(next.addresses, row.addresses, sizeof(next.addresses));
	next.n_addresses = row.n_addresses;
	return put_off(a, &next, &now);
}

static int add_gateway(struct kk_apply *a, struct kk_gateway_row *row)
{
	int r = kk_store_gateway_add(a->control->store, row, &a->call->err);

	if (r == 0)
		r = note(a, "add", "gateway", row->name, NULL, gateway_json(a, row));
	return r < 0 ? r : make_token(a, KK_GATEWAY, row->name);
}

static int set_gateway(struct kk_apply *a, struct kk_apply_gateway *g)
{
	int r = kk_store_gateway_move(a->control->store, &g->row, &a->call->err);

	a->moved = true;
	return r < 0 ? r
		     : note(a, "set", "gateway", g->row.name, gateway_json(a, &g->before),
			    gateway_json(a, &g->row));
}

int kk_apply_gateways_later(struct kk_apply *a)
{
	int r = 0;

	for (size_t i = 0; i < a->n_gateways && r == 0; i++)
		r = a->gateways[i].existed ? set_gateway(a, &a->gateways[i])
					   : add_gateway(a, &a->gateways[i].row);
	return r;
}

static int look_at_gateway(const struct kk_gateway_row *row, void *userdata)
{
	struct look *look = userdata;

	return kk_apply_unwanted(look->wanted, look->found, row->name);
}

static int find_gateways(struct kk_apply *a, const json_t *wanted, json_t *found)
{
	struct look look = {wanted, found};

	return kk_store_gateway_list(a->control->store, look_at_gateway, &look, &a->call->err);
}

static int remove_gateway(struct kk_apply *a, const char *name)
{
	int r = kk_store_gateway_remove(a->control->store, name, &a->call->err);

	return r < 0 ? r : note(a, "remove", "gateway", name, NULL, NULL);
}

const struct kk_apply_kind kk_apply_gateways = {want_gateway, find_gateways, remove_gateway};

/* ---- Agents ---- */

static int want_agent(struct kk_apply *a, const json_t *obj)
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

static int look_at_agent(const struct kk_agent_row *row, void *userdata)
{
	struct look *look = userdata;

	return kk_apply_unwanted(look->wanted, look->found, row->name);
}

static int find_agents(struct kk_apply *a, const json_t *wanted, json_t *found)
{
	struct look look = {wanted, found};

	return kk_store_agent_list(a->control->store, look_at_agent, &look, &a->call->err);
}

static int remove_agent(struct kk_apply *a, const char *name)
{
	int r = kk_store_agent_remove(a->control->store, name, &a->call->err);

	return r < 0 ? r : note(a, "remove", "agent", name, NULL, NULL);
}

const struct kk_apply_kind kk_apply_agents = {want_agent, find_agents, remove_agent};

/* ---- plain peers ---- */

static json_t *peer_json(const struct kk_agent_row *row)
{
	return json_pack("{s:s, s:o}", "name", row->name, "public_key",
			 kk_wire_key(row->has_key, row->public_key));
}

static int add_peer(struct kk_apply *a, struct kk_agent_row *row)
{
	int r = kk_store_peer_add(a->control->store, row, &a->call->err);

	return r < 0 ? r : note(a, "add", "peer", row->name, NULL, peer_json(row));
}

static int want_peer(struct kk_apply *a, const json_t *obj)
{
	struct kk_agent_row row = {0}, now;
	struct kk_err *err = &a->call->err;
	int r = kk_peer_read(a->control, obj, &row, err);

	if (r < 0)
		return r;
	r = kk_store_peer_get(a->control->store, row.name, &now, NULL);
	if (r == -ENOENT)
		return add_peer(a, &row);
	if (r < 0)
		return kk_err_set(err, -r, NULL, "the database failed");
	if (row.number != KK_ANY_NUMBER && row.number != now.number)
		return kk_err_set(err, EEXIST, "wg_ip",
				  "wg_ip: peer %s is there with another address; remove it first",
				  row.name);
	if (memcmp(now.public_key, row.public_key, sizeof(row.public_key)) == 0)
		return 0;
	r = kk_store_node_set_key(a->control->store, KK_AGENT, now.id, row.public_key, err);
	row.has_key = true;
	return r < 0 ? r : note(a, "set", "peer", row.name, peer_json(&now), peer_json(&row));
}

static int find_peers(struct kk_apply *a, const json_t *wanted, json_t *found)
{
	struct look look = {wanted, found};

	return kk_store_peer_list(a->control->store, look_at_agent, &look, &a->call->err);
}

static int remove_peer(struct kk_apply *a, const char *name)
{
	struct kk_agent_row row;
	int r = kk_store_peer_get(a->control->store, name, &row, &a->call->err);

	if (r == 0)
		r = kk_store_peer_remove(a->control->store, name, &a->call->err);
	return r < 0 ? r : note(a, "remove", "peer", name, peer_json(&row), NULL);
}

const struct kk_apply_kind kk_apply_peers = {want_peer, find_peers, remove_peer};
