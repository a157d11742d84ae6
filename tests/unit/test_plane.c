// SPDX-License-Identifier: MIT
/*
 * The data plane with its two hosts, on a kernel that has no module: eBPF forwards, and says why. With the module
 * it is tests/system/test_world_module.py that shows it. Needs root.
 */
#include "tests/unit/datapath_world.h"

#include <kk/core/types.h>

#include "genl/installed.h"
#include "plane/plane.h"

static struct world world;

static struct kk_listener listener(void)
{
	return (struct kk_listener){.protocol = IPPROTO_TCP,
				    .address = world.address,
				    .port = 2222,
				    .agent_address = ip4("10.1.0.100"),
				    .agent_port = 22,
				    .service = 7};
}

static void needs_no_module(void)
{
	char why[320];

	kk_module_absence(why, sizeof(why));
	if (!strstr(why, "not installed") && !strstr(why, "there are no modules")) {
		print_message("skipped: kakuremichi.ko is installed here\n");
		skip();
	}
}

static void test_why_not(void **state)
{
	const struct kk_listener published = listener();
	const struct kk_datapath_tables wanted = {.listeners = &published, .n_listeners = 1};
	struct kk_datapath_tables *read;
	struct kk_datapath_counter *counters;
	struct kk_plane *plane;
	struct kk_err err = {0};
	char why[320], text[340];

	(void)state;
	needs_no_module();
	kk_module_absence(why, sizeof(why));
	snprintf(text, sizeof(text), "eBPF: %s", why);
	assert_ok(kk_plane_open(&world.config, KK_PLANE_AUTO, &plane, &err), &err);
	assert_string_equal(kk_plane_kind(plane), "tc");
	assert_string_equal(kk_plane_reason(plane), text);
	assert_ok(kk_plane_set(plane, &wanted, &err), &err);
	assert_string_equal(kk_plane_kind(plane), "tc");
	assert_false(kk_plane_follow_module(plane));
	assert_string_equal(kk_plane_reason(plane), text);
	assert_ok(kk_plane_read(plane, &read, &err), &err);
	assert_int_equal(read->n_listeners, 1);
	assert_int_equal(read->listeners[0].port, 2222);
	kk_plane_tables_free(read);
	assert_true(kk_plane_counters(plane, &counters, &err) > 0);
	free(counters);
	kk_plane_close(plane);

	assert_ok(kk_plane_open_readonly(world.pin_dir, &plane, &err), &err);
	assert_string_equal(kk_plane_reason(plane), text);
	kk_plane_close(plane);
}

static void test_module_or_nothing(void **state)
{
	struct kk_plane *plane = NULL;
	struct kk_err err = {0};

	(void)state;
	needs_no_module();
	assert_int_equal(kk_plane_open(&world.config, KK_PLANE_MODULE, &plane, &err), -ENOENT);
	assert_string_equal(err.field, "datapath");
	assert_non_null(strstr(err.msg, "datapath: module cannot be: "));
	assert_null(plane);
}

static void test_asked_for(void **state)
{
	struct kk_plane *plane;
	struct kk_err err = {0};

	(void)state;
	assert_ok(kk_plane_open(&world.config, KK_PLANE_BPF, &plane, &err), &err);
	assert_string_equal(kk_plane_kind(plane), "tc");
	assert_string_equal(kk_plane_reason(plane), "eBPF: asked for by --datapath bpf");
	kk_plane_close(plane);
}

static void test_hosts(void **state)
{
	enum kk_plane_host host = KK_PLANE_BPF;

	(void)state;
	assert_int_equal(kk_plane_host_parse("auto", &host), 0);
	assert_int_equal(host, KK_PLANE_AUTO);
	assert_int_equal(kk_plane_host_parse("tc", &host), -EINVAL);
	assert_int_equal(host, KK_PLANE_AUTO);
}

static int set_up(void **state)
{
	(void)state;
	world_init(&world);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	world_clean(&world);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_why_not),
		cmocka_unit_test(test_module_or_nothing),
		cmocka_unit_test(test_asked_for),
		cmocka_unit_test(test_hosts),
	};

	return kk_run_group_as_root("loads BPF programs and makes a network namespace", tests,
				    set_up, tear_down);
}
