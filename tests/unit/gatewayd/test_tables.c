// SPDX-License-Identifier: MIT
/* From services to listeners, and the ports that a gateway keeps for itself. */
#include "gatewayd/tables.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/kk_test.h"
#include "util/cleanup.h"

static struct kk_agent agents[] = {
	{.id = 11, .name = "a", .subnet = {.len = 24}},
	{.id = 12, .name = "b", .subnet = {.len = 24}},
};

static struct kk_service service(int64_t id, uint8_t protocol, uint16_t port, int64_t at)
{
	struct kk_service s = {.id = id,
			       .protocol = protocol,
			       .port = port,
			       .last_port = port,
			       .agent_port = port + 1,
			       .agents = {at},
			       .n_agents = 1};

	snprintf(s.name, sizeof(s.name), "s%d", (int)id);
	return s;
}

static struct kk_config config(struct kk_service *services, size_t n)
{
	agents[0].subnet.addr.s_addr = inet_addr("10.1.0.0");
	agents[1].subnet.addr.s_addr = inet_addr("10.2.0.0");
	return (struct kk_config){
		.self = {.index = 3, .wg_port = 51820},
		.agents = agents,
		.n_agents = 2,
		.services = services,
		.n_services = n,
	};
}

/* 198.51.100.1, .2 and 2001:db8::1 */
static size_t make_addresses(struct kk_address ret[3])
{
	static const char *const text[] = {"198.51.100.1", "198.51.100.2", "2001:db8::1"};

	for (size_t i = 0; i < ARRAY_SIZE(text); i++)
		assert_int_equal(kk_parse_address("address", text[i], &ret[i], NULL), 0);
	return ARRAY_SIZE(text);
}

static void make(const struct kk_config *c, struct tables *ret)
{
	struct kk_address addresses[3];
	const struct tables_place place = {addresses, make_addresses(addresses), NULL, NULL};
	struct kk_err err = {0};

	if (tables_make(c, &place, ret, &err) < 0)
		fail_msg("%s", err.msg);
}

static void test_listeners(void **state)
{
	struct kk_service services[] = {service(1, IPPROTO_TCP, 2222, 11),
					service(2, IPPROTO_UDP, 27015, 12)};
	struct kk_config c = config(services, 2);
	struct tables t;

	(void)state;
	make(&c, &t);
	/* There is no IPv6 inside. */
	assert_int_equal(t.all.n_listeners, 2);
	assert_int_equal(t.listeners[0].protocol, IPPROTO_TCP);
	assert_int_equal(t.listeners[0].address.v4.s_addr, inet_addr("198.51.100.1"));
	assert_int_equal(t.listeners[0].port, 2222);
	assert_int_equal(t.listeners[0].agent_address.s_addr, inet_addr("10.1.0.100"));
	assert_int_equal(t.listeners[0].agent_port, 2223);
	assert_int_equal(t.listeners[0].service, 1);
	assert_int_equal(t.listeners[1].protocol, IPPROTO_UDP);
	assert_int_equal(t.listeners[1].agent_address.s_addr, inet_addr("10.2.0.100"));
	assert_int_equal(t.all.n_groups + t.all.n_guards + t.all.n_lists, 0);
	tables_clean(&t);
}

static void test_ranges_and_addresses(void **state)
{
	struct kk_service services[] = {service(1, IPPROTO_UDP, 2000, 11),
					service(2, IPPROTO_UDP, 2000, 11)};
	struct kk_config c = config(services, 2);
	struct kk_address addresses[3];
	struct tables t;

	(void)state;
	make_addresses(addresses);
	c.self.pool6 = (struct kk_prefix){.addr.family = AF_INET6, .len = 96};
	services[0].last_port = 2002;
	services[1].address = addresses[1];
	services[1].draining = services[1].snat = true;
	make(&c, &t);
	/* Three ports on the first of each family, and one on the second. */
	assert_int_equal(t.all.n_listeners, 7);
	assert_int_equal(t.listeners[2].port, 2002);
	assert_int_equal(t.listeners[2].agent_port, 2003);
	assert_true(kk_address_equal(&t.listeners[3].address, &addresses[2]));
	assert_true(kk_address_equal(&t.listeners[6].address, &addresses[1]));
	assert_true(t.listeners[6].draining && !t.listeners[0].draining);
	assert_true(t.listeners[6].snat && !t.listeners[0].snat);
	tables_clean(&t);
}

static bool only_11(int64_t service_id, int64_t agent, void *userdata)
{
	(void)service_id;
	(void)userdata;
	return agent == 11;
}

static void test_groups(void **state)
{
	struct kk_service services[] = {service(1, IPPROTO_TCP, 80, 11),
					service(2, IPPROTO_TCP, 81, 11)};
	struct kk_config c = config(services, 2);
	struct kk_address addresses[3];
	const struct tables_place place = {addresses, make_addresses(addresses), only_11, NULL};
	struct tables t;

	(void)state;
	services[1].agents[1] = 12;
	services[1].n_agents = 2;
	assert_int_equal(tables_make(&c, &place, &t, NULL), 0);
	assert_int_equal(t.listeners[0].group, 0);
	assert_int_equal(t.listeners[1].group, 2);
	assert_int_equal(t.all.n_groups, 1);
	assert_int_equal(t.groups[0].id, 2);
	assert_int_equal(t.groups[0].n_members, 2);
	assert_int_equal(t.groups[0].members[1].address.s_addr, inet_addr("10.2.0.100"));
	assert_true(t.groups[0].members[0].healthy && !t.groups[0].members[1].healthy);
	tables_clean(&t);
}

