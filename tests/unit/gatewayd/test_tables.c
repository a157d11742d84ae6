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

static struct kk_agent agents[] = {
	{.id = 11, .name = "a", .subnet = {.len = 24}},
	{.id = 12, .name = "b", .subnet = {.len = 24}},
};

static struct kk_service service(int64_t id, uint8_t protocol, uint16_t port, int64_t at)
{
	struct kk_service s = {
		.id = id, .protocol = protocol, .port = port, .agent_port = port + 1, .agent = at};

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

static void test_listeners(void **state)
{
	struct kk_service services[] = {service(1, IPPROTO_TCP, 2222, 11),
					service(2, IPPROTO_UDP, 27015, 12)};
	struct kk_config c = config(services, 2);
	struct in_addr address = {inet_addr("198.51.100.1")};
	struct kk_listener *list;
	struct kk_err err = {0};

	(void)state;
	assert_int_equal(tables_listeners(&c, address, &list, &err), 0);
	assert_int_equal(list[0].protocol, IPPROTO_TCP);
	assert_int_equal(list[0].address.family, AF_INET);
	assert_int_equal(list[0].address.v4.s_addr, address.s_addr);
	assert_int_equal(list[0].port, 2222);
	assert_int_equal(list[0].agent_address.s_addr, inet_addr("10.1.0.100"));
	assert_int_equal(list[0].agent_port, 2223);
	assert_int_equal(list[0].service, 1);
	assert_int_equal(list[1].protocol, IPPROTO_UDP);
	assert_int_equal(list[1].agent_address.s_addr, inet_addr("10.2.0.100"));
	free(list);
}

static void test_unknown_agent(void **state)
{
	struct kk_service services[] = {service(1, IPPROTO_TCP, 2222, 99)};
	struct kk_config c = config(services, 1);
	struct kk_listener *list;
	struct kk_err err = {0};

	(void)state;
	assert_int_equal(tables_listeners(&c, (struct in_addr){1}, &list, &err), -EINVAL);
	assert_err(&err, "agent", "99");
}

static void test_large_id(void **state)
{
	struct kk_service services[] = {service(1ll << 32, IPPROTO_TCP, 2222, 11)};
	struct kk_config c = config(services, 1);
	struct kk_listener *list;
	struct kk_err err = {0};

	(void)state;
	assert_int_equal(tables_listeners(&c, (struct in_addr){1}, &list, &err), -EINVAL);
	assert_err(&err, "id", "4294967296");
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

		assert_int_equal(tables_check_ports(&c, NULL, 0, &used, &err), -EADDRINUSE);
		snprintf(me, sizeof(me), "test_tables (process %d)", (int)getpid());
		assert_err(&err, "port", me);
		assert_err(&err, "port", "s2");
		/* What the tables carry already goes on. */
		kk_err_reset(&err);
		assert_int_equal(tables_check_ports(&c, &carried, 1, &used, &err), 0);
		carried.protocol = IPPROTO_UDP;
		assert_int_equal(tables_check_ports(&c, &carried, 1, &used, &err), -EADDRINUSE);
		c.n_services = 1;
		kk_err_reset(&err);
		assert_int_equal(tables_check_ports(&c, NULL, 0, &used, &err), 0);
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
	assert_int_equal(tables_check_ports(&c, NULL, 0, &none, &err), -EADDRINUSE);
	assert_err(&err, "port", "51820/udp is the WireGuard port");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_listeners),      cmocka_unit_test(test_unknown_agent),
		cmocka_unit_test(test_large_id),       cmocka_unit_test(test_port_in_use),
		cmocka_unit_test(test_wireguard_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
