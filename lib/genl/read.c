// SPDX-License-Identifier: MIT
/* What the module's tables hold and have counted. */
#include "genl/module.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <netlink/attr.h>
#include <uapi/kakuremichi.h>

#include "bpf/all.h"
#include "bpf/lists.h"
#include "core/maglev.h"
#include "core/names.h"
#include "genl/wire.h"
#include "net/nl.h"
#include "util/cleanup.h"

#define DUMPS_MAX 20 /* tries to read tables that change meanwhile */

/* A list that grows while a dump is read. */
struct dump {
	const struct kk_settings *set;
	void *items;
	size_t n, room, size;
};

static void *dump_grow(struct dump *dump)
{
	if (dump->n == dump->room) {
		size_t room = dump->room ? 2 * dump->room : 64;
		void *items = reallocarray(dump->items, room, dump->size);

		if (!items)
			return NULL;
		dump->items = items;
		dump->room = room;
	}
	return memset((char *)dump->items + dump->size * dump->n++, 0, dump->size);
}

static int dump_read(const struct kk_module *module, uint8_t cmd,
		     int (*each)(struct nlmsghdr *hdr, void *userdata), struct dump *dump,
		     const char *what, struct kk_err *err)
{
	KK_CLEANUP_NLMSG struct nl_msg *msg = NULL;
	int r = -EAGAIN;

	for (int i = 0; i < DUMPS_MAX && r == -EAGAIN; i++) {
		kk_err_reset(err);
		dump->n = 0;
		nlmsg_free(msg);
		msg = kk_genl_request(&module->genl, cmd, NLM_F_DUMP, 0);
		if (!msg)
			return kk_err_set(err, ENOMEM, NULL, "out of memory");
		r = kk_genl_call(&module->genl, msg, each, dump, what, err);
	}
	return r < 0 ? r : (int)dump->n;
}

static int on_listener(struct nlmsghdr *hdr, void *userdata)
{
	struct nlattr *attrs[KK_A_MAX + 1];
	struct dump *dump = userdata;
	struct kk_listener first, *listener;
	uint16_t n;
	int r;

	r = kk_wire_parse(hdr, attrs);
	if (r == 0)
		r = attrs[KK_A_LISTENER]
			    ? kk_wire_get_listener(attrs[KK_A_LISTENER], dump->set, &first, &n)
			    : -EBADMSG;
	if (r < 0)
		return r;
	for (uint16_t i = 0; i < n; i++) {
		listener = dump_grow(dump);
		if (!listener)
			return -ENOMEM;
		*listener = first;
		listener->port = (uint16_t)(first.port + i);
		listener->agent_port = (uint16_t)(first.agent_port + i);
	}
	return 0;
}

int kk_module_list(const struct kk_module *module, struct kk_listener **ret, struct kk_err *err)
{
	struct kk_module_info info;
	struct dump dump = {.set = &info.settings, .size = sizeof(struct kk_listener)};
	int r;

	r = kk_module_info(module, &info, err);
	if (r == 0)
		r = dump_read(module, KK_CMD_LISTENER_GET, on_listener, &dump,
			      "the listeners could not be read", err);
	if (r < 0)
		free(dump.items);
	else
		*ret = dump.items;
	return r;
}

/* One entry of a dump: nest @type into a new item of it. */
#define ON_ENTRY(name, type, item_type, get)                                                       \
	static int name(struct nlmsghdr *hdr, void *userdata)                                      \
	{                                                                                          \
		struct nlattr *attrs[KK_A_MAX + 1];                                                \
		item_type *item;                                                                   \
		int r = kk_wire_parse(hdr, attrs);                                                 \
                                                                                                   \
		if (r < 0 || !attrs[type])                                                         \
			return r < 0 ? r : -EBADMSG;                                               \
		item = dump_grow(userdata);                                                        \
		return item ? get(attrs[type], item) : -ENOMEM;                                    \
	}

/* A group with room for its members. */
struct group_item {
	struct kk_group group;
	struct kk_member members[KK_MAGLEV_MEMBERS_MAX];
};

static int get_group(struct nlattr *nest, struct group_item *item)
{
	return kk_wire_get_group(nest, &item->group, item->members);
}

ON_ENTRY(on_group, KK_A_GROUP, struct group_item, get_group)
ON_ENTRY(on_guard, KK_A_GUARD, struct kk_guard, kk_wire_get_guard)
ON_ENTRY(on_rule, KK_A_RULE, struct kk_list_record, kk_wire_get_rule)
ON_ENTRY(on_ban, KK_A_BAN, struct kk_ban_entry, kk_wire_get_ban)
ON_ENTRY(on_flow, KK_A_FLOW, struct kk_module_flow, kk_wire_get_flow)