static struct kk_filter filter(int64_t id, int64_t of, const char *prefix, bool allow)
{
	struct kk_filter f = {.id = id, .service = of, .allow = allow};

	assert_int_equal(kk_parse_prefix("prefix", prefix, &f.prefix, NULL), 0);
	return f;
}

static void test_guards(void **state)
{
	struct kk_service services[] = {
		service(1, IPPROTO_TCP, 80, 11), service(2, IPPROTO_TCP, 81, 11),
		service(3, IPPROTO_TCP, 82, 11), service(4, IPPROTO_TCP, 83, 11)};
	struct kk_filter rules[] = {
		filter(1, 2, "10.0.0.0/8", false), filter(2, 0, "192.0.2.0/24", false),
		filter(3, 1, "2001:db8::/32", true), filter(4, 2, "10.1.0.0/16", false)};
	struct kk_config c = config(services, 4);
	struct tables t;

	(void)state;
	c.rules = rules;
	c.n_rules = 4;
	services[2].limit_packets = 100;
	services[2].limit_connections = 3000000;
	make(&c, &t);
	assert_int_equal(t.all.n_lists, 3);
	assert_int_equal(t.lists[0].id, 0);
	assert_int_equal(t.lists[2].id, 2);
	assert_int_equal(t.lists[2].n_rules, 2);
	assert_int_equal(t.lists[2].rules[1].prefix.len, 16);
	assert_int_equal(t.all.n_guards, 3);
	assert_true(t.guards[0].deny_others && !t.guards[1].deny_others);
	assert_int_equal(t.guards[1].list, 2);
	assert_int_equal(t.guards[2].list, 0);
	assert_int_equal(t.guards[2].packets.burst, 100);
	assert_int_equal(t.guards[2].connections.burst, KK_BURST_MAX);
	tables_clean(&t);
}

static void refuse_service(struct kk_service one, const char *field, const char *part)
{
	struct kk_config c = config(&one, 1);
	struct kk_address addresses[3];
	const struct tables_place place = {addresses, make_addresses(addresses), NULL, NULL};
	struct kk_err err = {0};
	struct tables t;

	assert_int_equal(tables_make(&c, &place, &t, &err), -EINVAL);
	assert_err(&err, field, part);
}

static void test_refused(void **state)
{
	(void)state;
	refuse_service(service(1, IPPROTO_TCP, 2222, 99), "agent", "99");
	refuse_service(service(1ll << 32, IPPROTO_TCP, 2222, 11), "id", "4294967296");
}

/* @userdata is the one listener of the tables, or NULL. */
static bool carries(uint8_t protocol, uint16_t port, void *userdata)
{
	const struct kk_listener *l = userdata;

	return l && l->protocol == protocol && l->port == port;
}

/* The port of a socket of ours is refused, and we are named. */
static void test_port_in_use(void **state)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in bound = {.sin_family = AF_INET};
	socklen_t len = sizeof(bound);
	struct kk_err err = {0};
	struct stat st;
	char me[32];

	(void)state;
	bound.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&bound, sizeof(bound)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&bound, &len), 0);
	assert_int_equal(fstat(fd, &st), 0);
	{
		uint16_t number = ntohs(bound.sin_port);
		struct port item = {IPPROTO_TCP, number, (uint32_t)st.st_ino};
		struct ports used = {.items = &item, .n = 1};
		struct kk_service services[] = {service(1, IPPROTO_UDP, number, 11),
						service(2, IPPROTO_TCP, number, 11)};
		struct kk_listener carried = {.protocol = IPPROTO_TCP, .port = number};
		struct kk_config c = config(services, 2);

		assert_int_equal(tables_check_ports(&c, &used, carries, NULL, &err), -EADDRINUSE);
		snprintf(me, sizeof(me), "test_tables (process %d)", (int)getpid());
		assert_err(&err, "port", me);
		assert_err(&err, "port", "s2");
		/* What the tables carry already goes on. */
		kk_err_reset(&err);
		assert_int_equal(tables_check_ports(&c, &used, carries, &carried, &err), 0);
		carried.protocol = IPPROTO_UDP;
		assert_int_equal(tables_check_ports(&c, &used, carries, &carried, &err),
				 -EADDRINUSE);
		c.n_services = 1;
		kk_err_reset(&err);
		assert_int_equal(tables_check_ports(&c, &used, carries, NULL, &err), 0);
	}
	close(fd);
}

static void test_wireguard_port(void **state)
{
	struct kk_service services[] = {service(1, IPPROTO_TCP, 51820, 11),
					service(2, IPPROTO_UDP, 51820, 11)};
	struct kk_config c = config(services, 2);
	struct ports none = {0};
	struct kk_err err = {0};

	(void)state;
	assert_int_equal(tables_check_ports(&c, &none, carries, NULL, &err), -EADDRINUSE);
	assert_err(&err, "port", "51820/udp is the WireGuard port");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_listeners),      cmocka_unit_test(test_ranges_and_addresses),
		cmocka_unit_test(test_groups),	       cmocka_unit_test(test_guards),
		cmocka_unit_test(test_refused),	       cmocka_unit_test(test_port_in_use),
		cmocka_unit_test(test_wireguard_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
