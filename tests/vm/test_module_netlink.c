// SPDX-License-Identifier: MIT
/*
 * The module's netlink family: tables as wholes and in parts, what is refused and in which words, that what is
 * refused changes nothing, and who may. The module must be loaded; needs root.
 */
#include "tests/unit/datapath_world.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <netlink/attr.h>
#include <uapi/kakuremichi.h>

#include "genl/events.h"
#include "genl/module.h"
#include "genl/wire.h"
#include "net/nl.h"

#define N_MANY	20000
#define WAIT_MS 20000

static struct kk_module module;
static struct kk_module_settings settings;

static int enter_fresh_netns(void **state)
{
	struct kk_err err = {0};

	(void)state;
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	assert_ok(kk_net_link_add(WORLD_PUBLIC, "veth", &err), &err);
	assert_true(world_tun(WORLD_TUNNEL) >= 0);
	assert_ok(kk_module_open(&module, &err), &err);
	settings = (struct kk_module_settings){
		.core = {.address4 = {ip4("198.51.100.1").s_addr, ip4("198.51.100.2").s_addr},
			 .pool = ip4("10.0.0.0").s_addr,
			 .pool_mask = ip4("255.0.0.0").s_addr,
			 .host = htonl(1),
			 .mtu = 1420},
		.public_ifindex = if_nametoindex(WORLD_PUBLIC),
		.tunnel_ifindex = if_nametoindex(WORLD_TUNNEL),
	};
	assert_int_equal(inet_pton(AF_INET6, "2001:db8::1", &settings.core.address6[0]), 1);
	assert_int_equal(inet_pton(AF_INET6, "fd00:1::", &settings.core.pool6), 1);
	return 0;
}

static int leave(void **state)
{
	(void)state;
	kk_module_close(&module);
	return 0;
}

static struct kk_listener listener(const char *address, uint8_t protocol, uint16_t port,
				   const char *agent, uint16_t agent_port, uint32_t service)
{
	return (struct kk_listener){.address = public_address(address),
				    .protocol = protocol,
				    .port = port,
				    .agent_address = ip4(agent),
				    .agent_port = agent_port,
				    .service = service};
}

#define TCP(port, agent, agent_port, service)                                                      \
	listener("198.51.100.1", IPPROTO_TCP, port, agent, agent_port, service)

static bool same_place(const struct kk_listener *a, const struct kk_listener *b)
{
	return a->port == b->port && a->protocol == b->protocol &&
	       kk_address_equal(&a->address, &b->address);
}

static void assert_tables(const struct kk_listener *wanted, size_t n)
{
	KK_CLEANUP_FREE struct kk_listener *found = NULL;
	struct kk_err err = {0};
	int r = kk_module_list(&module, &found, &err);

	assert_ok(r, &err);
	assert_int_equal(r, n);
	for (size_t i = 0; i < n; i++) {
		size_t j = same_place(&found[i], &wanted[i]) ? i : 0; /* many come in order */

		while (j < n && !same_place(&found[j], &wanted[i]))
			j++;
		assert_true(j < n);
		assert_int_equal(found[j].agent_address.s_addr, wanted[i].agent_address.s_addr);
		assert_int_equal(found[j].agent_port, wanted[i].agent_port);
		assert_int_equal(found[j].service, wanted[i].service);
		assert_int_equal(found[j].draining, wanted[i].draining);
	}
}

static void assert_refused(int r, const struct kk_err *err, int code, const char *words)
{
	if (r != -code || !strstr(err->msg, words))
		fail_msg("want %d and \"%s\", got %d and \"%s\"", -code, words, r, err->msg);
}

static void test_replace_and_change(void **state)
{
	const struct kk_listener first[] = {TCP(22, "10.1.0.100", 22, 1),
					    TCP(80, "10.1.0.100", 8080, 2)};
	const struct kk_listener next[] = {
		TCP(80, "10.2.0.100", 8080, 2), TCP(443, "10.1.0.100", 8080, 3),
		listener("198.51.100.2", IPPROTO_UDP, 443, "10.1.0.100", 443, 3),
		listener("2001:db8::1", IPPROTO_TCP, 443, "10.1.0.100", 8080, 3)};
	struct kk_module_info info;
	struct kk_err err = {0};

	(void)state;
	assert_ok(kk_module_info(&module, &info, &err), &err);
	assert_false(info.loaded);
	assert_ok(kk_module_replace(&module, &settings, first, 2, &err), &err);
	assert_tables(first, 2);
	assert_ok(kk_module_info(&module, &info, &err), &err);
	assert_true(info.loaded);
	assert_memory_equal(&info.settings, &settings.core, sizeof(settings.core));
	assert_int_equal(info.public_ifindex, settings.public_ifindex);
	assert_int_equal(info.tunnel_ifindex, settings.tunnel_ifindex);
	assert_int_equal(info.n_listeners, 2);
	assert_int_equal(info.n_services, 2);
	assert_ok(kk_module_sync(&module, &settings, next, 4, &err), &err);
	assert_tables(next, 4);
	assert_ok(kk_module_info(&module, &info, &err), &err);
	assert_int_equal(info.n_services, 2);
	assert_ok(kk_module_sync(&module, &settings, NULL, 0, &err), &err);
	assert_tables(NULL, 0);
	assert_ok(kk_module_clear(&module, &err), &err);
	assert_ok(kk_module_info(&module, &info, &err), &err);
	assert_false(info.loaded);
}

