// SPDX-License-Identifier: MIT
/* The loader: tables changed wholly or not at all, adopted, replaced, taken away. Needs root. */
#include "datapath_world.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "bpf/attach.h"

static struct world world;

static struct kk_listener listener(uint8_t protocol, uint16_t port, const char *agent,
				   uint16_t agent_port, uint32_t service)
{
	return (struct kk_listener){
		.protocol = protocol,
		.address = world.config.address,
		.port = port,
		.agent_address = ip4(agent),
		.agent_port = agent_port,
		.service = service,
	};
}

static struct kk_datapath *open_datapath(void)
{
	struct kk_datapath *dp;
	struct kk_err err = {0};

	assert_ok(kk_datapath_open(&world.config, &dp, &err), &err);
	return dp;
}

static void sync_ok(struct kk_datapath *dp, const struct kk_listener *listeners, size_t n)
{
	struct kk_err err = {0};

	assert_ok(kk_datapath_sync(dp, listeners, n, &err), &err);
}

/* The tables hold exactly @wanted, which is in order of protocol and port. */
static void assert_tables(struct kk_datapath *dp, const struct kk_listener *wanted, size_t n)
{
	KK_CLEANUP_FREE struct kk_listener *list = NULL;
	struct kk_err err = {0};

	assert_int_equal(kk_datapath_list(dp, &list, &err), n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(list[i].protocol, wanted[i].protocol);
		assert_int_equal(list[i].address.s_addr, wanted[i].address.s_addr);
		assert_int_equal(list[i].port, wanted[i].port);
		assert_int_equal(list[i].agent_address.s_addr, wanted[i].agent_address.s_addr);
		assert_int_equal(list[i].agent_port, wanted[i].agent_port);
		assert_int_equal(list[i].service, wanted[i].service);
	}
}

static void test_tables_outlive_the_process(void **state)
{
	const struct kk_listener some[] = {
		listener(IPPROTO_TCP, 2222, "10.1.0.100", 2222, 7),
		listener(IPPROTO_TCP, 8080, "10.2.0.100", 80, 9),
		listener(IPPROTO_UDP, 2222, "10.1.0.100", 2222, 70000),
	};
	struct kk_datapath *dp = open_datapath();

	(void)state;
	sync_ok(dp, NULL, 0);
	assert_tables(dp, NULL, 0);
	sync_ok(dp, some, ARRAY_SIZE(some));
	assert_tables(dp, some, ARRAY_SIZE(some));
	kk_datapath_close(dp);
	assert_true(kk_attached(kk_net_ifindex(WORLD_PUBLIC)));
	assert_true(kk_attached(kk_net_ifindex(WORLD_TUNNEL)));

	dp = open_datapath();
	assert_tables(dp, some, ARRAY_SIZE(some));
	sync_ok(dp, some + 1, 1);
	assert_tables(dp, some + 1, 1);
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
	struct stat st;

	(void)state;
	world_clean(&world);
	assert_int_equal(stat(world.pin_dir, &st), -1);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables_outlive_the_process),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
