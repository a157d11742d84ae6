// SPDX-License-Identifier: MIT
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "controld/push/message.h"
#include "controld/rest/call.h"
#include "util/parse.h"

#define WG_PORT 51820

struct fields {
	const char *name, *address;
	int64_t wg_port;
};

static const struct kk_json_field gateway_fields[] = {
	KK_JSON_FIELD("name", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, name),
	KK_JSON_FIELD("address", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, address),
	KK_JSON_FIELD("wg_port", KK_JSON_INT, 0, struct fields, wg_port, .min = 1, .max = 65535),
};

json_t *kk_gateway_json(struct kk_control *control, const struct kk_gateway_row *row)
{
	struct kk_push_state state;
	char address[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &row->address, address, sizeof(address));
	kk_push_state(control->push, KK_GATEWAY, row->id, &state);
	return json_pack("{s:I, s:s, s:i, s:s, s:i, s:o, s:b, s:b, s:o, s:I}", "id",
			 (json_int_t)row->id, "name", row->name, "index", (int)row->index,
			 "address", address, "wg_port", (int)row->wg_port, "public_key",
			 kk_message_key(row->has_key, row->public_key), "joined", (int)row->joined,
			 "connected", (int)state.connected, "acked_generation",
			 state.acked < 0 ? json_null() : json_integer(state.acked), "generation",
			 (json_int_t)row->generation);
}

/* An address that users can be told; one from the pool would be taken for an Agent's. */
static int check_address(const struct kk_control *control, struct in_addr address, const char *text,
			 struct kk_err *err)
{
	const struct kk_prefix4 *pool = kk_store_pool(control->store);
	uint32_t host = ntohl(address.s_addr);

	if (host >> 24 == 0 || host >> 28 >= 0xe)
		return kk_err_set(err, EINVAL, "address",
				  "address: %s is not an address of one host", text);
	if (host >> (32 - pool->len) == ntohl(pool->addr.s_addr) >> (32 - pool->len))
		return kk_err_set(err, EINVAL, "address",
				  "address: %s is within the pool that Agents get theirs from",
				  text);
	return 0;
}

int kk_gateway_read(struct kk_control *control, const json_t *obj, struct kk_gateway_row *row,
		    struct kk_err *err)
{
	struct fields f = {.wg_port = WG_PORT};
	int r = kk_json_read(obj, gateway_fields, ARRAY_SIZE(gateway_fields), &f, err);

	if (r == 0)
		r = kk_parse_name("name", f.name, err);
	if (r == 0)
		r = kk_parse_ip4("address", f.address, &row->address, err);
	if (r == 0)
		r = check_address(control, row->address, f.address, err);
	if (r < 0)
		return r;
	strcpy(row->name, f.name);
	row->wg_port = (uint16_t)f.wg_port;
	return 0;
}
