// SPDX-License-Identifier: MIT
/* kkctl gateway */
#include "ctl/ctl.h"

#include "ctl/node.h"
#include "util/cleanup.h"
#include "util/parse.h"

static const struct ctl_column columns[] = {
	{"NAME", "name", NULL},
	{"ADDRESS", "address", NULL},
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

static int add(struct ctl *ctl)
{
	struct ctl_options *o = &ctl->options;
	struct kk_err err = {0};
	struct in_addr address;
	json_t *body;

	if (!o->address)
		return ctl_usage(ctl, "--address is missing");
	if (kk_parse_ip4("address", o->address, &address, &err) < 0)
		return ctl_fail(CTL_USAGE, "%s", err.msg);
	body = json_pack("{s:s, s:s}", "name", ctl->name, "address", o->address);
	if (o->wg_port)
		json_object_set_new(body, "wg_port", json_integer(o->wg_port));
	return ctl_node_add(ctl, &node, body);
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
	CTL_OPTION("address", "A", KK_OPTION_STRING, address, "its public IPv4 address"),
	CTL_OPTION("wg-port", "P", KK_OPTION_INT, wg_port, "its WireGuard port (default 51820)",
		   .min = 1, .max = 65535),
};

static const struct ctl_command commands[] = {
	{"add", "NAME", "makes a gateway and prints the command that joins it",
	 CTL_OPTIONS(add_options), .run = add},
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
