// SPDX-License-Identifier: MIT
/* kkctl datapath show: what is configured, read back from the tables. */
#include "ctl/datapath.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "ctl/api.h"
#include "ctl/print.h"
#include "util/cleanup.h"
#include "util/json.h"

static void tables_freep(struct kk_datapath_tables **tables)
{
	kk_plane_tables_free(*tables);
}

static const char *ip4_text(struct in_addr address, char text[INET_ADDRSTRLEN])
{
	inet_ntop(AF_INET, &address, text, INET_ADDRSTRLEN);
	return text;
}

/* ---- listeners ---- */

static void format_port(const json_t *obj, char *text, size_t size)
{
	snprintf(text, size, "%lld/%s", json_integer_value(json_object_get(obj, "port")),
		 ctl_text(obj, "protocol"));
}

static void format_agent(const json_t *obj, char *text, size_t size)
{
	long long port = json_integer_value(json_object_get(obj, "agent_port"));
	const json_t *group = json_object_get(obj, "group");

	if (group)
		snprintf(text, size, "group %lld:%lld", json_integer_value(group), port);
	else
		snprintf(text, size, "%s:%lld", ctl_text(obj, "agent_address"), port);
}

static void format_notes(const json_t *obj, char *text, size_t size)
{
	static const char *const notes[] = {"guarded", "snat", "draining"};
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(notes); i++)
		if (json_object_get(obj, notes[i]) && used < size)
			used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "",
						 notes[i]);
}

static const struct ctl_column listener_columns[] = {
	{"ADDRESS", "address", NULL},	 {"PORT", NULL, format_port},	{"TO", NULL, format_agent},
	{"SERVICE ID", "service", NULL}, {"NOTES", NULL, format_notes},
};

static bool is_guarded(const struct kk_datapath_tables *tables, uint32_t service)
{
	for (size_t i = 0; i < tables->n_guards; i++)
		if (tables->guards[i].service == service)
			return true;
	return false;
}

static json_t *listener_json(const struct kk_datapath_tables *tables, const struct kk_listener *l)
{
	char public[KK_ADDRESS_TEXT], agent[INET_ADDRSTRLEN];
	json_t *obj = json_pack("{s:s, s:s, s:i, s:i, s:I}", "address",
				kk_address_text(&l->address, public), "protocol",
				l->protocol == IPPROTO_TCP ? "tcp" : "udp", "port", l->port,
				"agent_port", l->agent_port, "service", (json_int_t)l->service);

	if (l->group)
		json_object_set_new(obj, "group", json_integer(l->group));
	else
		json_object_set_new(obj, "agent_address",
				    json_string(ip4_text(l->agent_address, agent)));
	if (is_guarded(tables, l->service))
		json_object_set_new(obj, "guarded", json_true());
	if (l->snat)
		json_object_set_new(obj, "snat", json_true());
	if (l->draining)
		json_object_set_new(obj, "draining", json_true());
	return obj;
}

static json_t *listeners_json(const struct kk_datapath_tables *tables)
{
	json_t *items = json_array();

	for (size_t i = 0; i < tables->n_listeners; i++)
		json_array_append_new(items, listener_json(tables, &tables->listeners[i]));
	return items;
}

/* The last column is for what few listeners have. */
static size_t count_columns(const struct kk_datapath_tables *tables)
{
	size_t n = ARRAY_SIZE(listener_columns);

	if (tables->n_guards)
		return n;
	for (size_t i = 0; i < tables->n_listeners; i++)
		if (tables->listeners[i].snat || tables->listeners[i].draining)
			return n;
	return n - 1;
}

/* ---- groups ---- */

static void format_members(const json_t *obj, char *text, size_t size)
{
	const json_t *members = json_object_get(obj, "members"), *member;
	size_t i, used = 0;

	text[0] = '\0';
	json_array_foreach((json_t *)members, i, member) {
		int n = snprintf(text + used, size - used, "%s%s", i ? ", " : "",
				 json_string_value(member));

		if (n < 0 || used + (size_t)n >= size)
			return;
		used += (size_t)n;
	}
}

static const struct ctl_column group_columns[] = {
	{"GROUP", "group", NULL},
	{"AGENTS THAT GET FLOWS", NULL, format_members},
};