/* Two services that take each other's place, in one request. */
static void test_swap(void **state)
{
	const struct kk_listener first[] = {TCP(81, "10.1.0.100", 1001, 1),
					    TCP(82, "10.1.0.100", 1002, 2)};
	const struct kk_listener next[] = {TCP(81, "10.1.0.100", 1002, 1),
					   TCP(82, "10.1.0.100", 1001, 2)};
	struct kk_err err = {0};

	(void)state;
	assert_ok(kk_module_replace(&module, &settings, first, 2, &err), &err);
	assert_ok(kk_module_sync(&module, &settings, next, 2, &err), &err);
	assert_tables(next, 2);
}

static void test_conflicts(void **state)
{
	const struct kk_listener good[] = {TCP(22, "10.1.0.100", 22, 1),
					   TCP(80, "10.1.0.100", 8080, 2)};
	const struct kk_listener twice[] = {TCP(23, "10.3.0.100", 23, 7),
					    TCP(81, "10.1.0.100", 8080, 3)};
	const struct kk_listener shortcut[] = {TCP(9, "10.1.0.100", 22, 3)};
	const struct kk_listener outside[] = {TCP(23, "11.3.0.100", 23, 7)};
	struct kk_err err = {0};

	(void)state;
	assert_ok(kk_module_replace(&module, &settings, good, 2, &err), &err);
	const struct {
		const struct kk_listener *list;
		size_t n;
		int code;
		const char *words;
	} cases[] = {
		{twice, 2, EEXIST, "belongs to another listener"},
		{shortcut, 1, EEXIST, "belongs to another listener"},
		{outside, 1, EINVAL, "not in the pool"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct kk_listener both[4];
		size_t n = 2 + cases[i].n;

		memcpy(both, good, sizeof(good));
		memcpy(both + 2, cases[i].list, cases[i].n * sizeof(*both));
		kk_err_reset(&err);
		assert_refused(kk_module_sync(&module, &settings, both, n, &err), &err,
			       cases[i].code, cases[i].words);
		assert_tables(good, 2);
		kk_err_reset(&err);
		assert_refused(kk_module_replace(&module, &settings, both, n, &err), &err,
			       cases[i].code, cases[i].words);
		assert_tables(good, 2);
	}
}

/* ---- groups, guards and lists ---- */

static struct kk_member member(const char *address, bool healthy)
{
	return (struct kk_member){.address = ip4(address), .healthy = healthy};
}

static int compare_members(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct in_addr));
}

static struct kk_rule rule(const char *prefix, bool allow)
{
	struct kk_err err = {0};
	struct kk_rule r = {.allow = allow};

	assert_ok(kk_parse_prefix("prefix", prefix, &r.prefix, &err), &err);
	return r;
}

/* Everything at once, for the tests to take parts of. */
struct full {
	struct kk_listener listeners[4];
	struct kk_member members[3];
	struct kk_group groups[1];
	struct kk_guard guards[2];
	struct kk_rule rules[4], denied[1];
	struct kk_list lists[2];
	struct kk_datapath_tables tables;
};

static void full_init(struct full *full)
{
	*full = (struct full){
		.listeners = {TCP(22, "10.1.0.100", 22, 1), TCP(80, "10.1.0.100", 8080, 2),
			      TCP(443, "10.1.0.100", 443, 3), TCP(25, "10.9.0.100", 25, 4)},
		.members = {member("10.2.0.100", true), member("10.3.0.100", false),
			    member("10.4.0.100", true)},
		.guards = {{.service = 1,
			    .list = 7,
			    .deny_others = true,
			    .packets = {.rate = 1000, .burst = 50},
			    .syn_rate = 77},
			   {.service = 3, .connections = {.rate = 3, .burst = 1}}},
		.rules = {rule("192.0.2.0/24", true), rule("192.0.2.64/26", false),
			  rule("2001:db8:1::/48", true), rule("::/0", false)},
		.denied = {rule("203.0.113.0/24", false)},
	};
	full->listeners[1].group = 9;
	full->listeners[2].snat = true;
	full->listeners[2].draining = true;
	full->groups[0] = (struct kk_group){.id = 9, .members = full->members, .n_members = 3};
	full->lists[0] = (struct kk_list){.id = 7, .rules = full->rules, .n_rules = 4};
	full->lists[1] = (struct kk_list){.id = 0, .rules = full->denied, .n_rules = 1};
	full->tables = (struct kk_datapath_tables){
		.listeners = full->listeners,
		.n_listeners = 4,
		.groups = full->groups,
		.n_groups = 1,
		.guards = full->guards,
		.n_guards = 2,
		.lists = full->lists,
		.n_lists = 2,
	};
}

