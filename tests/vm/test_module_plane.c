// SPDX-License-Identifier: MIT
/*
 * lib/plane where kakuremichi.ko is installed: the module is loaded by itself and takes over, eBPF goes on where it cannot or is
 * gone, and who comes later finds what is there.
 */
#include "tests/unit/datapath_world.h"

#include <stdlib.h>

#include <kk/core/types.h>

#include <uapi/kakuremichi.h>

#include "genl/installed.h"
#include "genl/module.h"
#include "genl/watch.h"
#include "plane/plane.h"

static struct world world;

static struct kk_listener listener(uint16_t port)
{
	return (struct kk_listener){.protocol = IPPROTO_TCP,
				    .address = world.address,
				    .port = port,
				    .agent_address = ip4("10.1.0.100"),
				    .agent_port = 22,
				    .service = 7};
}

static struct kk_plane *open_plane(enum kk_plane_host host)
{
	struct kk_plane *plane;
	struct kk_err err = {0};

	assert_ok(kk_plane_open(&world.config, host, &plane, &err), &err);
	return plane;
}

static void set_port(struct kk_plane *plane, uint16_t port)
{
	const struct kk_listener published = listener(port);
	const struct kk_datapath_tables wanted = {.listeners = &published, .n_listeners = 1};
	struct kk_err err = {0};

	assert_ok(kk_plane_set(plane, &wanted, &err), &err);
}

/* How many ports the module has in force here; -1: it has no tables. */
static int in_module(void)
{
	struct kk_module module;
	struct kk_module_info info;
	struct kk_err err = {0};

	if (!kk_module_is_loaded())
		return -1;
	assert_ok(kk_module_open(&module, &err), &err);
	assert_ok(kk_module_info(&module, &info, &err), &err);
	kk_module_close(&module);
	return info.loaded ? (int)info.n_listeners : -1;
}

static void assert_module(struct kk_plane *plane)
{
	if (strcmp(kk_plane_kind(plane), "module") != 0)
		fail_msg("%s", kk_plane_reason(plane));
	assert_int_equal(in_module(), 1);
}

static void assert_bpf(struct kk_plane *plane, const char *why)
{
	assert_string_equal(kk_plane_kind(plane), "tc");
	if (!strstr(kk_plane_reason(plane), why))
		fail_msg("%s", kk_plane_reason(plane));
	assert_int_equal(in_module(), -1);
}

#define LINES_MAX 2048

static void add_line(void *data, const char *line)
{
	strncat(data, line, LINES_MAX - 1 - strlen(data));
}

/* What a SYN from outside meets, with the module's word on it. */
static void assert_traced(struct kk_plane *plane, uint16_t port, const char *verdict)
{
	const struct kk_trace_packet packet = {.protocol = IPPROTO_TCP,
					       .source = public_address("203.0.113.9"),
					       .dest = world.address,
					       .source_port = 4000,
					       .dest_port = port,
					       .tcp_flags = 2};
	const bool published = strcmp(verdict, "tunnel") == 0;
	const char *looked_up;
	char lines[LINES_MAX] = "";
	struct kk_trace trace;
	struct kk_err err = {0};

	assert_ok(kk_plane_trace(plane, &packet, add_line, lines, &trace, &err), &err);
	assert_string_equal(trace.verdict, verdict);
	/* The edge is eBPF's; what it lets on is looked up in the module's tables, and the module has the last word. */
	looked_up = strstr(lines, ": goes on");
	assert_non_null(looked_up);
	looked_up = strstr(looked_up, "listeners: ");
	assert_non_null(looked_up);
	assert_non_null(strstr(looked_up,
			       published ? "to 10.1.0.100 port " : "nothing is published there"));
	assert_non_null(strstr(looked_up, "kernel module: "));
	assert_null(strstr(lines, "forwarding at tc"));
}

static void test_takes_over(void **state)
{
	struct kk_datapath_tables *read;
	struct kk_plane *plane = open_plane(KK_PLANE_AUTO);
	struct kk_err err = {0};

	(void)state;
	assert_true(kk_module_is_loaded());
	set_port(plane, 2222);
	assert_module(plane);
	assert_traced(plane, 2222, "tunnel");
	assert_traced(plane, 2223, "pass");
	assert_ok(kk_plane_read(plane, &read, &err), &err);
	assert_int_equal(read->n_listeners, 1);
	assert_int_equal(read->listeners[0].port, 2222);
	kk_plane_tables_free(read);
	kk_plane_close(plane);
	assert_int_equal(in_module(), 1);
}

