// SPDX-License-Identifier: MIT
#include "ctl/node.h"

#include <stdio.h>

#include "ctl/api.h"
#include "ctl/resource.h"
#include "util/json.h"

void ctl_format_connected(const json_t *obj, char *text, size_t size)
{
	bool connected = json_is_true(json_object_get(obj, "connected"));
	bool joined = json_is_true(json_object_get(obj, "joined"));

	snprintf(text, size, "%s", connected ? "yes" : joined ? "no" : "not joined");
}

int ctl_node_add(struct ctl *ctl, const struct ctl_node *node, json_t *body)
{
	KK_CLEANUP_JSON json_t *answer = NULL;
	int r = ctl_call(ctl, &answer, body, "POST", "/api/v1/%s", node->collection);

	if (r != CTL_DONE)
		return r;
	if (ctl->options.json) {
		ctl_print_json(answer);
		return CTL_DONE;
	}
	printf("%s %s is added. On its machine, as root:\n  %s join %s\n", node->role, ctl->name,
	       node->daemon, ctl_text(answer, "join_token"));
	return CTL_DONE;
}

static struct ctl_resource resource_of(const struct ctl_node *node)
{
	return (struct ctl_resource){node->collection, node->role, node->none, node->columns,
				     node->n_columns};
}

int ctl_node_list(struct ctl *ctl, const struct ctl_node *node)
{
	const struct ctl_resource resource = resource_of(node);

	return ctl_resource_list(ctl, &resource);
}

int ctl_node_show(struct ctl *ctl, const struct ctl_node *node)
{
	const struct ctl_resource resource = resource_of(node);

	return ctl_resource_show(ctl, &resource);
}

int ctl_node_rm(struct ctl *ctl, const struct ctl_node *node)
{
	KK_CLEANUP_JSON json_t *answer = NULL;
	char applied[256];
	int r = ctl_call(ctl, &answer, NULL, "DELETE", "/api/v1/%s/%s?wait=%lld", node->collection,
			 ctl->name, (long long)ctl->options.wait);

	if (r != CTL_DONE)
		return r;
	r = ctl_applied(ctl, answer, applied, sizeof(applied));
	if (ctl->options.json)
		ctl_print_json(answer);
	else
		printf("%s %s is removed, %s\n", node->role, ctl->name, applied);
	return r;
}

int ctl_node_revoke(struct ctl *ctl, const struct ctl_node *node)
{
	KK_CLEANUP_JSON json_t *answer = NULL;
	int r = ctl_call(ctl, &answer, NULL, "POST", "/api/v1/%s/%s/revoke", node->collection,
			 ctl->name);

	if (r != CTL_DONE)
		return r;
	if (ctl->options.json)
		ctl_print_json(answer);
	else
		printf("The key of %s %s is revoked. To let it join again: kkctl token add --%s %s\n",
		       node->role, ctl->name, node->role, ctl->name);
	return CTL_DONE;
}