static void assert_same_groups(const struct kk_datapath_tables *a,
			       const struct kk_datapath_tables *b)
{
	assert_int_equal(a->n_groups, b->n_groups);
	for (size_t i = 0; i < a->n_groups; i++) {
		assert_int_equal(a->groups[i].id, b->groups[i].id);
		assert_int_equal(a->groups[i].n_members, b->groups[i].n_members);
		for (size_t m = 0; m < a->groups[i].n_members; m++) {
			assert_int_equal(a->groups[i].members[m].address.s_addr,
					 b->groups[i].members[m].address.s_addr);
			assert_int_equal(a->groups[i].members[m].healthy,
					 b->groups[i].members[m].healthy);
		}
	}
}

static void assert_same_guards(const struct kk_datapath_tables *a,
			       const struct kk_datapath_tables *b)
{
	assert_int_equal(a->n_guards, b->n_guards);
	for (size_t i = 0; i < a->n_guards; i++) {
		const struct kk_guard *x = &a->guards[i], *y = &b->guards[i];

		if (x->service != y->service) /* the module has them in its own order */
			y = &b->guards[!i];
		assert_int_equal(x->service, y->service);
		assert_int_equal(x->list, y->list);
		assert_int_equal(x->deny_others, y->deny_others);
		assert_int_equal(x->syn_rate, y->syn_rate);
		assert_int_equal(x->packets.rate, y->packets.rate);
		assert_int_equal(x->packets.burst, y->packets.burst);
		assert_int_equal(x->connections.rate, y->connections.rate);
		assert_int_equal(x->connections.burst, y->connections.burst);
	}
}

static size_t count_rules(const struct kk_datapath_tables *tables, const struct kk_rule *wanted,
			  uint32_t list)
{
	size_t n = 0;

	for (size_t i = 0; i < tables->n_lists; i++)
		for (size_t j = 0; j < tables->lists[i].n_rules; j++)
			n += tables->lists[i].id == list &&
			     kk_prefix_equal(&tables->lists[i].rules[j].prefix, &wanted->prefix) &&
			     tables->lists[i].rules[j].allow == wanted->allow;
	return n;
}

static void assert_same_lists(const struct kk_datapath_tables *a,
			      const struct kk_datapath_tables *b)
{
	size_t n_a = 0, n_b = 0;

	for (size_t i = 0; i < a->n_lists; i++)
		for (size_t j = 0; j < a->lists[i].n_rules; j++, n_a++)
			assert_int_equal(count_rules(b, &a->lists[i].rules[j], a->lists[i].id), 1);
	for (size_t i = 0; i < b->n_lists; i++)
		n_b += b->lists[i].n_rules;
	assert_int_equal(n_a, n_b);
}

static void assert_all(const struct kk_datapath_tables *wanted)
{
	struct kk_datapath_tables *found = NULL;
	struct kk_err err = {0};

	assert_ok(kk_module_read(&module, &found, &err), &err);
	assert_tables(wanted->listeners, wanted->n_listeners);
	for (size_t i = 0; i < found->n_listeners; i++)
		for (size_t j = 0; j < wanted->n_listeners; j++)
			if (same_place(&found->listeners[i], &wanted->listeners[j])) {
				assert_int_equal(found->listeners[i].group,
						 wanted->listeners[j].group);
				assert_int_equal(found->listeners[i].snat,
						 wanted->listeners[j].snat);
			}
	assert_same_groups(wanted, found);
	assert_same_guards(wanted, found);
	assert_same_lists(wanted, found);
	kk_datapath_tables_free(found);
}

static void test_all_is_read_back(void **state)
{
	struct kk_err err = {0};
	struct full full;

	(void)state;
	full_init(&full);
	full.listeners[1].agent_address.s_addr = 0; /* the group's members stand in for it */
	assert_ok(kk_module_set(&module, &settings, &full.tables, &err), &err);
	assert_all(&full.tables);
	/* One thing after another, each by one request. */
	full.members[0].healthy = false;
	full.members[2].address = ip4("10.5.0.100");
	full.guards[0].packets.rate = 999;
	full.rules[1] = rule("192.0.2.128/25", false);
	full.listeners[2].draining = false;
	full.listeners[3].group = 9;
	full.listeners[3].agent_address.s_addr = 0;
	full.listeners[3].agent_port = 8081;
	assert_ok(kk_module_set(&module, &settings, &full.tables, &err), &err);
	assert_all(&full.tables);
	/* And all of it away but one listener. */
	full.tables.n_guards = full.tables.n_lists = full.tables.n_groups = 0;
	full.tables.n_listeners = 1;
	assert_ok(kk_module_set(&module, &settings, &full.tables, &err), &err);
	assert_all(&full.tables);
}

static void test_health_of_a_group(void **state)
{
	struct kk_err err = {0};
	struct full full;
	struct kk_group other = {.id = 10};

	(void)state;
	full_init(&full);
	full.listeners[1].agent_address.s_addr = 0;
	assert_ok(kk_module_set(&module, &settings, &full.tables, &err), &err);
	full.members[1].healthy = true;
	assert_ok(kk_module_set_group(&module, &full.groups[0], &err), &err);
	assert_all(&full.tables);
	other.members = full.members;
	other.n_members = 1;
	assert_refused(kk_module_set_group(&module, &other, &err), &err, ENOENT, "no group 10");
	assert_all(&full.tables);
}

