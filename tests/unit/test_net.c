// SPDX-License-Identifier: MIT
/* lib/net against the real kernel, in a network namespace of the test's own. Needs CAP_SYS_ADMIN. */
#include "net/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "util/cleanup.h"
#include "util/file.h"

static struct kk_prefix4 address(const char *text, uint8_t len)
{
	struct kk_prefix4 p = {.len = len};

	assert_int_equal(inet_pton(AF_INET, text, &p.addr), 1);
	return p;
}

static bool has_address(const char *ifname, const struct kk_prefix4 *wanted)
{
	KK_CLEANUP_FREE struct kk_prefix4 *list = NULL;
	struct kk_err err = {0};
	int n = kk_net_addr_list(ifname, &list, &err);

	assert_true(n >= 0);
	for (int i = 0; i < n; i++)
		if (list[i].addr.s_addr == wanted->addr.s_addr && list[i].len == wanted->len)
			return true;
	return false;
}

/* A namespace so empty that nothing here can touch the machine. */
static int enter_fresh_netns(void **state)
{
	struct kk_err err = {0};

	(void)state;
	if (unshare(CLONE_NEWNET) < 0) {
		print_message("skipped: no network namespace of our own: %s\n", strerror(errno));
		return 0;
	}
	return kk_net_link_add("kkt0", "bridge", &err);
}

static void require_netns(void)
{
	/* A fresh namespace has loopback and our bridge only. */
	if (kk_net_ifindex("kkt0") < 0)
		skip();
}

static void test_link_kind_and_name(void **state)
{
	struct kk_err err = {0};
	char kind[32];

	(void)state;
	require_netns();
	assert_int_equal(kk_net_link_kind("kkt0", kind, sizeof(kind)), 0);
	assert_string_equal(kind, "bridge");
	assert_int_equal(kk_net_link_kind("lo", kind, sizeof(kind)), 0);
	assert_string_equal(kind, "");
	assert_int_equal(kk_net_link_kind("nothere", kind, sizeof(kind)), -ENODEV);
	assert_int_equal(kk_net_link_add("kkt0", "bridge", &err), -EEXIST);
	kk_err_reset(&err);
	assert_int_equal(kk_net_link_add("kkt1", "nosuchkind", &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.msg, "nosuchkind"));
	kk_err_reset(&err);
	assert_int_equal(kk_net_link_add("a-name-of-sixteen", "bridge", &err), -EINVAL);
}

static void test_link_set(void **state)
{
	struct kk_err err = {0};

	(void)state;
	require_netns();
	assert_int_equal(kk_net_link_set("kkt0", true, 1420, &err), 0);
	assert_int_equal(kk_net_link_set("kkt0", true, 1420, &err), 0);
	assert_int_equal(kk_net_link_set("nothere", true, 0, &err), -ENODEV);
	assert_string_equal(err.field, "interface");
	assert_non_null(strstr(err.msg, "nothere"));
}

static void test_addresses(void **state)
{
	struct kk_prefix4 a = address("10.1.0.1", 24), b = address("10.2.0.1", 24);
	struct kk_err err = {0};

	(void)state;
	require_netns();
	assert_false(has_address("kkt0", &a));
	assert_int_equal(kk_net_addr_add("kkt0", &a, &err), 0);
	assert_int_equal(kk_net_addr_add("kkt0", &a, &err), 0);
	assert_int_equal(kk_net_addr_add("kkt0", &b, &err), 0);
	assert_true(has_address("kkt0", &a));
	assert_true(has_address("kkt0", &b));
	assert_false(has_address("lo", &a));
	assert_int_equal(kk_net_addr_del("kkt0", &a, &err), 0);
	assert_int_equal(kk_net_addr_del("kkt0", &a, &err), 0);
	assert_false(has_address("kkt0", &a));
	assert_true(has_address("kkt0", &b));
	assert_int_equal(kk_net_addr_del("kkt0", &b, &err), 0);
	assert_int_equal(kk_net_addr_add("nothere", &a, &err), -ENODEV);
}

/* More than fits into one message of the dump. */
static void test_many_addresses(void **state)
{
	KK_CLEANUP_FREE struct kk_prefix4 *list = NULL;
	struct kk_prefix4 p = {.len = 24};
	struct kk_err err = {0};

	(void)state;
	require_netns();
	for (uint32_t i = 1; i <= 1000; i++) {
		p.addr.s_addr = htonl(0x0a000001u + (i << 8));
		assert_int_equal(kk_net_addr_add("kkt0", &p, &err), 0);
	}
	assert_int_equal(kk_net_addr_list("kkt0", &list, &err), 1000);
	for (uint32_t i = 1; i <= 1000; i++) {
		p.addr.s_addr = htonl(0x0a000001u + (i << 8));
		assert_int_equal(kk_net_addr_del("kkt0", &p, &err), 0);
	}
	assert_false(has_address("kkt0", &p));
}