/* By the next daemon, and by a reader. */
static void test_found(void **state)
{
	struct kk_plane *plane = open_plane(KK_PLANE_AUTO);
	struct kk_err err = {0};

	(void)state;
	assert_module(plane);
	set_port(plane, 2222);
	assert_module(plane);
	kk_plane_close(plane);
	assert_ok(kk_plane_open_readonly(world.pin_dir, &plane, &err), &err);
	assert_module(plane);
	assert_traced(plane, 2222, "tunnel");
	kk_plane_close(plane);
}

static bool told(struct kk_genl_watch *watch)
{
	for (int ms = 0; ms < 10000; ms += 10) {
		if (kk_genl_watch_read(watch))
			return true;
		usleep(10000);
	}
	return false;
}

static void test_exchanged(void **state)
{
	struct kk_plane *plane = open_plane(KK_PLANE_AUTO);
	struct kk_genl_watch watch;
	struct kk_err err = {0};

	(void)state;
	assert_ok(kk_genl_watch_open(&watch, KK_GENL_NAME, &err), &err);
	assert_false(kk_genl_watch_read(&watch));
	set_port(plane, 2222);
	assert_int_equal(system("modprobe -r kakuremichi"), 0);
	assert_true(told(&watch));
	assert_false(kk_plane_follow_module(plane));
	assert_bpf(plane, "was unloaded");
	set_port(plane, 2223);
	assert_bpf(plane, "was unloaded");
	assert_false(kk_module_is_loaded());
	assert_int_equal(system("modprobe kakuremichi"), 0);
	assert_true(told(&watch));
	assert_true(kk_plane_follow_module(plane));
	set_port(plane, 2223);
	assert_module(plane);
	assert_false(kk_plane_follow_module(plane));
	assert_module(plane);
	kk_genl_watch_close(&watch);
	kk_plane_close(plane);
}

/* Another gateway of the namespace has the module, which it keeps. */
static void test_anothers(void **state)
{
	int fd = world_tun("kktun2");
	struct kk_datapath_config config = world.config;
	struct kk_plane *plane;
	struct kk_err err = {0};
	char pin_dir[96];

	(void)state;
	snprintf(pin_dir, sizeof(pin_dir), "%s-2", world.pin_dir);
	assert_ok(kk_net_link_add("kkpub2", "veth", &err), &err);
	assert_ok(kk_net_link_set("kkpub2", true, 0, &err), &err);
	assert_ok(kk_net_link_set("kktun2", true, 0, &err), &err);
	config.pin_dir = pin_dir;
	config.public_ifname = "kkpub2";
	config.tunnel_ifname = "kktun2";
	assert_ok(kk_plane_open(&config, KK_PLANE_AUTO, &plane, &err), &err);
	set_port(plane, 2224);
	assert_string_equal(kk_plane_kind(plane), "tc");
	assert_non_null(strstr(kk_plane_reason(plane), "serves " WORLD_TUNNEL));
	kk_plane_close(plane);
	assert_ok(kk_plane_remove(pin_dir, "kkpub2", "kktun2", &err), &err);
	kk_close(fd);
	assert_int_equal(in_module(), 1);
}

static void test_bpf_asked_for(void **state)
{
	struct kk_plane *plane = open_plane(KK_PLANE_BPF);

	(void)state;
	assert_bpf(plane, "--datapath bpf");
	set_port(plane, 2222);
	assert_bpf(plane, "--datapath bpf");
	kk_plane_close(plane);
	plane = open_plane(KK_PLANE_MODULE);
	set_port(plane, 2222);
	assert_module(plane);
	kk_plane_close(plane);
}

static void test_removed(void **state)
{
	struct kk_err err = {0};

	(void)state;
	assert_ok(kk_plane_remove(world.pin_dir, WORLD_PUBLIC, WORLD_TUNNEL, &err), &err);
	assert_int_equal(in_module(), -1);
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
		cmocka_unit_test(test_takes_over),    cmocka_unit_test(test_found),
		cmocka_unit_test(test_exchanged),     cmocka_unit_test(test_anothers),
		cmocka_unit_test(test_bpf_asked_for), cmocka_unit_test(test_removed),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