/* What is refused leaves all as it was, whoever refuses it. */
static void test_what_is_refused(void **state)
{
	struct kk_err err = {0};
	struct full good, full;

	(void)state;
	full_init(&good);
	good.listeners[1].agent_address.s_addr = 0;
	assert_ok(kk_module_set(&module, &settings, &good.tables, &err), &err);
#define REFUSED(change, code, words)                                                               \
	do {                                                                                       \
		full_init(&full);                                                                  \
		full.listeners[1].agent_address.s_addr = 0;                                        \
		change;                                                                            \
		kk_err_reset(&err);                                                                \
		assert_refused(kk_module_set(&module, &settings, &full.tables, &err), &err, code,  \
			       words);                                                             \
		assert_all(&good.tables);                                                          \
	} while (0)
	REFUSED(full.listeners[1].group = 8, ENOENT, "group 8, which there is not");
	REFUSED(full.members[2] = full.members[0], EEXIST, "agent twice");
	REFUSED(full.members[0] = member("11.0.0.1", true), EINVAL, "not in the pool");
	REFUSED(full.listeners[3] = TCP(26, "10.2.0.100", 8080, 5), EEXIST, "belongs to another");
	REFUSED(full.guards[0].list = 8, ENOENT, "list 8, which there is not");
	REFUSED(full.guards[0].service = 12, ENOENT, "guarded and not published");
	REFUSED(full.guards[0].packets.rate = KK_RATE_MAX + 1, EINVAL, "10000001 packets");
	REFUSED(full.rules[1] = full.rules[0], EEXIST, "192.0.2.0/24 twice");
	REFUSED(full.denied[0].allow = true, EINVAL, "cannot allow");
	REFUSED(full.listeners[3] = full.listeners[0], EEXIST, "published twice");
#undef REFUSED
}

/* What the family itself says of requests that the library does not send. */
static struct nl_msg *change_request(void)
{
	return kk_genl_request(&module.genl, KK_CMD_TABLE_CHANGE, NLM_F_ACK, 1024);
}

static void assert_request(struct nl_msg *msg, int code, const char *words)
{
	struct kk_err err = {0};

	assert_refused(kk_genl_call(&module.genl, msg, NULL, NULL, "refused", &err), &err, code,
		       words);
	nlmsg_free(msg);
}

static void test_words_of_the_family(void **state)
{
	const uint8_t four[] = {10, 2, 0, 100}, host_bits[] = {192, 0, 2, 1};
	struct nlattr *nest;
	struct nl_msg *msg;
	struct kk_err err = {0};
	struct full full;

	(void)state;
	full_init(&full);
	full.listeners[1].agent_address.s_addr = 0;
	assert_ok(kk_module_set(&module, &settings, &full.tables, &err), &err);
#define REQUEST(type, code, words, ...)                                                            \
	do {                                                                                       \
		msg = change_request();                                                            \
		nest = nla_nest_start(msg, type);                                                  \
		__VA_ARGS__;                                                                       \
		nla_nest_end(msg, nest);                                                           \
		assert_request(msg, code, words);                                                  \
		assert_all(&full.tables);                                                          \
	} while (0)
	REQUEST(KK_A_GROUP, EINVAL, "id is missing",
		nla_put(msg, KK_GROUP_A_MEMBERS, sizeof(four), four));
	REQUEST(KK_A_GROUP, EINVAL, "members are missing", nla_put_u32(msg, KK_GROUP_A_ID, 4));
	REQUEST(KK_A_GROUP, EINVAL, "addresses of 4 bytes", nla_put_u32(msg, KK_GROUP_A_ID, 4);
		nla_put(msg, KK_GROUP_A_MEMBERS, 3, four));
	REQUEST(KK_A_GROUP, EINVAL, "no member of the group", nla_put_u32(msg, KK_GROUP_A_ID, 4);
		nla_put(msg, KK_GROUP_A_MEMBERS, 4, four);
		nla_put(msg, KK_GROUP_A_UNHEALTHY, 4, host_bits));
	REQUEST(KK_A_GROUP_GONE, EBUSY, "listeners lead to", nla_put_u32(msg, KK_GROUP_A_ID, 9));
	REQUEST(KK_A_GROUP_GONE, ENOENT, "no such group", nla_put_u32(msg, KK_GROUP_A_ID, 5));
	REQUEST(KK_A_GUARD, EINVAL, "service is missing", nla_put_u32(msg, KK_GUARD_A_LIST, 4));
	REQUEST(KK_A_GUARD, EINVAL, "burst without a rate", nla_put_u32(msg, KK_GUARD_A_SERVICE, 4);
		nla_put_u32(msg, KK_GUARD_A_PACKET_BURST, 4));
	REQUEST(KK_A_GUARD, ERANGE, "", nla_put_u32(msg, KK_GUARD_A_SERVICE, 4);
		nla_put_u32(msg, KK_GUARD_A_PACKET_RATE, KK_RATE_MAX + 1));
	REQUEST(KK_A_GUARD, EINVAL, "", nla_put_u32(msg, KK_GUARD_A_SERVICE, 4);
		nla_put_u32(msg, KK_GUARD_A_FLAGS, 2));
	REQUEST(KK_A_GUARD_GONE, ENOENT, "has no guard", nla_put_u32(msg, KK_GUARD_A_SERVICE, 2));
	REQUEST(KK_A_RULE, EINVAL, "bits beyond", nla_put_u32(msg, KK_RULE_A_LIST, 4);
		nla_put(msg, KK_RULE_A_ADDRESS, 4, host_bits); nla_put_u8(msg, KK_RULE_A_LEN, 24);
		nla_put_u32(msg, KK_RULE_A_VERDICT, KK_RULE_DENY));
	REQUEST(KK_A_RULE, EINVAL, "32 bits at most", nla_put_u32(msg, KK_RULE_A_LIST, 4);
		nla_put(msg, KK_RULE_A_ADDRESS, 4, four); nla_put_u8(msg, KK_RULE_A_LEN, 33);
		nla_put_u32(msg, KK_RULE_A_VERDICT, KK_RULE_DENY));
	REQUEST(KK_A_RULE_GONE, ENOENT, "no such prefix", nla_put_u32(msg, KK_RULE_A_LIST, 7);
		nla_put(msg, KK_RULE_A_ADDRESS, 4, four); nla_put_u8(msg, KK_RULE_A_LEN, 32));
	REQUEST(KK_A_LISTENER, EINVAL, "", nla_put_u8(msg, KK_LISTENER_A_SLOT, 0);
		nla_put_u32(msg, KK_LISTENER_A_FLAGS, 4));
#undef REQUEST
}