static void test_routes(void **state)
{
	struct kk_prefix4 any = address("0.0.0.0", 0), net = address("10.9.0.0", 24);
	struct kk_err err = {0};
	char ifname[IFNAMSIZ] = "untouched";

	(void)state;
	require_netns();
	assert_int_equal(kk_net_link_set("kkt0", true, 0, &err), 0);
	assert_int_equal(kk_net_default_ifname(ifname, &err), -ENETUNREACH);
	assert_string_equal(ifname, "untouched");
	kk_err_reset(&err);
	assert_int_equal(kk_net_route_add("kkt0", &net, 100, &err), 0);
	assert_int_equal(kk_net_default_ifname(ifname, &err), -ENETUNREACH);
	kk_err_reset(&err);
	/* Of two default routes the one with the lower metric counts. */
	assert_int_equal(kk_net_link_set("lo", true, 0, &err), 0);
	assert_int_equal(kk_net_route_add("lo", &any, 50, &err), 0);
	assert_int_equal(kk_net_default_ifname(ifname, &err), 0);
	assert_string_equal(ifname, "lo");
	assert_int_equal(kk_net_route_add("kkt0", &any, 10, &err), 0);
	assert_int_equal(kk_net_route_add("kkt0", &any, 10, &err), 0);
	assert_int_equal(kk_net_default_ifname(ifname, &err), 0);
	assert_string_equal(ifname, "kkt0");
	assert_int_equal(kk_net_route_del("kkt0", &any, 10, &err), 0);
	assert_int_equal(kk_net_route_del("kkt0", &any, 10, &err), 0);
	assert_int_equal(kk_net_route_del("lo", &any, 50, &err), 0);
	assert_int_equal(kk_net_default_ifname(ifname, &err), -ENETUNREACH);
	assert_int_equal(kk_net_route_del("kkt0", &net, 100, &err), 0);
}

static void test_sysctl(void **state)
{
	KK_CLEANUP_FREE char *text = NULL;
	struct kk_err err = {0};

	(void)state;
	require_netns();
	assert_int_equal(kk_net_sysctl4("kkt0", "rp_filter", "2", &err), 0);
	assert_int_equal(kk_file_read("/proc/sys/net/ipv4/conf/kkt0/rp_filter", 16, &text, NULL),
			 0);
	assert_string_equal(text, "2\n");
	assert_int_equal(kk_net_sysctl4("kkt0", "no_such_key", "2", &err), -ENOENT);
	kk_err_reset(&err);
	assert_int_equal(kk_net_sysctl4("../all", "rp_filter", "2", &err), -EINVAL);
	kk_err_reset(&err);
	assert_int_equal(kk_net_sysctl4("kkt0", "rp_filter", "many", &err), -EINVAL);
	assert_non_null(strstr(err.msg, "many"));
}

static void test_named_netns(void **state)
{
	struct kk_err err = {0};
	bool made = false;
	char name[64], path[128];
	struct stat st;
	int fd, again;

	(void)state;
	require_netns();
	snprintf(name, sizeof(name), "kktest-net-%d", (int)getpid());
	snprintf(path, sizeof(path), "/run/netns/%s", name);
	fd = kk_netns_open(name, &made, &err);
	assert_true(fd >= 0);
	assert_true(made);
	again = kk_netns_open(name, &made, &err);
	assert_true(again >= 0);
	assert_false(made);
	kk_close(again);
	{
		KK_CLEANUP_NETNS int back = kk_netns_enter(fd);

		assert_true(back >= 0);
		assert_int_equal(kk_net_ifindex("kkt0"), -ENODEV);
		assert_int_equal(kk_net_ifindex("lo"), 1);
	}
	assert_true(kk_net_ifindex("kkt0") > 0);

	/* An interface moves in, and away with the namespace. */
	assert_int_equal(kk_net_link_add("kkt5", "veth", &err), 0);
	assert_int_equal(kk_net_link_move("kkt5", fd, &err), 0);
	assert_int_equal(kk_net_ifindex("kkt5"), -ENODEV);
	assert_int_equal(kk_netns_del(name, &err), 0);
	assert_int_equal(kk_netns_del(name, &err), 0);
	assert_int_equal(stat(path, &st), -1);
	kk_close(fd);

	/* What a crash left half made is completed. */
	assert_int_equal(kk_file_write(path, "", 0, 0444), 0);
	fd = kk_netns_open(name, &made, &err);
	assert_true(fd >= 0);
	assert_true(made);
	kk_close(fd);
	assert_int_equal(kk_netns_del(name, &err), 0);
	assert_int_equal(kk_netns_open("../x", &made, &err), -EINVAL);
	assert_string_equal(err.field, "netns");
}

/* Readable after a change, and quiet again once it was read, also when more came than fits. */
static void test_watch_links(void **state)
{
	struct pollfd watched = {.events = POLLIN};
	struct kk_err err = {0};

	(void)state;
	require_netns();
	watched.fd = kk_net_watch_links(&err);
	assert_true(watched.fd >= 0);
	assert_int_equal(poll(&watched, 1, 0), 0);
	for (int changes = 1; changes <= 2000; changes *= 2000) {
		for (int i = 0; i < changes; i++)
			assert_int_equal(kk_net_link_set("kkt0", true, 1400 + i % 2, &err), 0);
		assert_int_equal(poll(&watched, 1, 5000), 1);
		kk_net_watch_read(watched.fd);
		assert_int_equal(poll(&watched, 1, 0), 0);
	}
	kk_close(watched.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_link_kind_and_name),
		cmocka_unit_test(test_link_set),
		cmocka_unit_test(test_watch_links),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_many_addresses),
		cmocka_unit_test(test_routes),
		cmocka_unit_test(test_sysctl),
		cmocka_unit_test(test_named_netns),
	};

	return cmocka_run_group_tests(tests, enter_fresh_netns, NULL);
}
