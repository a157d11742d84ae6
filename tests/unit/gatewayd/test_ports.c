// SPDX-License-Identifier: MIT
/* Which sockets count as ports that the host serves: real ones, in a network namespace of the test's own. */
#include "gatewayd/ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/kk_test.h"
#include "net/net.h"
#include "util/cleanup.h"

/* On loopback, but not all of 127.0.0.0/8 is meant. */
#define MANAGED "127.0.0.9"

static bool able;

static int enter_fresh_netns(void **state)
{
	struct kk_err err = {0};

	(void)state;
	able = unshare(CLONE_NEWNET) == 0;
	if (!able) {
		print_message("skipped: no network namespace of our own: %s\n", strerror(errno));
		return 0;
	}
	return kk_net_link_set("lo", true, 0, &err);
}

static int serve4(int type, const char *address, uint16_t port)
{
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	struct sockaddr_in bound = {.sin_family = AF_INET, .sin_port = htons(port)};

	assert_int_equal(inet_pton(AF_INET, address, &bound.sin_addr), 1);
	assert_int_equal(bind(fd, (struct sockaddr *)&bound, sizeof(bound)), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static int serve6(int type, const char *address, uint16_t port, int only)
{
	int fd = socket(AF_INET6, type | SOCK_CLOEXEC, 0);
	struct sockaddr_in6 bound = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

	assert_int_equal(inet_pton(AF_INET6, address, &bound.sin6_addr), 1);
	assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&bound, sizeof(bound)), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 1), 0);
	return fd;
}

/* Managed besides. */
static struct kk_address others[2];
static size_t n_others;

static struct ports read_ports(void)
{
	struct in_addr managed = {inet_addr(MANAGED)};
	struct kk_err err = {0};
	struct ports ports;

	if (ports_read(managed, others, n_others, (int)if_nametoindex("lo"), &ports, &err) < 0)
		fail_msg("%s", err.msg);
	return ports;
}

static void require_netns(void)
{
	if (!able)
		skip();
}

static void test_nothing(void **state)
{
	struct ports ports;

	(void)state;
	require_netns();
	ports = read_ports();
	assert_int_equal(ports.n, 0);
	ports_clean(&ports);
}

static void count_what_counts(void)
{
	struct ports ports;
	int fds[] = {
		serve4(SOCK_STREAM, "0.0.0.0", 22),
		serve4(SOCK_STREAM, MANAGED, 25),
		serve4(SOCK_STREAM, "127.0.0.1", 26),
		serve4(SOCK_DGRAM, "0.0.0.0", 53),
		serve4(SOCK_DGRAM, MANAGED, 123),
		serve4(SOCK_DGRAM, "127.0.0.1", 124),
		serve6(SOCK_STREAM, "::", 80, 0),
		serve6(SOCK_STREAM, "::", 81, 1),
		serve6(SOCK_STREAM, "::ffff:" MANAGED, 82, 0),
		serve6(SOCK_STREAM, "::1", 83, 0),
		serve6(SOCK_DGRAM, "::", 54, 0),
		serve4(SOCK_DGRAM, "0.0.0.0", 80),
	};
	static const struct {
		uint8_t protocol;
		uint16_t number;
	} wanted[] = {{IPPROTO_TCP, 22}, {IPPROTO_TCP, 25}, {IPPROTO_TCP, 80}, {IPPROTO_TCP, 82},
		      {IPPROTO_UDP, 53}, {IPPROTO_UDP, 54}, {IPPROTO_UDP, 80}, {IPPROTO_UDP, 123}};

	ports = read_ports();
	assert_int_equal(ports.n, ARRAY_SIZE(wanted));
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		assert_int_equal(ports.items[i].protocol, wanted[i].protocol);
		assert_int_equal(ports.items[i].number, wanted[i].number);
		assert_int_not_equal(ports.items[i].inode, 0);
	}
	assert_non_null(ports_find(&ports, IPPROTO_TCP, 22));
	assert_null(ports_find(&ports, IPPROTO_UDP, 22));
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	ports_clean(&ports);
}

