// SPDX-License-Identifier: MIT
/* Gateways and Agents: their subnets and indexes, and what of them is refused. */
#include <arpa/inet.h>

#include "store_world.h"

static void assert_subnet(int64_t number, const char *wanted)
{
	struct kk_prefix4 subnet = kk_agent_subnet(&pool, number);
	char text[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &subnet.addr, text, sizeof(text));
	assert_string_equal(text, wanted);
	assert_int_equal(subnet.len, 24);
}

static void test_subnets(void **state)
{
	(void)state;
	assert_subnet(0, "10.1.0.0");
	assert_subnet(1, "10.2.0.0");
	assert_subnet(253, "10.254.0.0");
	assert_subnet(254, "10.1.1.0");
	assert_subnet(255, "10.2.1.0");
	assert_subnet(KK_AGENTS_MAX - 1, "10.254.255.0");
}

/* Every number has a subnet of its own within the pool. */
static void test_subnets_differ(void **state)
{
	static bool seen[1 << 16];

	(void)state;
	for (int64_t n = 0; n < KK_AGENTS_MAX; n++) {
		uint32_t addr = ntohl(kk_agent_subnet(&pool, n).addr.s_addr);

		assert_int_equal(addr >> 24, 10);
		assert_int_equal(addr & 0xff, 0);
		assert_false(seen[addr >> 8 & 0xffff]);
		seen[addr >> 8 & 0xffff] = true;
	}
}

static void test_all_agents(void **state)
{
	struct world *w = *state;
	struct kk_agent_row row = {.name = "one-more"};
	struct kk_err err = {0};
	char name[KK_NAME_MAX + 1];

	/* At once, or a disk is waited for as many times. */
	assert_int_equal(kk_store_begin(w->store, NULL), 0);
	for (int64_t n = 0; n < KK_AGENTS_MAX; n++) {
		snprintf(name, sizeof(name), "a%lld", (long long)n);
		assert_int_equal(add_agent(w, name).number, n);
	}
	assert_int_equal(kk_store_end(w->store, 0, NULL), 0);
	assert_int_equal(kk_store_agent_add(w->store, &row, &err), -ENOSPC);
	assert_err(&err, "", "65024");
	/* What is given back is used again, the lowest first; also after a restart. */
	assert_int_equal(kk_store_agent_remove(w->store, "a60000", NULL), 0);
	assert_int_equal(kk_store_agent_remove(w->store, "a300", NULL), 0);
	assert_int_equal(kk_store_agent_remove(w->store, "a0", NULL), 0);
	assert_int_equal(add_agent(w, "again").number, 0);
	reopen(w);
	assert_int_equal(add_agent(w, "again2").number, 300);
	assert_int_equal(add_agent(w, "again3").number, 60000);
	assert_int_equal(kk_store_agent_add(w->store, &row, NULL), -ENOSPC);
}

static void test_gateway_indexes(void **state)
{
	struct world *w = *state;
	struct kk_gateway_row row = gateway_row("one-more", "203.0.113.1", 1);
	struct kk_err err = {0};

	for (int i = 1; i <= 254; i++) {
		char name[16], address[32];

		if (i == 100)
			continue;
		snprintf(name, sizeof(name), "g%d", i);
		snprintf(address, sizeof(address), "198.51.100.%d", i);
		assert_int_equal(add_gateway(w, name, address).index, i);
	}
	assert_int_equal(kk_store_gateway_add(w->store, &row, &err), -ENOSPC);
	assert_int_equal(kk_store_gateway_remove(w->store, "g254", NULL), 0);
	assert_int_equal(kk_store_gateway_remove(w->store, "g99", NULL), 0);
	assert_int_equal(kk_store_gateway_remove(w->store, "g101", NULL), 0);
	assert_int_equal(add_gateway(w, "x", "203.0.113.2").index, 99);
	assert_int_equal(add_gateway(w, "y", "203.0.113.3").index, 101);
	assert_int_equal(add_gateway(w, "z", "203.0.113.4").index, 254);
}

static void test_gateway_conflicts(void **state)
{
	struct world *w = *state;
	struct kk_gateway_row row = gateway_row("gw1", "198.51.100.9", 51820);
	struct kk_service_row udp = service_row("udp", "a", IPPROTO_UDP, 4000);
	struct kk_err err = {0};
	int64_t generation;

	add_gateway(w, "gw1", "198.51.100.1");
	add_agent(w, "a");
	assert_int_equal(kk_store_service_add(w->store, &udp, NULL), 0);
	generation = kk_store_generation(w->store);
	assert_int_equal(kk_store_gateway_add(w->store, &row, &err), -EEXIST);
	assert_err(&err, "name", "gw1");
	kk_err_reset(&err);
	row = gateway_row("gw2", "198.51.100.1", 51820);
	assert_int_equal(kk_store_gateway_add(w->store, &row, &err), -EEXIST);
	assert_err(&err, "address", "gateway gw1");
	kk_err_reset(&err);
	row = gateway_row("gw2", "198.51.100.2", 4000);
	assert_int_equal(kk_store_gateway_add(w->store, &row, &err), -EEXIST);
	assert_err(&err, "wg_port", "service udp");
	assert_int_equal(kk_store_generation(w->store), generation);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_subnets), cmocka_unit_test(test_subnets_differ),
		test(test_all_agents),		test(test_gateway_indexes),
		test(test_gateway_conflicts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
