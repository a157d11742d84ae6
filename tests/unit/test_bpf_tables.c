// SPDX-License-Identifier: MIT
/*
 * The loader's other tables: groups, lists, guards, bans, what drains; all or nothing across all of them; sizes. Needs
 * root.
 */
#include "datapath_world.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <bpf/bpf.h>

#include <kk/core/types.h>

#include "bpf/trace.h"

static struct world world;

static struct kk_listener listener(uint8_t protocol, uint16_t port, const char *agent,
				   uint16_t agent_port, uint32_t service)
{
	return (struct kk_listener){
		.protocol = protocol,
		.address = world.address,
		.port = port,
		.agent_address = ip4(agent),
		.agent_port = agent_port,
		.service = service,
	};
}

static struct kk_address address(const char *text)
{
	struct kk_address a;
	struct kk_err err = {0};

	assert_ok(kk_parse_address("address", text, &a, &err), &err);
	return a;
}

static struct kk_rule rule(const char *text, bool allow)
{
	struct kk_rule r = {.allow = allow};
	struct kk_err err = {0};

	assert_ok(kk_parse_prefix("prefix", text, &r.prefix, &err), &err);
	return r;
}

static struct kk_datapath *open_datapath(void)
{
	struct kk_datapath *dp;
	struct kk_err err = {0};

	assert_ok(kk_datapath_open(&world.config, &dp, &err), &err);
	return dp;
}

static void set_ok(struct kk_datapath *dp, const struct kk_datapath_tables *wanted)
{
	struct kk_err err = {0};

	assert_ok(kk_datapath_set(dp, wanted, &err), &err);
}

static void set_nothing(struct kk_datapath *dp)
{
	set_ok(dp, &(struct kk_datapath_tables){0});
}

/* The reason that a packet fares by. */
static const char *fate_of(struct kk_datapath *dp, uint8_t protocol, const char *source,
			   uint16_t source_port, const char *dest, uint16_t dest_port,
			   uint8_t flags, struct kk_trace *trace)
{
	const struct kk_trace_packet packet = {
		.protocol = protocol,
		.source = address(source),
		.dest = address(dest),
		.source_port = source_port,
		.dest_port = dest_port,
		.tcp_flags = flags,
	};
	struct kk_err err = {0};

	assert_ok(kk_datapath_trace(dp, &packet, KK_TRACE_ALL, NULL, NULL, trace, &err), &err);
	return trace->reason;
}

static const char *fate(struct kk_datapath *dp, const char *source, uint16_t port, uint8_t flags)
{
	struct kk_trace trace;

	return fate_of(dp, IPPROTO_TCP, source, 4000, "198.51.100.1", port, flags, &trace);
}

#define SYN 0x02
#define ACK 0x10

/* ---- a configuration with some of everything ---- */

struct some {
	struct kk_listener listeners[4];
	struct kk_member members[3];
	struct kk_group groups[1];
	struct kk_rule rules[3], denied[2];
	struct kk_list lists[2];
	struct kk_guard guards[2];
	struct kk_datapath_tables tables;
};

static void some_init(struct some *s)
{
	*s = (struct some){
		.listeners = {listener(IPPROTO_TCP, 443, "0.0.0.0", 8443, 1),
			      listener(IPPROTO_TCP, 2222, "10.1.0.100", 22, 2),
			      listener(IPPROTO_UDP, 53, "10.2.0.100", 53, 3),
			      listener(IPPROTO_TCP, 80, "10.2.0.100", 80, 4)},
		.members = {{ip4("10.1.0.100"), true},
			    {ip4("10.2.0.100"), true},
			    {ip4("10.3.0.100"), true}},
		.rules = {rule("203.0.113.0/24", true), rule("203.0.113.64/26", false),
			  rule("2001:db8::/32", true)},
		.denied = {rule("192.0.2.0/24", false), rule("::/0", false)},
		.guards = {{.service = 2, .list = 9, .deny_others = true},
			   {.service = 3,
			    .packets = {.rate = 1000, .burst = 50},
			    .connections = {.rate = 2, .burst = 1},
			    .syn_rate = 77}},
	};
	s->listeners[0].group = 5;
	s->groups[0] = (struct kk_group){5, s->members, 3};
	s->lists[0] = (struct kk_list){9, s->rules, 3};
	s->lists[1] = (struct kk_list){0, s->denied, 2};
	s->tables = (struct kk_datapath_tables){s->listeners, 4, s->groups, 1,
						s->guards,    2, s->lists,  2};
}