/* Two groups that exchange a member, and services that follow: by one request, or anew. */
static void test_groups_exchange_members(void **state)
{
	struct kk_member a[] = {member("10.2.0.100", true), member("10.3.0.100", true)};
	struct kk_member b[] = {member("10.4.0.100", true), member("10.5.0.100", true)};
	struct kk_group groups[] = {{.id = 1, .members = a, .n_members = 2},
				    {.id = 2, .members = b, .n_members = 2}};
	struct kk_listener listeners[] = {TCP(80, "10.1.0.100", 80, 1),
					  TCP(81, "10.1.0.100", 80, 2)};
	const struct kk_datapath_tables tables = {
		.listeners = listeners, .n_listeners = 2, .groups = groups, .n_groups = 2};
	struct kk_err err = {0};

	(void)state;
	for (int i = 0; i < 2; i++) {
		listeners[i].group = (uint32_t)i + 1;
		listeners[i].agent_address.s_addr = 0;
	}
	assert_ok(kk_module_set(&module, &settings, &tables, &err), &err);
	for (int round = 0; round < 4; round++) {
		struct kk_member moved = a[1];

		a[1] = b[0];
		b[0] = moved;
		qsort(b, 2, sizeof(*b), compare_members);
		assert_ok(kk_module_set(&module, &settings, &tables, &err), &err);
		assert_all(&tables);
	}
}

static int many_rules(struct kk_rule *rules, int n)
{
	for (int i = 0; i < n; i++)
		rules[i] = (struct kk_rule){
			.prefix = {.addr = {.family = AF_INET,
					    .v4.s_addr = htonl((uint32_t)(0x0b000000 + i * 256))},
				   .len = 24},
			.allow = i % 2,
		};
	return n;
}

static void test_long_list(void **state)
{
	KK_CLEANUP_FREE struct kk_rule *rules = calloc(N_MANY, sizeof(*rules));
	const struct kk_listener one[] = {TCP(22, "10.1.0.100", 22, 1)};
	const struct kk_guard guard = {.service = 1, .list = 5};
	struct kk_list list = {.id = 5, .rules = rules};
	const struct kk_datapath_tables tables = {.listeners = one,
						  .n_listeners = 1,
						  .guards = &guard,
						  .n_guards = 1,
						  .lists = &list,
						  .n_lists = 1};
	struct kk_datapath_tables *found = NULL;
	struct kk_err err = {0};

	(void)state;
	assert_non_null(rules);
	list.n_rules = (size_t)many_rules(rules, N_MANY);
	assert_ok(kk_module_set(&module, &settings, &tables, &err), &err);
	rules[5].allow = !rules[5].allow;
	assert_ok(kk_module_set(&module, &settings, &tables, &err), &err);
	assert_ok(kk_module_read(&module, &found, &err), &err);
	assert_int_equal(found->n_lists, 1);
	assert_int_equal(found->lists[0].n_rules, N_MANY);
	for (int i = 0; i < N_MANY; i++)
		assert_int_equal(found->lists[0].rules[i].allow, rules[i].allow);
	kk_datapath_tables_free(found);
}

/* ---- bans and events ---- */

static struct kk_module_event heard[32];
static size_t n_heard;

static void hear(const struct kk_module_event *event, void *userdata)
{
	(void)userdata;
	if (n_heard < ARRAY_SIZE(heard))
		heard[n_heard++] = *event;
}

