// SPDX-License-Identifier: MIT
/*
 * lib/plane where kakuremichi.ko is installed: the module is loaded by itself and takes over, eBPF goes on where it cannot or is
 * gone, and who comes later finds what is there.
 */
#include "tests/unit/datapath_world.h"
#include "tests/unit/table_model.h"

#include <stdlib.h>

#include <kk/core/types.h>

#include <uapi/kakuremichi.h>

#include "bpf/listeners.h"
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

/* ---- parts of the tables ---- */

#define STEPS 150

static int compare_listeners(const void *a, const void *b)
{
	const struct kk_listener *x = a, *y = b;
	int c = kk_address_compare(&x->address, &y->address);

	if (c || x->protocol != y->protocol)
		return c ? c : x->protocol - y->protocol;
	return x->port - y->port;
}

static int compare_groups(const void *a, const void *b)
{
	const struct kk_group *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

static int compare_members(const void *a, const void *b)
{
	const struct kk_member *x = a, *y = b;

	return memcmp(&x->address, &y->address, sizeof(x->address));
}

/* In an order of their own. */
static void sort_tables(struct kk_datapath_tables *t)
{
	qsort((void *)t->listeners, t->n_listeners, sizeof(*t->listeners), compare_listeners);
	qsort((void *)t->groups, t->n_groups, sizeof(*t->groups), compare_groups);
	for (size_t i = 0; i < t->n_groups; i++)
		qsort((void *)t->groups[i].members, t->groups[i].n_members,
		      sizeof(*t->groups[i].members), compare_members);
}

static void assert_same_group(const struct kk_group *a, const struct kk_group *b)
{
	assert_int_equal(a->id, b->id);
	assert_int_equal(a->n_members, b->n_members);
	for (size_t i = 0; i < a->n_members; i++) {
		assert_int_equal(a->members[i].address.s_addr, b->members[i].address.s_addr);
		assert_int_equal(a->members[i].healthy, b->members[i].healthy);
	}
}

static bool same_listener(const struct kk_listener *a, const struct kk_listener *b)
{
	return compare_listeners(a, b) == 0 && a->service == b->service && a->group == b->group &&
	       (a->group || a->agent_address.s_addr == b->agent_address.s_addr) &&
	       a->agent_port == b->agent_port && a->snat == b->snat && a->draining == b->draining;
}

/* What the module holds, entry by entry. */
static void compare_with(struct kk_datapath_tables *wanted)
{
	struct kk_datapath_tables *read;
	struct kk_module module;
	struct kk_err err = {0};
	size_t n = 0;

	assert_ok(kk_module_open(&module, &err), &err);
	assert_ok(kk_module_read(&module, &read, &err), &err);
	kk_module_close(&module);
	sort_tables(read);
	sort_tables(wanted);
	for (size_t i = 0; i < wanted->n_listeners; i++) {
		const struct kk_listener *l = &wanted->listeners[i];

		if (!kk_listener_is_there(l))
			continue;
		assert_true(n < read->n_listeners);
		assert_true(same_listener(l, &read->listeners[n++]));
	}
	assert_int_equal(n, read->n_listeners);
	assert_int_equal(wanted->n_groups, read->n_groups);
	for (size_t i = 0; i < wanted->n_groups; i++)
		assert_same_group(&wanted->groups[i], &read->groups[i]);
	kk_datapath_tables_free(read);
}

/*
 * Random changes of a part, in both hosts: the module has what the whole would have, and what is refused changes neither.
 * What it can only do as a whole, ports that change hands, is done so.
 */
static void test_parts(void **state)
{
	static struct model_tables from, to, whole;
	struct kk_plane *plane;
	struct kk_err err = {0};
	struct model now = {.addresses = {world.address}}, next;
	bool touched[MODEL_SERVICES + 1];
	int amended = 0;

	(void)state;
	plane = open_plane(KK_PLANE_MODULE);
	model_seed = 1;
	assert_ok(kk_plane_set(plane, model_tables(&whole, &now, NULL, 0), &err), &err);
	for (int step = 0; step < STEPS; step++) {
		next = now;
		model_change(&next, touched);
		for (uint32_t id = 1; id <= MODEL_SERVICES; id++)
			next.services[id].addresses = 1;
		model_tables(&from, &now, touched, now.denied & ~next.denied);
		model_tables(&to, &next, touched, next.denied & ~now.denied);
		model_tables(&whole, &next, NULL, next.denied);
		if (kk_plane_amend(plane, &from.all, &to.all, NULL) == 0)
			amended++;
		else if (kk_plane_set(plane, &whole.all, NULL) < 0)
			next = now;
		now = next;
		model_tables(&whole, &now, NULL, now.denied);
		assert_string_equal(kk_plane_kind(plane), "module");
		compare_with(&whole.all);
	}
	assert_in_range(amended, STEPS / 2, STEPS);
	kk_plane_close(plane);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_takes_over), cmocka_unit_test(test_found),
		cmocka_unit_test(test_exchanged),  cmocka_unit_test(test_anothers),
		cmocka_unit_test(test_parts),	   cmocka_unit_test(test_bpf_asked_for),
		cmocka_unit_test(test_removed),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