static bool same_limit(const struct kk_limit *a, const struct kk_limit *b)
{
	return a->rate == b->rate && (a->rate == 0 || a->burst == b->burst);
}

static const struct kk_list *find_list(const struct kk_datapath_tables *tables, uint32_t id)
{
	for (size_t i = 0; i < tables->n_lists; i++)
		if (tables->lists[i].id == id)
			return &tables->lists[i];
	fail_msg("no list %u", id);
	return NULL;
}

static bool has_rule(const struct kk_list *list, const struct kk_rule *wanted)
{
	for (size_t i = 0; i < list->n_rules; i++)
		if (kk_prefix_equal(&list->rules[i].prefix, &wanted->prefix))
			return list->rules[i].allow == wanted->allow;
	return false;
}

static void assert_guard(const struct kk_datapath_tables *tables, const struct kk_guard *wanted)
{
	for (size_t i = 0; i < tables->n_guards; i++) {
		const struct kk_guard *g = &tables->guards[i];

		if (g->service != wanted->service)
			continue;
		assert_int_equal(g->list, wanted->list);
		assert_int_equal(g->deny_others, wanted->deny_others);
		assert_int_equal(g->syn_rate, wanted->syn_rate);
		assert_true(same_limit(&g->packets, &wanted->packets));
		assert_true(same_limit(&g->connections, &wanted->connections));
		return;
	}
	fail_msg("service %u has no guard", wanted->service);
}