static void test_which_count(void **state)
{
	(void)state;
	require_netns();
	count_what_counts();
}

/* With an IPv6 address of its own the gateway loses what IPv6 alone reaches, too. */
static void test_ip6_counts(void **state)
{
	static const uint16_t wanted[] = {22, 81, 83, 84};
	struct ports ports;
	int fds[5];

	(void)state;
	require_netns();
	fds[0] = serve4(SOCK_STREAM, "0.0.0.0", 22);
	fds[1] = serve6(SOCK_STREAM, "::", 81, 1);
	fds[2] = serve6(SOCK_STREAM, "::1", 83, 0);
	fds[3] = serve4(SOCK_STREAM, "127.0.0.9", 84);
	fds[4] = serve4(SOCK_STREAM, "127.0.0.8", 85);
	assert_int_equal(kk_parse_address("address", "::1", &others[0], NULL), 0);
	assert_int_equal(kk_parse_address("address", "127.0.0.9", &others[1], NULL), 0);
	n_others = 2;
	ports = read_ports();
	n_others = 0;
	assert_int_equal(ports.n, ARRAY_SIZE(wanted));
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		assert_int_equal(ports.items[i].number, wanted[i]);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	ports_clean(&ports);
}

/* A client's socket is no service, and one that is bound to another interface is none here. */
static void test_which_do_not(void **state)
{
	KK_CLEANUP_CLOSE int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	KK_CLEANUP_CLOSE int elsewhere = -1;
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
	struct kk_err err = {0};
	struct ports ports;

	(void)state;
	require_netns();
	to.sin_addr.s_addr = inet_addr(MANAGED);
	assert_int_equal(connect(client, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(kk_net_link_add("kkt0", "bridge", &err), 0);
	elsewhere = serve4(SOCK_DGRAM, "0.0.0.0", 68);
	assert_int_equal(setsockopt(elsewhere, SOL_SOCKET, SO_BINDTODEVICE, "kkt0", 4), 0);
	ports = read_ports();
	assert_int_equal(ports.n, 0);
	ports_clean(&ports);
	assert_int_equal(kk_net_link_del("kkt0", &err), 0);
}

static void test_add_and_compare(void **state)
{
	struct ports a = {0}, b = {0};

	(void)state;
	assert_true(ports_equal(&a, &b));
	assert_int_equal(ports_add(&a, IPPROTO_UDP, 51820), 0);
	assert_int_equal(ports_add(&a, IPPROTO_UDP, 51820), 0);
	assert_int_equal(ports_add(&a, IPPROTO_TCP, 51820), 0);
	assert_int_equal(ports_add(&a, IPPROTO_UDP, 1), 0);
	assert_int_equal(a.n, 3);
	assert_false(ports_equal(&a, &b));
	assert_int_equal(ports_add(&b, IPPROTO_UDP, 1), 0);
	assert_int_equal(ports_add(&b, IPPROTO_TCP, 51820), 0);
	assert_false(ports_equal(&a, &b));
	assert_int_equal(ports_add(&b, IPPROTO_UDP, 51820), 0);
	assert_true(ports_equal(&a, &b));
	assert_non_null(ports_find(&a, IPPROTO_UDP, 51820));
	ports_clean(&a);
	ports_clean(&b);
}

static void test_owner_unknown(void **state)
{
	char text[64];

	(void)state;
	ports_owner(0, text, sizeof(text));
	assert_string_equal(text, "another program");
	ports_owner(4294967295u, text, sizeof(text));
	assert_string_equal(text, "another program");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing),	      cmocka_unit_test(test_which_count),
		cmocka_unit_test(test_which_do_not),  cmocka_unit_test(test_add_and_compare),
		cmocka_unit_test(test_owner_unknown), cmocka_unit_test(test_ip6_counts),
	};

	return cmocka_run_group_tests(tests, enter_fresh_netns, NULL);
}
