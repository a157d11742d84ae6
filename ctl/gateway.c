// SPDX-License-Identifier: MIT
/* kkctl gateway */
#include "ctl/ctl.h"

#include <stdio.h>

#include "ctl/api.h"
#include "ctl/node.h"
#include "util/address.h"
#include "util/cleanup.h"
#include "util/json.h"

static void format_addresses(const json_t *obj, char *text, size_t size)
{
	ctl_format_names(json_object_get(obj, "addresses"), "-", text, size);
}

static const struct ctl_column columns[] = {
	{"NAME", "name", NULL},
	{"ADDRESSES", NULL, format_addresses},
	{"WG PORT", "wg_port", NULL},
	{"INDEX", "index", NULL},
	{"CONNECTED", NULL, ctl_format_connected},
	{"GENERATION", "acked_generation", NULL},
	{"PUBLIC KEY", "public_key", NULL},
};

static const struct ctl_node node = {
	.role = "gateway",
	.collection = "gateways",
	.daemon = "kkgatewayd",
	.none = "There is no gateway yet.",
	.columns = columns,
	.n_columns = ARRAY_SIZE(columns),
};

/* Checks the addresses of the command line and adds them to @body. */
static int take_addresses(struct ctl *ctl, json_t *body)
{
	const struct kk_option_list *given = &ctl->options.addresses;
	json_t *list = json_array();

	json_object_set_new(body, "addresses", list);
	if (!given->n)
		return ctl_usage(ctl, "--address is missing");
	for (size_t i = 0; i < given->n; i++) {
		struct kk_address address;
		struct kk_err err = {0};

		if (kk_parse_address("address", given->items[i], &address, &err) < 0)
			return ctl_fail(CTL_USAGE, "%s", err.msg);
		json_array_append_new(list, json_string(given->items[i]));
	}
	return CTL_DONE;
}

static int add(struct ctl *ctl)
{
	KK_CLEANUP_JSON json_t *body = json_pack("{s:s}", "name", ctl->name);
	int r = take_addresses(ctl, body);

	if (r != CTL_DONE)
		return r;
	if (ctl->options.wg_port)
		json_object_set_new(body, "wg_port", json_integer(ctl->options.wg_port));
	return ctl_node_add(ctl, &node, json_incref(body));
}

static int set(struct ctl *ctl)
{
	KK_CLEANUP_JSON json_t *body = json_object();
	char path[64], what[96];
	int r = take_addresses(ctl, body);

	if (r != CTL_DONE)
		return r;
	snprintf(path, sizeof(path), "/api/v1/gateways/%s", ctl->name);
	snprintf(what, sizeof(what), "gateway %s has %zu address%s", ctl->name,
		 ctl->options.addresses.n, ctl->options.addresses.n == 1 ? "" : "es");
	return ctl_change(ctl, json_incref(body), "PATCH", path, what);
}

static int list(struct ctl *ctl)
{
	return ctl_node_list(ctl, &node);
}

static int show(struct ctl *ctl)
{
	return ctl_node_show(ctl, &node);
}

static int rm(struct ctl *ctl)
{
	return ctl_node_rm(ctl, &node);
}

static int revoke_key(struct ctl *ctl)
{
	return ctl_node_revoke(ctl, &node);
}

static const struct kk_option add_options[] = {
	CTL_OPTION("address", "A", KK_OPTION_LIST, addresses,
		   "a public address, IPv4 or IPv6; may be repeated"),
	CTL_OPTION("wg-port", "P", KK_OPTION_INT, wg_port, "its WireGuard port (default 51820)",
		   .min = 1, .max = 65535),
};

static const struct kk_option set_options[] = {
	CTL_OPTION("address", "A", KK_OPTION_LIST, addresses,
		   "a public address; all of them are to be named, the first is its tunnel's"),
};

static const struct ctl_command commands[] = {
	{"add", "NAME", "makes a gateway and prints the command that joins it",
	 CTL_OPTIONS(add_options), .run = add},
	{"set", "NAME", "changes its public addresses", CTL_OPTIONS(set_options), .run = set},
	{"list", NULL, "lists the gateways", .run = list},
	{"show", "NAME", "shows one gateway", .run = show},
	{"rm", "NAME", "removes a gateway", .run = rm},
	{"revoke", "NAME", "ends the validity of its key at once", .run = revoke_key},
};

const struct ctl_noun ctl_gateway = {
	"gateway",
	"the public entry nodes",
	commands,
	ARRAY_SIZE(commands),
};