/* Waits until @n events have been heard. */
static void await_events(const struct kk_module_events *events, size_t n)
{
	struct pollfd p = {.fd = kk_module_events_fd(events), .events = POLLIN};

	while (n_heard < n) {
		if (poll(&p, 1, WAIT_MS) != 1)
			fail_msg("%zu events of %zu", n_heard, n);
		assert_int_equal(kk_module_events_read(events, hear, NULL), 0);
	}
}

static void test_bans(void **state)
{
	const struct kk_ban_entry bans[] = {
		{.source = public_address("203.0.113.7"), .service = 0, .seconds = 0},
		{.source = public_address("2001:db8:7:7:7::7"), .service = 3, .seconds = 1000},
		{.source = public_address("203.0.113.9"), .service = 0, .seconds = 1},
	};
	const struct kk_ban_entry bad[] = {bans[0], {.source = public_address("224.0.0.1")}};
	KK_CLEANUP_FREE struct kk_ban_entry *found = NULL;
	const struct kk_address wide = public_address("2001:db8:7:7:ffff::");
	struct kk_module_events events;
	struct kk_err err = {0};
	int n;

	(void)state;
	n_heard = 0;
	assert_refused(kk_module_ban(&module, bans, 1, &err), &err, ENOENT, "no tables");
	kk_err_reset(&err);
	assert_ok(kk_module_replace(&module, &settings, NULL, 0, &err), &err);
	assert_ok(kk_module_events_open(&events, &err), &err);
	assert_refused(kk_module_ban(&module, bad, 2, &err), &err, EINVAL, "no host's");
	kk_err_reset(&err);
	assert_ok(kk_module_ban(&module, bans, 3, &err), &err);
	await_events(&events, 4); /* one of them ends by itself */
	assert_int_equal(heard[0].kind, KK_EVENT_BANNED);
	assert_int_equal(heard[3].kind, KK_EVENT_BAN_ENDED);
	assert_true(kk_address_equal(&heard[3].source, &bans[2].source));
	n = kk_module_bans(&module, &found, &err);
	assert_ok(n, &err);
	assert_int_equal(n, 2);
	for (int i = 0; i < n; i++) {
		bool v6 = found[i].source.family == AF_INET6;

		assert_int_equal(found[i].service, v6 ? 3 : 0);
		assert_true(v6 ? found[i].seconds > 900 && found[i].seconds <= 1000
			       : found[i].seconds == 0);
	}
	assert_refused(kk_module_unban(&module, &bans[0].source, 4, &err), &err, ENOENT,
		       "not banned");
	kk_err_reset(&err);
	assert_ok(kk_module_unban(&module, &wide, 3, &err), &err);
	await_events(&events, 5);
	assert_int_equal(heard[4].kind, KK_EVENT_BAN_LIFTED);
	assert_int_equal(heard[4].service, 3);
	/* They are no part of a set of tables, but go when the gateway goes. */
	assert_ok(kk_module_replace(&module, &settings, NULL, 0, &err), &err);
	free(KK_STEAL(found));
	assert_int_equal(kk_module_bans(&module, &found, &err), 1);
	assert_ok(kk_module_clear(&module, &err), &err);
	free(KK_STEAL(found));
	assert_int_equal(kk_module_bans(&module, &found, &err), 0);
	kk_module_events_close(&events);
}

static void test_bad_settings(void **state)
{
	const struct kk_module_settings good = settings;
	struct kk_err err = {0};

	(void)state;
#define REFUSED(change, code, words)                                                               \
	do {                                                                                       \
		settings = good;                                                                   \
		change;                                                                            \
		kk_err_reset(&err);                                                                \
		assert_refused(kk_module_replace(&module, &settings, NULL, 0, &err), &err, code,   \
			       words);                                                             \
	} while (0)
	REFUSED(settings.public_ifindex = 4711, ENODEV, "public interface is not there");
	REFUSED(settings.tunnel_ifindex = 4711, ENODEV, "tunnel's interface is not there");
	REFUSED(settings.tunnel_ifindex = settings.public_ifindex, EINVAL, "is the public");
	REFUSED(settings.core.pool = ip4("10.0.0.1").s_addr, EINVAL, "beyond its prefix");
	REFUSED(settings.core.pool6.word[3] = 1, EINVAL, "prefix of 96");
	REFUSED(settings.core.mtu = 1000, EINVAL, "1280");
	REFUSED(settings.core.mtu = 100, ERANGE, "");
	REFUSED(settings.core.pool_mask = ip4("255.255.255.0").s_addr | htonl(0x80), ERANGE, "");
	REFUSED(settings.flows_max = 1048577, ERANGE, "");
	REFUSED(settings.flow_times.udp = 604801, ERANGE, "");
#undef REFUSED
	settings = good;
}