int kk_module_bans(const struct kk_module *module, struct kk_ban_entry **ret, struct kk_err *err)
{
	struct dump dump = {.size = sizeof(struct kk_ban_entry)};
	int r = dump_read(module, KK_CMD_BAN_GET, on_ban, &dump, "the bans could not be read", err);

	if (r < 0)
		free(dump.items);
	else
		*ret = dump.items;
	return r;
}

int kk_module_flows(const struct kk_module *module, struct kk_module_flow **ret, struct kk_err *err)
{
	struct dump dump = {.size = sizeof(struct kk_module_flow)};
	int r = dump_read(module, KK_CMD_FLOW_GET, on_flow, &dump, "the flows could not be read",
			  err);

	if (r < 0)
		free(dump.items);
	else
		*ret = dump.items;
	return r;
}

static int read_groups(const struct kk_module *module, struct kk_tables_all *all,
		       struct kk_err *err)
{
	struct dump dump = {.size = sizeof(struct group_item)};
	int n = dump_read(module, KK_CMD_GROUP_GET, on_group, &dump, "the groups could not be read",
			  err);
	KK_CLEANUP_FREE struct group_item *items = dump.items;
	size_t n_members = 0;

	if (n < 0)
		return n;
	all->groups = calloc((size_t)n + 1, sizeof(*all->groups));
	all->members = calloc((size_t)n + 1, sizeof(items->members));
	if (!all->groups || !all->members)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	for (int i = 0; i < n; i++) {
		struct kk_group *group = &all->groups[i];

		/* Where the item was when it was read is not where it is. */
		*group = items[i].group;
		group->members = memcpy(all->members + n_members, items[i].members,
					group->n_members * sizeof(struct kk_member));
		n_members += group->n_members;
	}
	all->tables.groups = all->groups;
	all->tables.n_groups = (size_t)n;
	return 0;
}

static int read_guards(const struct kk_module *module, struct kk_tables_all *all,
		       struct kk_err *err)
{
	struct dump dump = {.size = sizeof(struct kk_guard)};
	int n = dump_read(module, KK_CMD_GUARD_GET, on_guard, &dump, "the guards could not be read",
			  err);

	all->guards = dump.items;
	if (n < 0)
		return n;
	all->tables.guards = all->guards;
	all->tables.n_guards = (size_t)n;
	return 0;
}

static int read_lists(const struct kk_module *module, struct kk_tables_all *all, struct kk_err *err)
{
	struct dump dump = {.size = sizeof(struct kk_list_record)};
	int n = dump_read(module, KK_CMD_RULE_GET, on_rule, &dump, "the lists could not be read",
			  err);
	KK_CLEANUP_FREE struct kk_list_record *records = dump.items;

	if (n >= 0)
		n = kk_lists_make(records, (size_t)n, &all->lists, err);
	if (n < 0)
		return n;
	all->tables.lists = all->lists;
	all->tables.n_lists = (size_t)n;
	return 0;
}

static int read_all(const struct kk_module *module, struct kk_tables_all *all, struct kk_err *err)
{
	int n = kk_module_list(module, &all->listeners, err), r;

	if (n < 0)
		return n;
	all->tables.listeners = all->listeners;
	all->tables.n_listeners = (size_t)n;
	r = read_groups(module, all, err);
	if (r == 0)
		r = read_guards(module, all, err);
	return r < 0 ? r : read_lists(module, all, err);
}

int kk_module_read(const struct kk_module *module, struct kk_datapath_tables **ret,
		   struct kk_err *err)
{
	struct kk_tables_all *all = calloc(1, sizeof(*all));
	int r;

	if (!all)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	r = read_all(module, all, err);
	if (r < 0)
		kk_datapath_tables_free(&all->tables);
	else
		*ret = &all->tables;
	return r;
}

enum kk_reason kk_wire_reason(const struct nlattr *attr)
{
	for (int reason = 0; reason < KK_REASON_MAX; reason++)
		if (strcmp(nla_data(attr), kk_reason_name(reason)) == 0)
			return reason;
	return KK_REASON_MAX;
}

