// SPDX-License-Identifier: MIT
/* kkctl export: what there is, as a file for kkctl apply. */
#include "ctl/ctl.h"

#include <stdio.h>
#include <string.h>

#include "ctl/api.h"
#include "ctl/resource.h"
#include "util/cleanup.h"
#include "util/json.h"

/* What can be said of an object when it is made; the rest is Control's. */
static const struct {
	const char *list;
	const char *const fields[16];
} kinds[] = {
	{"gateways", {"name", "addresses", "wg_port"}},
	{"agents", {"name"}},
	{"peers", {"name", "public_key"}},
	{"hosts", {"name", "prefixes"}},
	{"groups", {"name", "hosts"}},
	{"services",
	 {"name", "agents", "protocol", "port", "last_port", "target", "proxy_protocol", "address",
	  "access", "allow", "deny", "limit_packets", "limit_connections"}},
	{"rules", {"name", "source", "destination", "protocol", "port", "last_port"}},
};

/* Where a peer is, which its own configuration says too. */
static void add_wg_ip(const json_t *peer, json_t *said)
{
	json_t *address = json_array_get(json_object_get(peer, "addresses"), 0);

	json_object_set(said, "wg_ip", address);
}

/* A service that is being removed is none of what shall be. */
static bool is_leaving(const json_t *obj)
{
	return json_is_integer(json_object_get(obj, "draining_until"));
}

static int add_kind(struct ctl *ctl, size_t kind, json_t *world)
{
	KK_CLEANUP_JSON json_t *answer = NULL;
	json_t *list = json_array(), *obj;
	size_t i;
	int r = ctl_read_all(ctl, kinds[kind].list, &answer);

	json_object_set_new(world, kinds[kind].list, list);
	if (r != CTL_DONE)
		return r;
	json_array_foreach(json_object_get(answer, "items"), i, obj) {
		json_t *said = json_object();

		for (const char *const *field = kinds[kind].fields; *field; field++)
			if (json_object_get(obj, *field))
				json_object_set(said, *field, json_object_get(obj, *field));
		if (strcmp(kinds[kind].list, "peers") == 0)
			add_wg_ip(obj, said);
		if (!is_leaving(obj))
			json_array_append(list, said);
		json_decref(said);
	}
	return CTL_DONE;
}

static int export(struct ctl *ctl)
{
	KK_CLEANUP_JSON json_t *world = json_object();
	int r = CTL_DONE;

	for (size_t i = 0; i < ARRAY_SIZE(kinds) && r == CTL_DONE; i++)
		r = add_kind(ctl, i, world);
	if (r == CTL_DONE)
		ctl_print_json(world);
	return r;
}

static const struct ctl_command commands[] = {
	{NULL, NULL, "prints what there is, as a file for apply", .run = export},
};

const struct ctl_noun ctl_export = {
	"export",
	"the whole configuration as a file",
	commands,
	ARRAY_SIZE(commands),
};
