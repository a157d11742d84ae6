// SPDX-License-Identifier: MIT
#include "kk_test.h"

#include <arpa/inet.h>
#include <errno.h>

#include "util/parse.h"

static void good_int(const char *text, int64_t min, int64_t max, int64_t want)
{
	struct kk_err err = {0};
	int64_t got = 0x5a5a;

	if (kk_parse_int("port", text, min, max, &got, &err) != 0)
		fail_msg("\"%s\": %s", text, err.msg);
	assert_int_equal(got, want);
}

static void bad_int(const char *text, int code, const char *part)
{
	struct kk_err err = {0};
	int64_t got = 0x5a5a;

	if (kk_parse_int("port", text, 1, 65535, &got, &err) != -code)
		fail_msg("\"%s\" was taken, or another error: %s", text, err.msg);
	assert_err(&err, "port", part);
	assert_int_equal(got, 0x5a5a);
}

static void test_int(void **state)
{
	(void)state;
	good_int("1", 1, 65535, 1);
	good_int("65535", 1, 65535, 65535);
	good_int("0022", 1, 65535, 22);
	good_int("-7", -9, 9, -7);
	good_int("9223372036854775807", 0, INT64_MAX, INT64_MAX);
	good_int("-9223372036854775808", INT64_MIN, 0, INT64_MIN);
	bad_int("70000", ERANGE, "port: 70000 is out of range (1 to 65535)");
	bad_int("0", ERANGE, "out of range");
	bad_int("-1", ERANGE, "out of range");
	bad_int("99999999999999999999", ERANGE, "out of range");
	bad_int("-99999999999999999999", ERANGE, "out of range");
	bad_int("", EINVAL, "not a whole number");
	bad_int("-", EINVAL, "not a whole number");
	bad_int("+1", EINVAL, "not a whole number");
	bad_int(" 1", EINVAL, "not a whole number");
	bad_int("1 ", EINVAL, "not a whole number");
	bad_int("--1", EINVAL, "not a whole number");
	bad_int("1.5", EINVAL, "not a whole number");
	bad_int("1e3", EINVAL, "not a whole number");
	bad_int("0x10", EINVAL, "not a whole number");
	bad_int("22a", EINVAL, "\"22a\" is not a whole number");
	bad_int("http", EINVAL, "not a whole number");
}

static void test_name(void **state)
{
	static const char *const good[] = {
		"a", "0", "gw1", "my-home-server", "a--b", "abcdefghijklmnopqrstuvwxyz012345"};
	static const char *const bad[] = {"",
					  "-",
					  "-a",
					  "a-",
					  "A",
					  "a b",
					  "a.b",
					  "a_b",
					  "a/b",
					  "..",
					  "a\n",
					  "\xc3\xa4",
					  "a\tb",
					  "a;rm",
					  "%s",
					  "a\x7f",
					  "abcdefghijklmnopqrstuvwxyz0123456"};
	struct kk_err err = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (kk_parse_name("name", good[i], &err) != 0)
			fail_msg("\"%s\": %s", good[i], err.msg);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		kk_err_reset(&err);
		if (kk_parse_name("agent", bad[i], &err) != -EINVAL)
			fail_msg("\"%s\" was taken", bad[i]);
		assert_err(&err, "agent", "is not a name");
	}
}

static void test_ip4(void **state)
{
	static const char *const bad[] = {"",	      "1.2.3",	   "1.2.3.4.5", "1.2.3.256",
					  "1.2.3.4 ", " 1.2.3.4",  "::1",	"0x1.2.3.4",
					  "1.2.3.-4", "localhost", "1.2.3.4/8", "01.2.3.400"};
	struct in_addr addr, before;
	struct kk_err err = {0};

	(void)state;
	assert_int_equal(kk_parse_ip4("address", "198.51.100.1", &addr, &err), 0);
	assert_int_equal(ntohl(addr.s_addr), 0xc6336401);
	before = addr;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		kk_err_reset(&err);
		if (kk_parse_ip4("address", bad[i], &addr, &err) != -EINVAL)
			fail_msg("\"%s\" was taken", bad[i]);
		assert_err(&err, "address", "is not an IPv4 address");
		assert_int_equal(addr.s_addr, before.s_addr);
	}
}

static void bad_prefix(const char *text, int code, const char *part)
{
	struct kk_prefix4 prefix = {.len = 77};
	struct kk_err err = {0};

	if (kk_parse_prefix4("pool", text, &prefix, &err) != -code)
		fail_msg("\"%s\" was taken, or another error: %s", text, err.msg);
	assert_err(&err, "pool", part);
	assert_int_equal(prefix.len, 77);
}