static void test_many(void **state)
{
	KK_CLEANUP_FREE struct kk_listener *many = calloc(N_MANY, sizeof(*many));
	struct kk_err err = {0};

	(void)state;
	assert_non_null(many);
	for (int i = 0; i < N_MANY; i++) {
		many[i] = TCP((uint16_t)(1000 + i), "10.1.0.100", (uint16_t)(1001 + i),
			      (uint32_t)i + 1);
		many[i].agent_address.s_addr = htonl(0x0a000064 | (uint32_t)(i % 1000 + 1) << 8);
	}
	assert_ok(kk_module_sync(&module, &settings, many, N_MANY, &err), &err);
	assert_tables(many, N_MANY);
	many[7].agent_port = 1;
	assert_ok(kk_module_sync(&module, &settings, many, N_MANY, &err), &err);
	assert_tables(many, N_MANY);
}

static void test_traffic_is_counted_from_zero(void **state)
{
	const struct kk_listener one[] = {TCP(22, "10.1.0.100", 22, 77)};
	KK_CLEANUP_FREE struct kk_datapath_service *services = NULL;
	KK_CLEANUP_FREE struct kk_datapath_counter *counters = NULL;
	struct kk_err err = {0};
	int n;

	(void)state;
	assert_ok(kk_module_replace(&module, &settings, one, 1, &err), &err);
	n = kk_module_services(&module, &services, &err);
	assert_ok(n, &err);
	assert_int_equal(n, 1);
	assert_int_equal(services[0].service, 77);
	assert_int_equal(services[0].in_packets, 0);
	n = kk_module_counters(&module, &counters, &err);
	assert_ok(n, &err);
	assert_int_equal(n, KK_REASON_MAX);
	assert_string_equal(counters[KK_REASON_INBOUND].verdict, "tunnel");
}

/* A set that was begun goes with its socket, and no other may go on with it. */
static void test_begun_belongs_to_its_socket(void **state)
{
	struct kk_module other;
	struct kk_err err = {0};
	struct nl_msg *msg;

	(void)state;
	assert_ok(kk_module_open(&other, &err), &err);
	msg = kk_genl_request(&module.genl, KK_CMD_TABLE_BEGIN, NLM_F_ACK, KK_WIRE_SETTINGS_ROOM);
	assert_int_equal(kk_wire_put_settings(msg, &settings), 0);
	assert_ok(kk_genl_call(&module.genl, msg, NULL, NULL, "begin", &err), &err);
	nlmsg_free(msg);
	assert_refused(kk_module_replace(&other, &settings, NULL, 0, &err), &err, EBUSY,
		       "another socket");
	kk_module_close(&module);
	kk_err_reset(&err);
	assert_ok(kk_module_replace(&other, &settings, NULL, 0, &err), &err);
	kk_module_close(&other);
	assert_ok(kk_module_open(&module, &err), &err);
}

/* Root of a user namespace of its own has its own network namespaces, and no say in another's. */
static void test_without_privilege(void **state)
{
	struct kk_err err = {0};
	int status;
	pid_t child;

	(void)state;
	assert_ok(kk_module_replace(&module, &settings, NULL, 0, &err), &err);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct kk_module mine;
		int r;

		if (unshare(CLONE_NEWUSER) < 0 ||
		    kk_genl_open(&mine.genl, KK_GENL_NAME, 1, NULL) < 0)
			_exit(2);
		r = kk_module_clear(&mine, NULL);
		_exit(r == -EPERM ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- memory ---- */

#define CGROUP "/sys/fs/cgroup/kk-test"
#define SPARE  (6 << 20) /* less than what the words of the addresses take, 1 MiB each */

__attribute__((format(printf, 2, 3))) static void write_file(const char *path, const char *fmt, ...)
{
	char text[64];
	va_list args;
	int fd, n;

	va_start(args, fmt);
	n = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, (size_t)n) != n)
		fail_msg("%s: %s", path, strerror(errno));
	close(fd);
}

static long read_number(const char *path)
{
	FILE *f = fopen(path, "re");
	long number = -1;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%ld", &number), 1);
	fclose(f);
	return number;
}

/* A listener on each of 8 addresses of either family. */
static void spread(struct kk_listener *listeners)
{
	for (uint32_t i = 0; i < KK_ADDRESSES_MAX; i++) {
		char text[KK_ADDRESS_TEXT];

		settings.core.address4[i] = htonl(0xc6336401 + i); /* 198.51.100.1 on */
		settings.core.address6[i].word[0] = htonl(0x20010db8);
		settings.core.address6[i].word[3] = htonl(i + 1);
		snprintf(text, sizeof(text), "198.51.100.%u", i + 1);
		listeners[2 * i] = listener(text, IPPROTO_TCP, (uint16_t)(80 + i), "10.1.0.100",
					    (uint16_t)(80 + i), 1);
		snprintf(text, sizeof(text), "2001:db8::%x", i + 1);
		listeners[2 * i + 1] = listener(text, IPPROTO_TCP, (uint16_t)(80 + i), "10.1.0.100",
						(uint16_t)(80 + i), 1);
	}
}

static int procs_short = -1, procs_root = -1; /* cgroup.procs of both */

/*
 * Only for a request: what the test itself opens and reads meanwhile would be charged as well, and where tables that
 * were given up are not freed yet, the kernel would end it for that.
 */