/* The tables hold what some_init() makes, no more and no less. */
static void assert_some(struct kk_datapath *dp, const struct some *s)
{
	struct kk_datapath_tables *t;
	struct kk_err err = {0};

	assert_ok(kk_datapath_read(dp, &t, &err), &err);
	assert_int_equal(t->n_listeners, s->tables.n_listeners);
	assert_int_equal(t->listeners[0].port, 80);
	assert_int_equal(t->listeners[1].port, 443);
	assert_int_equal(t->listeners[1].group, 5);
	assert_int_equal(t->n_groups, 1);
	assert_int_equal(t->groups[0].id, 5);
	assert_int_equal(t->groups[0].n_members, 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(t->groups[0].members[i].address.s_addr,
				 s->members[i].address.s_addr);
	assert_int_equal(t->n_guards, s->tables.n_guards);
	for (size_t i = 0; i < s->tables.n_guards; i++)
		assert_guard(t, &s->guards[i]);
	assert_int_equal(t->n_lists, s->tables.n_lists);
	for (size_t i = 0; i < s->tables.n_lists; i++) {
		const struct kk_list *list = find_list(t, s->lists[i].id);

		assert_int_equal(list->n_rules, s->lists[i].n_rules);
		for (size_t j = 0; j < list->n_rules; j++)
			assert_true(has_rule(list, &s->lists[i].rules[j]));
	}
	kk_datapath_tables_free(t);
}

static void test_reads_back_what_was_set(void **state)
{
	struct kk_datapath *dp = open_datapath();
	struct some s;

	(void)state;
	some_init(&s);
	set_ok(dp, &s.tables);
	assert_some(dp, &s);
	set_ok(dp, &s.tables);
	assert_some(dp, &s);
	kk_datapath_close(dp);
	dp = open_datapath(); /* as after a restart */
	assert_some(dp, &s);
	s.guards[0].deny_others = false;
	s.rules[1].allow = true;
	s.tables.n_lists = 1;
	set_ok(dp, &s.tables);
	assert_some(dp, &s);
	set_nothing(dp);
	kk_datapath_close(dp);
}

static void test_guards_judge(void **state)
{
	struct kk_datapath *dp = open_datapath();
	struct some s;

	(void)state;
	some_init(&s);
	set_ok(dp, &s.tables);
	assert_string_equal(fate(dp, "203.0.113.1", 2222, SYN), "inbound");
	assert_string_equal(fate(dp, "203.0.113.65", 2222, SYN), "denied");
	assert_string_equal(fate(dp, "198.18.0.1", 2222, SYN), "denied");
	assert_string_equal(fate(dp, "192.0.2.1", 80, SYN), "denied"); /* by the gateway */
	assert_string_equal(fate(dp, "198.18.0.1", 80, SYN), "inbound");
	s.tables.n_guards = 0;
	s.tables.n_lists = 0;
	set_ok(dp, &s.tables);
	assert_string_equal(fate(dp, "203.0.113.65", 2222, SYN), "inbound");
	assert_string_equal(fate(dp, "192.0.2.1", 80, SYN), "inbound");
	set_nothing(dp);
	kk_datapath_close(dp);
}

/* ---- groups ---- */

/* How many of 1000 flows each member gets, and whether its answers leave as the service's. */
static void count_flows(struct kk_datapath *dp, unsigned int hits[3])
{
	memset(hits, 0, 3 * sizeof(*hits));
	for (uint16_t port = 1; port <= 1000; port += 10) {
		struct kk_trace there, back;
		char agent[KK_ADDRESS_TEXT];

		assert_string_equal(fate_of(dp, IPPROTO_TCP, "203.0.113.9", port, "198.51.100.1",
					    443, SYN, &there),
				    "inbound");
		assert_int_equal(there.dest_port, 8443);
		hits[ntohl(there.dest.v4.s_addr) >> 16 & 0xff
			     ? (ntohl(there.dest.v4.s_addr) >> 16 & 0xff) - 1
			     : 0]++;
		kk_address_text(&there.dest, agent);
		assert_string_equal(fate_of(dp, IPPROTO_TCP, agent, 8443, "203.0.113.9", port,
					    SYN | ACK, &back),
				    "outbound");
		assert_int_equal(back.source_port, 443);
	}
}

static void test_groups(void **state)
{
	struct kk_datapath *dp = open_datapath();
	struct kk_err err = {0};
	unsigned int hits[3];
	struct some s;

	(void)state;
	some_init(&s);
	set_ok(dp, &s.tables);
	count_flows(dp, hits);
	for (int i = 0; i < 3; i++)
		assert_in_range(hits[i], 20, 50);
	s.members[1].healthy = false;
	assert_ok(kk_datapath_set_group(dp, &s.groups[0], &err), &err);
	count_flows(dp, hits);
	assert_int_equal(hits[1], 0);
	s.groups[0].id = 6;
	assert_int_equal(kk_datapath_set_group(dp, &s.groups[0], &err), -ENOENT);
	assert_err(&err, "group", "6");
	s.groups[0].id = 5;
	s.members[0].address = ip4("10.9.0.100");
	assert_int_equal(kk_datapath_set_group(dp, &s.groups[0], &err), -EINVAL);
	set_nothing(dp);
	kk_datapath_close(dp);
}

/* Groups come and go: one that stays keeps its place, and so its flows, whatever the order. */
static void test_groups_keep_their_place(void **state)
{
	struct kk_datapath *dp = open_datapath();
	struct kk_member members[KK_GROUPS_MAX];
	struct kk_group groups[KK_GROUPS_MAX + 1];
	struct kk_listener listeners[KK_GROUPS_MAX];
	struct kk_datapath_tables wanted = {.listeners = listeners, .groups = groups};
	struct kk_err err = {0};
	struct kk_trace trace;

	(void)state;
	for (uint32_t i = 0; i < KK_GROUPS_MAX; i++) {
		members[i] = (struct kk_member){{htonl(0x0a000064 + (i << 8))}, true};
		groups[i] = (struct kk_group){1000 - i, &members[i], 1};
		listeners[i] = listener(IPPROTO_TCP, (uint16_t)(1 + i), "0.0.0.0", 80, i + 1);
		listeners[i].group = 1000 - i;
	}
	wanted.n_listeners = wanted.n_groups = KK_GROUPS_MAX;
	set_ok(dp, &wanted);
	wanted.listeners += 100;
	wanted.n_listeners -= 100;
	wanted.groups += 100;
	wanted.n_groups -= 100;
	set_ok(dp, &wanted);
	wanted.listeners = listeners;
	wanted.groups = groups;
	wanted.n_listeners = wanted.n_groups = KK_GROUPS_MAX;
	for (uint32_t i = 0; i < 100; i++)
		groups[i].id = listeners[i].group = 5000 + i;
	set_ok(dp, &wanted);
	for (uint16_t i = 0; i < KK_GROUPS_MAX; i++) {
		assert_string_equal(fate_of(dp, IPPROTO_TCP, "203.0.113.9", 7, "198.51.100.1",
					    (uint16_t)(i + 1), SYN, &trace),
				    "inbound");
		assert_int_equal(trace.dest.v4.s_addr, members[i].address.s_addr);
	}
	groups[KK_GROUPS_MAX] = (struct kk_group){9999, members, 1};
	wanted.n_groups++;
	assert_int_equal(kk_datapath_set(dp, &wanted, &err), -ENOSPC);
	assert_err(&err, "groups", "257 groups");
	set_nothing(dp);
	kk_datapath_close(dp);
}

/* ---- bans ---- */

static void test_bans(void **state)
{
	struct kk_ban_entry bans[] = {
		{.source = address("203.0.113.7")},
		{.source = address("203.0.113.8"), .service = 2, .seconds = 3600},
		{.source = address("2001:db8:1:2::77"), .seconds = 60},
		{.source = address("203.0.113.8"), .service = 2, .seconds = 60},
	};
	KK_CLEANUP_FREE struct kk_ban_entry *list = NULL, *none = NULL;
	struct kk_datapath *dp = open_datapath();
	struct kk_err err = {0};
	struct some s;

	(void)state;
	some_init(&s);
	s.tables.n_guards = 0;
	s.tables.n_lists = 0;
	set_ok(dp, &s.tables);
	assert_ok(kk_datapath_ban(dp, bans, ARRAY_SIZE(bans), &err), &err);
	assert_string_equal(fate(dp, "203.0.113.7", 80, ACK), "banned");
	assert_string_equal(fate(dp, "203.0.113.8", 80, SYN), "inbound");
	assert_string_equal(fate(dp, "203.0.113.8", 2222, SYN), "banned");
	set_ok(dp, &s.tables); /* they are no part of it */
	assert_string_equal(fate(dp, "203.0.113.7", 80, ACK), "banned");
	assert_int_equal(kk_datapath_bans(dp, &list, &err), 3);
	for (int i = 0; i < 3; i++)
		if (list[i].source.family == AF_INET6) {
			const struct kk_address subscriber = address("2001:db8:1:2::");

			assert_true(kk_address_equal(&list[i].source, &subscriber));
			assert_in_range(list[i].seconds, 1, 60);
		} else {
			assert_in_range(list[i].seconds, list[i].service ? 3500 : 0,
					list[i].service ? 3600 : 0);
		}
	assert_ok(kk_datapath_unban(dp, &bans[0].source, 0, &err), &err);
	assert_string_equal(fate(dp, "203.0.113.7", 80, ACK), "inbound");
	assert_int_equal(kk_datapath_unban(dp, &bans[0].source, 0, &err), -ENOENT);
	assert_err(&err, "source", "203.0.113.7");
	err = (struct kk_err){0};
	assert_int_equal(kk_datapath_unban(dp, &bans[1].source, 3, &err), -ENOENT);
	err = (struct kk_err){0};
	assert_ok(kk_datapath_unban(dp, &bans[1].source, 2, &err), &err);
	assert_ok(kk_datapath_unban(dp, &bans[2].source, 0, &err), &err);
	assert_int_equal(kk_datapath_bans(dp, &none, &err), 0);
	bans[0].source = address("224.0.0.1");
	assert_int_equal(kk_datapath_ban(dp, bans, 2, &err), -EINVAL);
	assert_err(&err, "source", "224.0.0.1");
	set_nothing(dp);
	kk_datapath_close(dp);
}

static void test_bans_end(void **state)
{
	const struct kk_ban_entry ban = {.source = address("203.0.113.7"), .seconds = 1};
	KK_CLEANUP_FREE struct kk_ban_entry *list = NULL;
	struct kk_datapath *dp = open_datapath();
	const struct timespec pause = {.tv_nsec = 20000000};
	struct kk_err err = {0};
	struct some s;
	int turns = 0;

	(void)state;
	some_init(&s);
	set_ok(dp, &s.tables);
	assert_ok(kk_datapath_ban(dp, &ban, 1, &err), &err);
	while (strcmp(fate(dp, "203.0.113.7", 80, SYN), "banned") == 0 && turns++ < 500)
		nanosleep(&pause, NULL);
	assert_string_equal(fate(dp, "203.0.113.7", 80, SYN), "inbound");
	assert_int_equal(kk_datapath_bans(dp, &list, &err), 0);
	set_nothing(dp);
	kk_datapath_close(dp);
}

/* ---- drain ---- */

static void test_drain(void **state)
{
	struct kk_datapath *dp = open_datapath();
	struct kk_trace trace;
	struct some s;

	(void)state;
	some_init(&s);
	for (int i = 0; i < 4; i++)
		s.listeners[i].draining = true;
	s.tables.n_guards = 1;
	s.guards[0] = (struct kk_guard){.service = 3, .packets = {.rate = 1, .burst = 1}};
	s.tables.n_lists = 0;
	set_ok(dp, &s.tables);
	assert_string_equal(fate(dp, "203.0.113.9", 80, SYN), "not_ours");
	assert_string_equal(fate(dp, "203.0.113.9", 80, ACK), "inbound");
	assert_string_equal(fate(dp, "203.0.113.9", 443, SYN), "not_ours");
	assert_string_equal(fate(dp, "203.0.113.9", 443, ACK), "inbound");
	assert_string_equal(
		fate_of(dp, IPPROTO_TCP, "10.2.0.100", 80, "203.0.113.9", 7, ACK, &trace),
		"outbound");
	assert_string_equal(
		fate_of(dp, IPPROTO_UDP, "203.0.113.9", 7, "198.51.100.1", 53, 0, &trace),
		"not_ours");
	set_nothing(dp);
	kk_datapath_close(dp);
}

/* ---- all or nothing ---- */

static void test_bad_input(void **state)
{
	struct kk_datapath *dp = open_datapath();
	struct some good, s;
	const struct kk_rule host_bits = {.prefix = {.addr = address("203.0.113.1"), .len = 24}};
	struct kk_rule mapped = {.prefix = {.addr = {.family = AF_INET6}, .len = 120}};

	(void)state;
	mapped.prefix.addr.bytes[10] = mapped.prefix.addr.bytes[11] = 0xff;
	some_init(&good);
	set_ok(dp, &good.tables);
#define REFUSED(change, error, field, part)                                                        \
	do {                                                                                       \
		struct kk_err err = {0};                                                           \
		some_init(&s);                                                                     \
		change;                                                                            \
		assert_int_equal(kk_datapath_set(dp, &s.tables, &err), error);                     \
		assert_err(&err, field, part);                                                     \
		assert_some(dp, &good);                                                            \
	} while (0)
	REFUSED(s.tables.n_groups = 0, -ENOENT, "group", "group 5");
	REFUSED(s.groups[0].n_members = 0, -EINVAL, "group", "group 5 has 0 members");
	REFUSED(s.members[1] = s.members[0], -EEXIST, "agent", "group 5");
	REFUSED(s.members[1].address = ip4("192.0.2.1"), -EINVAL, "agent", "192.0.2.1");
	REFUSED(s.groups[0].id = 0, -EINVAL, "group", "0 is no group's id");
	REFUSED(s.tables.n_lists = 0, -ENOENT, "list", "service 2 goes by list 9");
	REFUSED(s.guards[1].service = 2, -EEXIST, "service", "service 2");
	REFUSED(s.guards[1].service = 99, -ENOENT, "service", "service 99");
	REFUSED(s.guards[1].packets.rate = KK_RATE_MAX + 1, -EINVAL, "rate", "10000001 packets");
	REFUSED(s.guards[1].packets.burst = 0, -EINVAL, "burst", "0 packets");
	REFUSED(s.guards[1].connections.burst = KK_BURST_MAX + 1, -EINVAL, "burst",
		"1000001 connections");
	REFUSED(s.lists[1].id = 9, -EEXIST, "list", "list 9 is there twice");
	REFUSED((s.guards[0].list = 0, s.lists[0].id = 0x80000000), -EINVAL, "list", "2147483648");
	REFUSED(s.denied[0].allow = true, -EINVAL, "prefix", "192.0.2.0/24");
	REFUSED(s.rules[1] = s.rules[0], -EEXIST, "prefix", "list 9 has 203.0.113.0/24 twice");
	REFUSED(s.rules[1] = host_bits, -EINVAL, "prefix", "203.0.113.1/24 has host bits");
	REFUSED(s.rules[1] = mapped, -EINVAL, "prefix", "is one of IPv4");
	set_nothing(dp);
	kk_datapath_close(dp);
}

/* The kernel has no room for the last of the prefixes: neither they nor anything else has changed. */
static void test_failure_in_the_middle(void **state)
{
	KK_CLEANUP_FREE struct kk_rule *many = calloc(KK_LIST_ENTRIES_MAX + 1, sizeof(*many));
	struct kk_datapath *dp = open_datapath();
	struct kk_err err = {0};
	struct some good, s;

	(void)state;
	assert_non_null(many);
	some_init(&good);
	set_ok(dp, &good.tables);
	some_init(&s);
	for (uint32_t i = 0; i <= KK_LIST_ENTRIES_MAX; i++)
		many[i] = (struct kk_rule){
			.prefix = {.addr = {.family = AF_INET, .v4.s_addr = htonl(i << 8)},
				   .len = 24}};
	s.lists[1].rules = many;
	s.lists[1].n_rules = KK_LIST_ENTRIES_MAX + 1;
	s.tables.n_listeners = 2;
	s.tables.n_guards = 1;
	assert_int_equal(kk_datapath_set(dp, &s.tables, &err), -ENOSPC);
	assert_err(&err, "lists", "131072");
	assert_some(dp, &good);
	set_nothing(dp);
	kk_datapath_close(dp);
}

/* ---- sizes ---- */

static double milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

#define AGENTS	  65024
#define LISTENERS 100000
#define PREFIXES  10000

/* Every Agent that there can be, 100,000 ports, 10,000 prefixes that are denied; then all of them others. */
static void test_sizes(void **state)
{
	KK_CLEANUP_FREE struct kk_listener *many = calloc(LISTENERS, sizeof(*many));
	KK_CLEANUP_FREE struct kk_rule *rules = calloc(PREFIXES, sizeof(*rules));
	const struct kk_list list = {.id = 0, .rules = rules, .n_rules = PREFIXES};
	const struct kk_datapath_tables wanted = {
		.listeners = many, .n_listeners = LISTENERS, .lists = &list, .n_lists = 1};
	struct kk_datapath *dp = open_datapath();

	(void)state;
	assert_true(many && rules);
	for (uint32_t turn = 0; turn < 2; turn++) {
		struct kk_datapath_tables *t;
		struct kk_err err = {0};
		double start;

		for (uint32_t i = 0; i < LISTENERS; i++) {
			uint32_t n =
				(i + turn) % AGENTS; /* requirement K4: 10.1.0.0, 10.2.0.0 ... */

			many[i] = listener(i < 65535 ? IPPROTO_TCP : IPPROTO_UDP,
					   (uint16_t)(i % 65535 + 1), "0.0.0.0",
					   (uint16_t)(i % 65535 + 1), i + 1);
			many[i].agent_address.s_addr =
				htonl(0x0a000064 | (n % 254 + 1) << 16 | n / 254 << 8);
			if (i % 2)
				many[i].agent_port = (uint16_t)(i / 2 + 1);
		}
		for (uint32_t i = 0; i < PREFIXES; i++) {
			rules[i].prefix.addr = (struct kk_address){
				.family = AF_INET, .v4.s_addr = htonl(0xc0000000 + i * 2048)};
			rules[i].prefix.len = (uint8_t)(22 + turn + i % 8);
		}
		start = milliseconds();
		set_ok(dp, &wanted);
		print_message("%d listeners of %d Agents, %d prefixes %s in %.0f ms\n", LISTENERS,
			      AGENTS, PREFIXES, turn ? "replaced" : "loaded",
			      milliseconds() - start);
		assert_ok(kk_datapath_read(dp, &t, &err), &err);
		assert_int_equal(t->n_listeners, LISTENERS);
		for (size_t i = 0; i < LISTENERS; i++) {
			assert_int_equal(t->listeners[i].port, many[i].port);
			assert_int_equal(t->listeners[i].agent_address.s_addr,
					 many[i].agent_address.s_addr);
			assert_int_equal(t->listeners[i].agent_port, many[i].agent_port);
			assert_int_equal(t->listeners[i].service, many[i].service);
		}
		assert_int_equal(t->n_lists, 1);
		assert_int_equal(t->lists[0].n_rules, PREFIXES);
		for (size_t i = 0; i < PREFIXES; i++)
			assert_true(
				kk_prefix_equal(&t->lists[0].rules[i].prefix, &rules[i].prefix));
		kk_datapath_tables_free(t);
	}
	set_nothing(dp);
	kk_datapath_close(dp);
}

static int setup(void **state)
{
	(void)state;
	world_init(&world);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	world_clean(&world);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_back_what_was_set),
		cmocka_unit_test(test_guards_judge),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_groups_keep_their_place),
		cmocka_unit_test(test_bans),
		cmocka_unit_test(test_bans_end),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_bad_input),
		cmocka_unit_test(test_failure_in_the_middle),
		cmocka_unit_test(test_sizes),
	};

	return kk_run_group_as_root("loads BPF programs and makes a network namespace", tests,
				    setup, teardown);
}
