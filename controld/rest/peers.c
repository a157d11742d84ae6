// SPDX-License-Identifier: MIT
/* Plain WireGuard peers: clients without our software, each with all that its configuration needs. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "controld/push/wire.h"
#include "controld/rest/call.h"
#include "util/parse.h"

struct fields {
	const char *name, *public_key, *wg_ip;
};

static const struct kk_json_field add_fields[] = {
	KK_JSON_FIELD("name", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, name),
	KK_JSON_FIELD("public_key", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, public_key),
	KK_JSON_FIELD("wg_ip", KK_JSON_STRING, 0, struct fields, wg_ip),
};

/* Host @host of the peer's /24, of IPv4 and behind the pool's /96. */
static json_t *addresses_json(struct kk_store *store, const struct kk_agent_row *peer, uint8_t host)
{
	const struct in_addr v4 = kk_subnet_host(&peer->subnet, host);
	const struct in6_addr v6 = kk_pool6_address(kk_store_pool6(store), v4);
	char text[2][INET6_ADDRSTRLEN];

	inet_ntop(AF_INET, &v4, text[0], sizeof(text[0]));
	inet_ntop(AF_INET6, &v6, text[1], sizeof(text[1]));
	return json_pack("[s, s]", text[0], text[1]);
}

struct gateways {
	struct kk_store *store;
	const struct kk_agent_row *peer;
	json_t *list;
};

/* As the peer's configuration has it: what it sees of a gateway is one address of each family. */
static int append_gateway(const struct kk_gateway_row *row, void *userdata)
{
	const union kk_sockaddr endpoint = kk_sockaddr_make(&row->addresses[0], row->wg_port);
	struct gateways *g = userdata;
	char text[KK_ENDPOINT_TEXT];

	return json_array_append_new(
		       g->list, json_pack("{s:s, s:s, s:o, s:o}", "name", row->name, "endpoint",
					  kk_sockaddr_text(&endpoint, text), "public_key",
					  kk_wire_key(row->has_key, row->public_key), "addresses",
					  addresses_json(g->store, g->peer, row->index)))
		       ? -ENOMEM
		       : 0;
}

json_t *kk_peer_json(struct kk_control *control, const struct kk_agent_row *row)
{
	return json_pack("{s:I, s:s, s:o, s:o, s:o, s:I}", "id", (json_int_t)row->id, "name",
			 row->name, "subnet", kk_wire_prefix(&row->subnet), "addresses",
			 addresses_json(control->store, row, KK_AGENT_HOST), "public_key",
			 kk_wire_key(row->has_key, row->public_key), "generation",
			 (json_int_t)row->generation);
}

/* One alone comes with the gateways, as its configuration needs them. */
static int answer(struct kk_call *call, unsigned int status, const struct kk_agent_row *row)
{
	struct kk_store *store = call->control->store;
	struct gateways gateways = {store, row, json_array()};
	json_t *obj = kk_peer_json(call->control, row);
	int r = obj && gateways.list ? 0 : -ENOMEM;

	if (r == 0)
		r = kk_store_gateway_list(store, append_gateway, &gateways, &call->err);
	if (r == 0)
		json_object_set(obj, "gateways", gateways.list);
	json_decref(gateways.list);
	if (r == 0)
		return kk_call_answer(call, status, obj);
	json_decref(obj);
	return r == -ENOMEM ? kk_err_set(&call->err, ENOMEM, NULL, "out of memory") : r;
}

/* The number of the peer whose tunnel address is @text. */
static int read_wg_ip(const struct kk_store *store, const char *text, int64_t *ret,
		      struct kk_err *err)
{
	struct in_addr address;
	int r = kk_parse_ip4("wg_ip", text, &address, err);

	if (r < 0)
		return r;
	*ret = kk_agent_number(kk_store_pool(store), address);
	if (*ret >= 0)
		return 0;
	return kk_err_set(
		err, EINVAL, "wg_ip",
		"wg_ip: %s is none that a peer can have: they are the .%d of the pool's /24, "
		"their second number 1 to 254",
		text, KK_AGENT_HOST);
}

int kk_peers_add(struct kk_call *call)
{
	struct kk_agent_row row = {.number = KK_ANY_NUMBER};
	struct kk_err *err = &call->err;
	struct fields f = {0};
	int r = kk_json_read(call->body, add_fields, ARRAY_SIZE(add_fields), &f, err);

	if (r == 0)
		r = kk_parse_name("name", f.name, err);
	if (r == 0 && kk_key_parse(f.public_key, row.public_key) < 0)
		r = kk_err_set(err, EINVAL, "public_key",
			       "public_key: \"%.64s\" is not a WireGuard key in base64",
			       f.public_key);
	if (r == 0 && f.wg_ip)
		r = read_wg_ip(call->control->store, f.wg_ip, &row.number, err);
	if (r < 0)
		return r;
	strcpy(row.name, f.name);
	r = kk_store_peer_add(call->control->store, &row, err);
	if (r == 0)
		r = answer(call, 201, &row);
	return r < 0 ? r : kk_call_wait(call, NULL, 0);
}

static int append(const struct kk_agent_row *row, void *userdata)
{
	struct kk_page *page = userdata;

	if (!kk_page_wants(page, row->id))
		return 0;
	return kk_page_add(page, row->id, kk_peer_json(page->call->control, row));
}

int kk_peers_list(struct kk_call *call)
{
	struct kk_page page;
	int r = kk_page_start(&page, call);

	if (r < 0)
		return r;
	return kk_page_answer(&page,
			      kk_store_peer_list(call->control->store, append, &page, &call->err));
}

static int get(struct kk_call *call, struct kk_agent_row *row)
{
	int r = kk_store_peer_get(call->control->store, call->name, row, &call->err);

	return r < 0 ? r : kk_call_match(call, row->id, row->generation);
}

int kk_peers_show(struct kk_call *call)
{
	struct kk_agent_row row;
	int r = get(call, &row);

	return r < 0 ? r : answer(call, 200, &row);
}

int kk_peers_remove(struct kk_call *call)
{
	struct kk_agent_row row;
	int r = get(call, &row);

	if (r == 0)
		r = kk_store_peer_remove(call->control->store, call->name, &call->err);
	if (r == 0)
		r = kk_call_answer(call, 200, kk_call_generation(call));
	return r < 0 ? r : kk_call_wait(call, NULL, 0);
}