static void be_short_of_memory(bool now)
{
	char pid[16];
	int n = snprintf(pid, sizeof(pid), "%d", getpid());

	if (!now)
		assert_int_equal(write(procs_root, pid, (size_t)n), n);
	/* Nothing of what there was memory for stays; what the kernel keeps by the way is less than a word table. */
	for (int waited = 0; now && read_number(CGROUP "/memory.current") > 1 << 20; waited++) {
		if (waited >= 2000)
			fail_msg("what was given up is not freed after 20 s");
		usleep(10000);
	}
	if (now)
		assert_int_equal(write(procs_short, pid, (size_t)n), n);
}

static void make_cgroup(void)
{
	write_file("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	assert_int_equal(mkdir(CGROUP, 0755), 0);
	write_file(CGROUP "/memory.max", "%d", SPARE);
	procs_short = open(CGROUP "/cgroup.procs", O_WRONLY | O_CLOEXEC);
	procs_root = open("/sys/fs/cgroup/cgroup.procs", O_WRONLY | O_CLOEXEC);
	assert_true(procs_short >= 0 && procs_root >= 0);
}

/* No process dies of it, the old tables stay in force, and once there is memory all goes on. */
static void test_memory_is_short(void **state)
{
	struct kk_listener listeners[KK_SLOTS_MAX];
	struct kk_module_settings other;
	struct kk_err err = {0};
	int r;

	(void)state;
	spread(listeners);
	assert_ok(kk_module_sync(&module, &settings, listeners, 1, &err), &err);
	make_cgroup();
	for (int round = 0; round < 5; round++) {
		kk_err_reset(&err);
		be_short_of_memory(true);
		r = kk_module_sync(&module, &settings, listeners, KK_SLOTS_MAX, &err);
		be_short_of_memory(false);
		assert_refused(r, &err, ENOMEM, "memory");
		assert_tables(listeners, 1);
		other = settings;
		other.core.mtu--;
		kk_err_reset(&err);
		be_short_of_memory(true);
		r = kk_module_replace(&module, &other, listeners, KK_SLOTS_MAX, &err);
		be_short_of_memory(false);
		assert_refused(r, &err, ENOMEM, "memory");
		assert_tables(listeners, 1);
	}
	kk_err_reset(&err);
	assert_ok(kk_module_sync(&module, &settings, listeners, KK_SLOTS_MAX, &err), &err);
	assert_tables(listeners, KK_SLOTS_MAX);
	close(procs_short);
	close(procs_root);
	rmdir(CGROUP); /* something may still be charged to it; the machine ends anyway */
}

static void test_interface_comes_back(void **state)
{
	const enum kk_event wanted[] = {KK_EVENT_PUBLIC_GONE, KK_EVENT_PUBLIC_BACK,
					KK_EVENT_TUNNEL_GONE, KK_EVENT_TUNNEL_BACK};
	struct kk_module_events events;
	struct kk_module_info info;
	struct kk_err err = {0};
	int fd;

	(void)state;
	n_heard = 0;
	assert_ok(kk_module_events_open(&events, &err), &err);
	assert_ok(kk_net_link_add("kkpub2", "veth", &err), &err);
	settings.public_ifindex = if_nametoindex("kkpub2");
	assert_ok(kk_module_replace(&module, &settings, NULL, 0, &err), &err);
	assert_int_equal(system("ip link del kkpub2"), 0);
	assert_ok(kk_module_info(&module, &info, &err), &err);
	assert_int_equal(info.public_ifindex, 0);
	assert_ok(kk_net_link_add("kkpub2", "veth", &err), &err);
	assert_ok(kk_module_info(&module, &info, &err), &err);
	settings.public_ifindex = if_nametoindex("kkpub2");
	assert_int_equal(info.public_ifindex, settings.public_ifindex);
	fd = world_tun("kktun2");
	settings.tunnel_ifindex = if_nametoindex("kktun2");
	assert_ok(kk_module_set_settings(&module, &settings, &err), &err);
	close(fd);
	assert_ok(kk_module_info(&module, &info, &err), &err);
	assert_int_equal(info.tunnel_ifindex, 0);
	fd = world_tun("kktun2");
	assert_ok(kk_module_info(&module, &info, &err), &err);
	assert_int_equal(info.tunnel_ifindex, if_nametoindex("kktun2"));
	await_events(&events, ARRAY_SIZE(wanted));
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		assert_int_equal(heard[i].kind, wanted[i]);
	kk_module_events_close(&events);
	close(fd);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, enter_fresh_netns, leave)

/* test_module_netlink [TEST that is left out] */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_replace_and_change),
		TEST(test_swap),
		TEST(test_conflicts),
		TEST(test_all_is_read_back),
		TEST(test_health_of_a_group),
		TEST(test_what_is_refused),
		TEST(test_words_of_the_family),
		TEST(test_groups_exchange_members),
		TEST(test_long_list),
		TEST(test_bans),
		TEST(test_bad_settings),
		TEST(test_many),
		TEST(test_traffic_is_counted_from_zero),
		TEST(test_begun_belongs_to_its_socket),
		TEST(test_without_privilege),
		TEST(test_memory_is_short),
		TEST(test_interface_comes_back),
	};

	if (argc > 1)
		cmocka_set_skip_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
