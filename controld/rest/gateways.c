// SPDX-License-Identifier: MIT
#include <errno.h>
#include <string.h>

#include "controld/push/wire.h"
#include "controld/rest/call.h"
#include "util/parse.h"

#define WG_PORT 51820

struct fields {
	const char *name, *address;
	json_t *addresses;
	int64_t wg_port;
};

static const struct kk_json_field add_fields[] = {
	KK_JSON_FIELD("name", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, name),
	KK_JSON_FIELD("address", KK_JSON_STRING, 0, struct fields, address),
	KK_JSON_FIELD("addresses", KK_JSON_ANY, 0, struct fields, addresses),
	KK_JSON_FIELD("wg_port", KK_JSON_INT, 0, struct fields, wg_port, .min = 1, .max = 65535),
};

static const struct kk_json_field set_fields[] = {
	KK_JSON_FIELD("addresses", KK_JSON_ANY, KK_JSON_REQUIRED, struct fields, addresses),
};

static json_t *addresses_json(const struct kk_gateway_row *row)
{
	char text[KK_ADDRESS_TEXT];
	json_t *list = json_array();

	for (size_t i = 0; list && i < row->n_addresses; i++)
		json_array_append_new(list, json_string(kk_address_text(&row->addresses[i], text)));
	return list;
}

json_t *kk_gateway_json(struct kk_control *control, const struct kk_gateway_row *row)
{
	struct kk_push_state state;
	char address[KK_ADDRESS_TEXT];

	kk_push_state(control->push, KK_GATEWAY, row->id, &state);
	return json_pack("{s:I, s:s, s:i, s:s, s:o, s:i, s:o, s:b, s:b, s:o, s:I}", "id",
			 (json_int_t)row->id, "name", row->name, "index", (int)row->index,
			 "address", kk_address_text(&row->addresses[0], address), "addresses",
			 addresses_json(row), "wg_port", (int)row->wg_port, "public_key",
			 kk_wire_key(row->has_key, row->public_key), "joined", (int)row->joined,
			 "connected", (int)state.connected, "acked_generation",
			 state.acked < 0 ? json_null() : json_integer(state.acked), "generation",
			 (json_int_t)row->generation);
}

static bool in_pool(const struct kk_control *control, const struct kk_address *address)
{
	const struct kk_prefix4 *pool = kk_store_pool(control->store);
	const struct kk_prefix *pool6 = kk_store_pool6(control->store);

	if (address->family == AF_INET6)
		return memcmp(address->bytes, pool6->addr.bytes, pool6->len / 8) == 0;
	return !((ntohl(address->v4.s_addr) ^ ntohl(pool->addr.s_addr)) >> (32 - pool->len));
}

/* An address that users can be told; one from the pool would be taken for an Agent's. */
static int check_address(const struct kk_control *control, const struct kk_address *address,
			 const char *text, struct kk_err *err)
{
	if (!kk_address_is_host(address))
		return kk_err_set(err, EINVAL, "address",
				  "address: %s is not an address of one host", text);
	if (in_pool(control, address))
		return kk_err_set(err, EINVAL, "address",
				  "address: %s is within the pool that Agents get theirs from",
				  text);
	return 0;
}

static int add_address(const struct kk_control *control, const char *text,
		       struct kk_gateway_row *row, struct kk_err *err)
{
	struct kk_address address;
	size_t of_family = 0;
	int r = kk_parse_address("address", text, &address, err);

	if (r == 0)
		r = check_address(control, &address, text, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < row->n_addresses; i++) {
		if (kk_address_equal(&row->addresses[i], &address))
			return kk_err_set(err, EINVAL, "address", "address: %s is named twice",
					  text);
		of_family += row->addresses[i].family == address.family;
	}
	if (of_family >= KK_GATEWAY_ADDRESSES_MAX / 2)
		return kk_err_set(err, EINVAL, "address",
				  "address: a gateway has at most %d of one family",
				  KK_GATEWAY_ADDRESSES_MAX / 2);
	row->addresses[row->n_addresses++] = address;
	return 0;
}

/* Either one as "address", or "addresses". */
static int read_addresses(const struct kk_control *control, const struct fields *f,
			  struct kk_gateway_row *row, struct kk_err *err)
{
	json_t *item;
	size_t i;
	int r = 0;

	if (!f->address == !f->addresses)
		return kk_err_set(err, EINVAL, "address",
				  "address: either address or addresses is wanted");
	if (f->address)
		return add_address(control, f->address, row, err);
	if (!json_array_size(f->addresses))
		return kk_err_set(err, EINVAL, "addresses",
				  "addresses: a list of at least one is wanted");
	json_array_foreach(f->addresses, i, item) {
		const char *text = json_string_value(item);

		r = add_address(control, text ? text : "", row, err);
		if (r < 0)
			break;
	}
	return r;
}

int kk_gateway_read(struct kk_control *control, const json_t *obj, struct kk_gateway_row *row,
		    struct kk_err *err)
{
	struct fields f = {.wg_port = WG_PORT};
	int r = kk_json_read(obj, add_fields, ARRAY_SIZE(add_fields), &f, err);

	if (r == 0)
		r = kk_parse_name("name", f.name, err);
	if (r == 0)
		r = read_addresses(control, &f, row, err);
	if (r < 0)
		return r;
	strcpy(row->name, f.name);
	row->wg_port = (uint16_t)f.wg_port;
	return 0;
}

int kk_gateways_set(struct kk_call *call)
{
	struct kk_gateway_row row;
	struct fields f = {0};
	int r = kk_store_gateway_get(call->control->store, call->name, &row, &call->err);

	if (r == 0)
		r = kk_call_match(call, row.id, row.generation);
	if (r == 0)
		r = kk_json_read(call->body, set_fields, ARRAY_SIZE(set_fields), &f, &call->err);
	if (r < 0)
		return r;
	row.n_addresses = 0;
	r = read_addresses(call->control, &f, &row, &call->err);
	if (r == 0)
		r = kk_store_gateway_set(call->control->store, &row, &call->err);
	if (r == 0)
		r = kk_call_answer(call, 200, kk_gateway_json(call->control, &row));
	return r < 0 ? r : kk_call_wait(call, NULL, 0);
}