static json_t *groups_json(const struct kk_datapath_tables *tables)
{
	json_t *items = json_array();

	for (size_t i = 0; i < tables->n_groups; i++) {
		const struct kk_group *group = &tables->groups[i];
		json_t *members = json_array();
		char text[INET_ADDRSTRLEN];

		for (size_t j = 0; j < group->n_members; j++)
			json_array_append_new(
				members, json_string(ip4_text(group->members[j].address, text)));
		json_array_append_new(items, json_pack("{s:I, s:o}", "group", (json_int_t)group->id,
						       "members", members));
	}
	return items;
}

/* ---- guards ---- */

static void format_limit(const json_t *limit, char *text, size_t size)
{
	if (limit)
		snprintf(text, size, "%lld/s, burst %lld",
			 json_integer_value(json_object_get(limit, "rate")),
			 json_integer_value(json_object_get(limit, "burst")));
	else
		snprintf(text, size, "-");
}

static void format_packets(const json_t *obj, char *text, size_t size)
{
	format_limit(json_object_get(obj, "packets"), text, size);
}

static void format_connections(const json_t *obj, char *text, size_t size)
{
	format_limit(json_object_get(obj, "connections"), text, size);
}

static void format_list(const json_t *obj, char *text, size_t size)
{
	const json_t *list = json_object_get(obj, "list");

	if (list)
		snprintf(text, size, "%lld", json_integer_value(list));
	else
		snprintf(text, size, "-");
}

static const struct ctl_column guard_columns[] = {
	{"SERVICE ID", "service", NULL},
	{"LIST", NULL, format_list},
	{"OTHERS", "others", NULL},
	{"PACKETS", NULL, format_packets},
	{"CONNECTIONS", NULL, format_connections},
};

static void set_limit(json_t *obj, const char *key, const struct kk_limit *limit)
{
	if (limit->rate)
		json_object_set_new(obj, key,
				    json_pack("{s:I, s:I}", "rate", (json_int_t)limit->rate,
					      "burst", (json_int_t)limit->burst));
}

static json_t *guards_json(const struct kk_datapath_tables *tables)
{
	json_t *items = json_array();

	for (size_t i = 0; i < tables->n_guards; i++) {
		const struct kk_guard *guard = &tables->guards[i];
		json_t *obj = json_pack("{s:I, s:s}", "service", (json_int_t)guard->service,
					"others", guard->deny_others ? "deny" : "allow");

		if (guard->list)
			json_object_set_new(obj, "list", json_integer(guard->list));
		set_limit(obj, "packets", &guard->packets);
		set_limit(obj, "connections", &guard->connections);
		json_array_append_new(items, obj);
	}
	return items;
}

/* ---- lists ---- */

static void format_list_id(const json_t *obj, char *text, size_t size)
{
	json_int_t id = json_integer_value(json_object_get(obj, "list"));

	if (id)
		snprintf(text, size, "%lld", id);
	else
		snprintf(text, size, "gateway");
}

static const struct ctl_column rule_columns[] = {
	{"LIST", NULL, format_list_id},
	{"PREFIX", "prefix", NULL},
	{"VERDICT", "verdict", NULL},
};

static json_t *rules_json(const struct kk_datapath_tables *tables)
{
	json_t *items = json_array();

	for (size_t i = 0; i < tables->n_lists; i++)
		for (size_t j = 0; j < tables->lists[i].n_rules; j++) {
			const struct kk_rule *rule = &tables->lists[i].rules[j];
			char text[KK_PREFIX_TEXT];

			json_array_append_new(items,
					      json_pack("{s:I, s:s, s:s}", "list",
							(json_int_t)tables->lists[i].id, "prefix",
							kk_prefix_text(&rule->prefix, text),
							"verdict", rule->allow ? "allow" : "deny"));
		}
	return items;
}

/* ---- bans ---- */

static void format_ban_service(const json_t *obj, char *text, size_t size)
{
	const json_t *service = json_object_get(obj, "service");

	if (service)
		snprintf(text, size, "%lld", json_integer_value(service));
	else
		snprintf(text, size, "all");
}

static void format_left(const json_t *obj, char *text, size_t size)
{
	const json_t *seconds = json_object_get(obj, "seconds");

	if (seconds)
		snprintf(text, size, "%lld s", json_integer_value(seconds));
	else
		snprintf(text, size, "for good");
}

