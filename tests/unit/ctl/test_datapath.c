// SPDX-License-Identifier: MIT
/* kkctl datapath beside a data path in force. Needs root. */
#include "tests/unit/datapath_world.h"

#include "ctl/ctl.h"
#include "tests/unit/ctl/capture.h"

static struct world world;

static int run(size_t command, const char *pin_dir, bool json)
{
	struct ctl ctl = {.options.pin_dir = pin_dir, .options.json = json};
	int r;

	ctl.command = &ctl_datapath.commands[command];
	CAPTURE(stdout, r = ctl.command->run(&ctl));
	return r;
}

static void test_show(void **state)
{
	const struct kk_listener listeners[] = {
		{.protocol = IPPROTO_TCP,
		 .address = world.address,
		 .port = 2222,
		 .agent_address = ip4("10.1.0.100"),
		 .agent_port = 22,
		 .service = 7},
		{.protocol = IPPROTO_UDP,
		 .address = world.address,
		 .port = 53,
		 .agent_address = ip4("10.2.0.100"),
		 .agent_port = 53,
		 .service = 9},
	};
	struct kk_datapath *dp;
	struct kk_err err = {0};

	(void)state;
	assert_ok(kk_datapath_open(&world.config, &dp, &err), &err);
	assert_int_equal(run(0, world.pin_dir, false), CTL_DONE);
	assert_string_equal(captured, "Nothing is published here.\n");
	assert_ok(kk_datapath_sync(dp, listeners, ARRAY_SIZE(listeners), &err), &err);
	kk_datapath_close(dp);

	assert_int_equal(run(0, world.pin_dir, false), CTL_DONE);
	assert_string_equal(captured, "ADDRESS       PORT      TO             SERVICE ID\n"
				      "198.51.100.1  2222/tcp  10.1.0.100:22  7\n"
				      "198.51.100.1  53/udp    10.2.0.100:53  9\n");
	assert_int_equal(run(0, world.pin_dir, true), CTL_DONE);
	assert_non_null(strstr(captured, "\"agent_address\": \"10.2.0.100\""));
	assert_int_equal(run(1, world.pin_dir, false), CTL_DONE);
	assert_non_null(strstr(captured, "SERVICE ID  PACKETS IN"));
	assert_non_null(strstr(captured, "\n9           0 "));
	assert_int_equal(run(1, world.pin_dir, true), CTL_DONE);
	assert_non_null(strstr(captured, "\"verdict\": \"drop\""));
}

/* To be read only means what it says. */
static void test_readonly(void **state)
{
	struct kk_datapath *dp;
	struct kk_err err = {0};

	(void)state;
	assert_ok(kk_datapath_open_readonly(world.pin_dir, &dp, &err), &err);
	assert_int_equal(kk_datapath_sync(dp, NULL, 0, &err), -EROFS);
	kk_datapath_close(dp);
	assert_int_equal(run(0, world.pin_dir, false), CTL_DONE);
	assert_non_null(strstr(captured, "2222/tcp"));
}

static void test_nothing_there(void **state)
{
	struct ctl ctl = {.options.pin_dir = "/sys/fs/bpf/kk-test-none"};
	int r;

	(void)state;
	CAPTURE(stderr, r = ctl_datapath.commands[0].run(&ctl));
	assert_int_equal(r, CTL_REFUSED);
	assert_string_equal(captured, "kkctl: there are no tables of this version in "
				      "/sys/fs/bpf/kk-test-none\n");
	assert_int_equal(access(ctl.options.pin_dir, F_OK), -1);
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
		cmocka_unit_test(test_show),
		cmocka_unit_test(test_readonly),
		cmocka_unit_test(test_nothing_there),
	};

	return kk_run_group_as_root("loads BPF programs and makes a network namespace", tests,
				    setup, teardown);
}