static int on_counter(struct nlmsghdr *hdr, void *userdata)
{
	static struct nla_policy policy[KK_COUNTER_A_MAX + 1] = {
		[KK_COUNTER_A_REASON] = {.type = NLA_NUL_STRING},
		[KK_COUNTER_A_VERDICT] = {.type = NLA_NUL_STRING},
		[KK_COUNTER_A_PACKETS] = {.type = NLA_U64},
		[KK_COUNTER_A_BYTES] = {.type = NLA_U64},
	};
	struct nlattr *attrs[KK_A_MAX + 1], *a[KK_COUNTER_A_MAX + 1];
	struct kk_datapath_counter *counter;
	enum kk_reason reason;
	int r;

	r = kk_wire_parse(hdr, attrs);
	if (r < 0)
		return r;
	if (!attrs[KK_A_COUNTER] ||
	    nla_parse_nested(a, KK_COUNTER_A_MAX, attrs[KK_A_COUNTER], policy) < 0 ||
	    !a[KK_COUNTER_A_REASON] || !a[KK_COUNTER_A_PACKETS] || !a[KK_COUNTER_A_BYTES])
		return -EBADMSG;
	reason = kk_wire_reason(a[KK_COUNTER_A_REASON]);
	counter = dump_grow(userdata);
	if (reason == KK_REASON_MAX || !counter)
		return counter ? -EBADMSG : -ENOMEM;
	*counter = (struct kk_datapath_counter){
		.name = kk_reason_name(reason),
		.verdict = kk_verdict_name(kk_verdict(reason)),
		.packets = nla_get_u64(a[KK_COUNTER_A_PACKETS]),
		.bytes = nla_get_u64(a[KK_COUNTER_A_BYTES]),
	};
	return 0;
}

int kk_module_counters(const struct kk_module *module, struct kk_datapath_counter **ret,
		       struct kk_err *err)
{
	struct dump dump = {.size = sizeof(struct kk_datapath_counter)};
	int r = dump_read(module, KK_CMD_COUNTER_GET, on_counter, &dump,
			  "the counters could not be read", err);

	if (r < 0)
		free(dump.items);
	else
		*ret = dump.items;
	return r;
}

static int on_service(struct nlmsghdr *hdr, void *userdata)
{
	static struct nla_policy policy[KK_SERVICE_A_MAX + 1] = {
		[KK_SERVICE_A_ID] = {.type = NLA_U32},
		[KK_SERVICE_A_IN_PACKETS] = {.type = NLA_U64},
		[KK_SERVICE_A_IN_BYTES] = {.type = NLA_U64},
		[KK_SERVICE_A_OUT_PACKETS] = {.type = NLA_U64},
		[KK_SERVICE_A_OUT_BYTES] = {.type = NLA_U64},
	};
	struct nlattr *attrs[KK_A_MAX + 1], *a[KK_SERVICE_A_MAX + 1];
	struct kk_datapath_service *service;
	int r;

	r = kk_wire_parse(hdr, attrs);
	if (r < 0)
		return r;
	if (!attrs[KK_A_SERVICE] ||
	    nla_parse_nested(a, KK_SERVICE_A_MAX, attrs[KK_A_SERVICE], policy) < 0 ||
	    !a[KK_SERVICE_A_ID] || !a[KK_SERVICE_A_IN_PACKETS] || !a[KK_SERVICE_A_IN_BYTES] ||
	    !a[KK_SERVICE_A_OUT_PACKETS] || !a[KK_SERVICE_A_OUT_BYTES])
		return -EBADMSG;
	service = dump_grow(userdata);
	if (!service)
		return -ENOMEM;
	*service = (struct kk_datapath_service){
		.service = nla_get_u32(a[KK_SERVICE_A_ID]),
		.in_packets = nla_get_u64(a[KK_SERVICE_A_IN_PACKETS]),
		.in_bytes = nla_get_u64(a[KK_SERVICE_A_IN_BYTES]),
		.out_packets = nla_get_u64(a[KK_SERVICE_A_OUT_PACKETS]),
		.out_bytes = nla_get_u64(a[KK_SERVICE_A_OUT_BYTES]),
	};
	return 0;
}

int kk_module_services(const struct kk_module *module, struct kk_datapath_service **ret,
		       struct kk_err *err)
{
	struct dump dump = {.size = sizeof(struct kk_datapath_service)};
	int r = dump_read(module, KK_CMD_SERVICE_GET, on_service, &dump,
			  "the services' traffic could not be read", err);

	if (r < 0)
		free(dump.items);
	else
		*ret = dump.items;
	return r;
}
