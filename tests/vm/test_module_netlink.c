// SPDX-License-Identifier: MIT
/*
 * The module's netlink family: tables as wholes and in parts, what is refused and in which words, that what is
 * refused changes nothing, and who may. The module must be loaded; needs root.
 */
#include "tests/unit/datapath_world.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <netlink/attr.h>
#include <uapi/kakuremichi.h>

#include "genl/module.h"
#include "genl/wire.h"
#include "net/nl.h"

#define N_MANY 20000

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

static void test_what_it_has_not(void **state)
{
	struct kk_listener one = TCP(22, "10.1.0.100", 22, 5);
	struct kk_err err = {0};

	(void)state;
	one.snat = true;
	assert_refused(kk_module_replace(&module, &settings, &one, 1, &err), &err, EOPNOTSUPP,
		       "has no translated flows, which service 5 needs");
	one.snat = false;
	one.group = 1;
	kk_err_reset(&err);
	assert_refused(kk_module_replace(&module, &settings, &one, 1, &err), &err, EOPNOTSUPP,
		       "has no groups of agents");
	one.group = 0;
	one.draining = true;
	kk_err_reset(&err);
	assert_ok(kk_module_replace(&module, &settings, &one, 1, &err), &err);
	assert_tables(&one, 1);
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

static void test_interface_comes_back(void **state)
{
	struct kk_module_info info;
	struct kk_err err = {0};
	int fd;

	(void)state;
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
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, enter_fresh_netns, leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_replace_and_change),
		TEST(test_swap),
		TEST(test_conflicts),
		TEST(test_what_it_has_not),
		TEST(test_bad_settings),
		TEST(test_many),
		TEST(test_traffic_is_counted_from_zero),
		TEST(test_begun_belongs_to_its_socket),
		TEST(test_without_privilege),
		TEST(test_interface_comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