static const struct ctl_column ban_columns[] = {
	{"BANNED", "source", NULL},
	{"SERVICE ID", NULL, format_ban_service},
	{"LEFT", NULL, format_left},
};

static json_t *bans_json(const struct kk_ban_entry *bans, int n)
{
	json_t *items = json_array();

	for (int i = 0; i < n; i++) {
		char text[KK_ADDRESS_TEXT];
		json_t *obj = json_pack("{s:s}", "source", kk_address_text(&bans[i].source, text));

		if (bans[i].service)
			json_object_set_new(obj, "service", json_integer(bans[i].service));
		if (bans[i].seconds)
			json_object_set_new(obj, "seconds", json_integer(bans[i].seconds));
		json_array_append_new(items, obj);
	}
	return items;
}

/* ---- who forwards, and XDP ---- */

/* As the kernel says now, of the reader's network namespace. */
static json_t *host_json(const struct kk_plane *plane)
{
	return json_pack("{s:s, s:s}", "kind", kk_plane_kind(plane), "reason",
			 kk_plane_reason(plane));
}

static void print_host(const json_t *host)
{
	printf("\nForwards: %s\n", ctl_text(host, "reason"));
}

/* As the kernel says now, for which the reader has to be in the gateway's network namespace. */
static json_t *xdp_json(const struct kk_plane *plane)
{
	struct kk_xdp_state xdp;

	if (kk_datapath_edge(kk_plane_bpf(plane), &xdp, NULL) < 0)
		return json_null();
	return json_pack("{s:s, s:b, s:s}", "mode", kk_xdp_mode_name(xdp.mode), "shared",
			 xdp.shared, "reason", xdp.reason);
}

static void print_xdp(const json_t *xdp)
{
	const char *reason = ctl_text(xdp, "reason");

	if (json_is_object(xdp))
		printf("XDP: %s%s%s%s\n", ctl_text(xdp, "mode"),
		       json_is_true(json_object_get(xdp, "shared")) ? ", beside others" : "",
		       *reason ? ": " : "", reason);
}

/* ---- all of it ---- */

/* What is not in use is not worth a line to people. */
static void print_some(const json_t *answer, const char *key, const struct ctl_column *columns,
		       size_t n_columns)
{
	const json_t *items = json_object_get(answer, key);

	if (!json_array_size(items))
		return;
	putchar('\n');
	ctl_print_list(items, columns, n_columns, "");
}

static void print(const json_t *answer, const struct kk_datapath_tables *tables)
{
	ctl_print_list(json_object_get(answer, "listeners"), listener_columns,
		       count_columns(tables), "Nothing is published here.");
	print_some(answer, "groups", group_columns, ARRAY_SIZE(group_columns));
	print_some(answer, "guards", guard_columns, ARRAY_SIZE(guard_columns));
	print_some(answer, "rules", rule_columns, ARRAY_SIZE(rule_columns));
	print_some(answer, "bans", ban_columns, ARRAY_SIZE(ban_columns));
	print_host(json_object_get(answer, "host"));
	print_xdp(json_object_get(answer, "xdp"));
}

int ctl_datapath_show(struct ctl *ctl)
{
	KK_CLEANUP(ctl_datapath_closep) struct kk_plane *plane = NULL;
	KK_CLEANUP(tables_freep) struct kk_datapath_tables *tables = NULL;
	KK_CLEANUP_FREE struct kk_ban_entry *bans = NULL;
	KK_CLEANUP_JSON json_t *answer = NULL;
	struct kk_err err = {0};
	int n, r = ctl_datapath_open(ctl, &plane);

	if (r != CTL_DONE)
		return r;
	if (kk_plane_read(plane, &tables, &err) < 0)
		return ctl_fail(CTL_REFUSED, "%s", err.msg);
	n = kk_datapath_bans(kk_plane_bpf(plane), &bans, &err);
	if (n < 0)
		return ctl_fail(CTL_REFUSED, "%s", err.msg);
	answer = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "listeners",
			   listeners_json(tables), "groups", groups_json(tables), "guards",
			   guards_json(tables), "rules", rules_json(tables), "bans",
			   bans_json(bans, n), "xdp", xdp_json(plane), "host", host_json(plane));
	if (ctl->options.json)
		ctl_print_json(answer);
	else
		print(answer, tables);
	return CTL_DONE;
}