static void test_prefix4(void **state)
{
	struct kk_prefix4 prefix;
	struct kk_err err = {0};

	(void)state;
	assert_int_equal(kk_parse_prefix4("pool", "10.0.0.0/8", &prefix, &err), 0);
	assert_int_equal(ntohl(prefix.addr.s_addr), 0x0a000000);
	assert_int_equal(prefix.len, 8);
	assert_int_equal(kk_parse_prefix4("pool", "0.0.0.0/0", &prefix, &err), 0);
	assert_int_equal(kk_parse_prefix4("pool", "10.1.2.3/32", &prefix, &err), 0);
	bad_prefix("10.0.0.0", EINVAL, "not an IPv4 prefix");
	bad_prefix("", EINVAL, "not an IPv4 prefix");
	bad_prefix("/8", EINVAL, "not an IPv4 address");
	bad_prefix("10.0.0.0/", EINVAL, "not a whole number");
	bad_prefix("10.0.0.0/33", ERANGE, "out of range (0 to 32)");
	bad_prefix("10.0.0.0/-1", ERANGE, "out of range");
	bad_prefix("10.0.0.0/8/8", EINVAL, "not a whole number");
	bad_prefix("10.1.0.0/8", EINVAL, "host bits");
	bad_prefix("0.0.0.1/0", EINVAL, "host bits");
	bad_prefix("10.0.0.1/31", EINVAL, "host bits");
	bad_prefix("10.0.0/8", EINVAL, "not an IPv4 address");
	bad_prefix("1234567890123456/8", EINVAL, "not an IPv4 prefix");
}

static void good_hostport(const char *text, bool bare, const char *want_host, uint16_t want_port)
{
	struct kk_err err = {0};
	char host[64];
	uint16_t port;

	if (kk_parse_hostport("target", text, bare, host, sizeof(host), &port, &err) != 0)
		fail_msg("\"%s\": %s", text, err.msg);
	assert_string_equal(host, want_host);
	assert_int_equal(port, want_port);
}

static void bad_hostport(const char *text, bool bare, int code, const char *part)
{
	struct kk_err err = {0};
	uint16_t port = 0x5a5a;
	char host[64] = "x";

	if (kk_parse_hostport("target", text, bare, host, sizeof(host), &port, &err) != -code)
		fail_msg("\"%s\" was taken, or another error: %s", text, err.msg);
	assert_err(&err, "target", part);
	assert_string_equal(host, "x");
	assert_int_equal(port, 0x5a5a);
}

static void test_hostport(void **state)
{
	(void)state;
	good_hostport("127.0.0.1:22", false, "127.0.0.1", 22);
	good_hostport("nas.lan:65535", false, "nas.lan", 65535);
	good_hostport("[2001:db8::1]:80", false, "2001:db8::1", 80);
	good_hostport("8080", true, "127.0.0.1", 8080);
	good_hostport("h:8080", true, "h", 8080);
	bad_hostport("8080", false, EINVAL, "is not HOST:PORT");
	bad_hostport("", true, EINVAL, "is not HOST:PORT or PORT");
	bad_hostport(":22", false, EINVAL, "is not HOST:PORT");
	bad_hostport("host", true, EINVAL, "is not HOST:PORT");
	bad_hostport("host:", false, EINVAL, "not a whole number");
	bad_hostport("host:ssh", false, EINVAL, "not a whole number");
	bad_hostport("host:0", false, ERANGE, "out of range");
	bad_hostport("host:65536", false, ERANGE, "out of range");
	bad_hostport("70000", true, ERANGE, "out of range");
	bad_hostport("2001:db8::1:80", false, EINVAL, "is not HOST:PORT");
	bad_hostport("[2001:db8::1:80", false, EINVAL, "is not HOST:PORT");
	bad_hostport("[]:80", false, EINVAL, "is not HOST:PORT");
	bad_hostport("[:80", false, EINVAL, "is not HOST:PORT");
	bad_hostport("a b:80", false, EINVAL, "is not HOST:PORT");
	bad_hostport("0123456789012345678901234567890123456789012345678901234567890123:1", false,
		     EINVAL, "is not HOST:PORT");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_int),	 cmocka_unit_test(test_name),
		cmocka_unit_test(test_ip4),	 cmocka_unit_test(test_prefix4),
		cmocka_unit_test(test_hostport),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
