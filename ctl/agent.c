// SPDX-License-Identifier: MIT
/* kkctl agent */
#include "ctl/ctl.h"

#include "ctl/node.h"
#include "util/cleanup.h"

static const struct ctl_column columns[] = {
	{"NAME", "name", NULL},
	{"SUBNET", "subnet", NULL},
	{"CONNECTED", NULL, ctl_format_connected},
	{"GENERATION", "acked_generation", NULL},
	{"PUBLIC KEY", "public_key", NULL},
};

static const struct ctl_node node = {
	.role = "agent",
	.collection = "agents",
	.daemon = "kkagentd",
	.none = "There is no agent yet.",
	.columns = columns,
	.n_columns = ARRAY_SIZE(columns),
};

static int add(struct ctl *ctl)
{
	return ctl_node_add(ctl, &node, json_pack("{s:s}", "name", ctl->name));
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

static const struct ctl_command commands[] = {
	{"add", "NAME", "makes an Agent and prints the command that joins it", .run = add},
	{"list", NULL, "lists the Agents", .run = list},
	{"show", "NAME", "shows one Agent", .run = show},
	{"rm", "NAME", "removes an Agent that has no services", .run = rm},
	{"revoke", "NAME", "ends the validity of its key at once", .run = revoke_key},
};

const struct ctl_noun ctl_agent = {
	"agent",
	"the nodes behind NAT that publish",
	commands,
	ARRAY_SIZE(commands),
};
