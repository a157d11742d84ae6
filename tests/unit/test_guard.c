// SPDX-License-Identifier: MIT
/* Lists, bans and limits of the core (guard.h), on tables in plain memory. */
#include "kk_test.h"

#include <arpa/inet.h>
#include <stdbool.h>

#include "core/user.h"
#include "util/cleanup.h"

#define SERVICE 7 /* id */
#define SLOT	3
#define POLICY	5
#define SECOND	1000000000ULL
#define WORD	kk_listener_word(0x10064, 22, SLOT, KK_LISTENER_GUARDED)

static struct kk_user *user;

static struct kk_in6 in6(const char *text)
{
	struct kk_in6 a = {.word = {0, 0, KK_BE32(0xffff), 0}};

	if (inet_pton(AF_INET, text, &a.word[3]) != 1)
		assert_int_equal(inet_pton(AF_INET6, text, &a), 1);
	return a;
}

static void rule(uint32_t list, const char *address, uint32_t len, enum kk_list_verdict verdict)
{
	bool v6 = strchr(address, ':') != NULL;
	const struct kk_list_key key = {
		.prefix_len = 32 + (v6 ? 0 : 96) + len,
		.list = kk_list_number(list, v6 ? KK_IP6 : KK_IP4),
		.address = in6(address),
	};
	const struct kk_list_entry entry = {.verdict = verdict};

	assert_non_null(kk_map_put(&user->lists, &key, &entry));
}

static void ban(const char *address, uint32_t service, __u64 until)
{
	const struct kk_ban_key key = {.address = in6(address), .service = service};

	assert_non_null(kk_map_put(&user->bans, &key, &until));
}

static enum kk_reason judge_one(const char *address, bool opens)
{
	const struct kk_in6 source = in6(address);

	return kk_user_guard(user, WORD, &source, opens);
}

#define judge(address) judge_one((address), false)

static int setup(void **state)
{
	(void)state;
	user = kk_user_new();
	assert_non_null(user);
	user->services[SLOT] =
		(union kk_service_slot){.id = SERVICE, .policy = POLICY, .state = KK_SLOT_USED};
	user->now = SECOND;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	kk_user_free(user);
	return 0;
}

static void test_nothing_asked(void **state)
{
	(void)state;
	assert_int_equal(judge_one("203.0.113.7", true), KK_REASON_INBOUND);
	assert_int_equal(judge_one("2001:db8::7", true), KK_REASON_INBOUND);
	assert_int_equal(user->sources.n, 0);
}

static void test_longest_prefix_decides(void **state)
{
	(void)state;
	user->policies[POLICY].list = 9;
	rule(9, "203.0.113.0", 24, KK_LIST_DENY);
	rule(9, "203.0.113.64", 26, KK_LIST_ALLOW);
	rule(9, "203.0.113.65", 32, KK_LIST_DENY);
	rule(8, "0.0.0.0", 0, KK_LIST_DENY); /* another list */
	assert_int_equal(judge("203.0.113.63"), KK_REASON_DENIED);
	assert_int_equal(judge("203.0.113.64"), KK_REASON_INBOUND);
	assert_int_equal(judge("203.0.113.65"), KK_REASON_DENIED);
	assert_int_equal(judge("203.0.114.1"), KK_REASON_INBOUND);
	user->policies[POLICY].flags = KK_POLICY_DENY;
	assert_int_equal(judge("203.0.114.1"), KK_REASON_DENIED);
	assert_int_equal(judge("203.0.113.64"), KK_REASON_INBOUND);
}

/* ::/0 is everybody's of IPv6, and no IPv4 address is in it, however it is written. */
static void test_families_are_apart(void **state)
{
	(void)state;
	user->policies[POLICY].list = 9;
	rule(9, "::", 0, KK_LIST_DENY);
	rule(9, "2001:db8:1::", 48, KK_LIST_ALLOW);
	assert_int_equal(judge("2001:db8::1"), KK_REASON_DENIED);
	assert_int_equal(judge("2001:db8:1:ffff:ffff:ffff:ffff:ffff"), KK_REASON_INBOUND);
	assert_int_equal(judge("2001:db8:2::"), KK_REASON_DENIED);
	assert_int_equal(judge("203.0.113.7"), KK_REASON_INBOUND);
	rule(9, "0.0.0.0", 0, KK_LIST_DENY);
	assert_int_equal(judge("203.0.113.7"), KK_REASON_DENIED);
}

static void test_only_those_on_the_list(void **state)
{
	(void)state;
	user->policies[POLICY].flags = KK_POLICY_DENY;
	assert_int_equal(judge("203.0.113.7"), KK_REASON_DENIED);
	user->policies[POLICY].list = 9;
	assert_int_equal(judge("203.0.113.7"), KK_REASON_DENIED);
	rule(9, "203.0.113.7", 32, KK_LIST_ALLOW);
	assert_int_equal(judge("203.0.113.7"), KK_REASON_INBOUND);
	assert_int_equal(judge("203.0.113.6"), KK_REASON_DENIED);
}

/* A table that is not said to be in use is not looked at. */
static void test_list_of_the_gateway(void **state)
{
	(void)state;
	rule(KK_LIST_GATEWAY, "203.0.113.0", 24, KK_LIST_DENY);
	assert_int_equal(judge("203.0.113.7"), KK_REASON_INBOUND);
	user->features = KK_FEATURE_LIST;
	assert_int_equal(judge("203.0.113.7"), KK_REASON_DENIED);
	assert_int_equal(judge("203.0.112.7"), KK_REASON_INBOUND);
	/* What the service allows does not matter. */
	user->policies[POLICY].list = 9;
	rule(9, "203.0.113.7", 32, KK_LIST_ALLOW);
	assert_int_equal(judge("203.0.113.7"), KK_REASON_DENIED);
}

static void test_bans_end(void **state)
{
	(void)state;
	ban("203.0.113.7", 0, 3 * SECOND);
	assert_int_equal(judge("203.0.113.7"), KK_REASON_INBOUND);
	user->features = KK_FEATURE_BANS;
	assert_int_equal(judge("203.0.113.7"), KK_REASON_BANNED);
	assert_int_equal(judge("203.0.113.8"), KK_REASON_INBOUND);
	user->now = 3 * SECOND - 1;
	assert_int_equal(judge("203.0.113.7"), KK_REASON_BANNED);
	user->now = 3 * SECOND;
	assert_int_equal(judge("203.0.113.7"), KK_REASON_INBOUND);
}

static void test_bans_of_one_service(void **state)
{
	(void)state;
	user->features = KK_FEATURE_SERVICE_BANS;
	ban("203.0.113.7", SERVICE, UINT64_MAX);
	ban("203.0.113.8", SERVICE + 1, UINT64_MAX);
	ban("203.0.113.9", 0, UINT64_MAX); /* there are none of the gateway, it was said */
	assert_int_equal(judge("203.0.113.7"), KK_REASON_BANNED);
	assert_int_equal(judge("203.0.113.8"), KK_REASON_INBOUND);
	assert_int_equal(judge("203.0.113.9"), KK_REASON_INBOUND);
}

/* Of IPv6 the whole /64 is banned, and counted as one. */
static void test_ip6_goes_by_64(void **state)
{
	(void)state;
	user->features = KK_FEATURE_BANS;
	ban("2001:db8:1:2::", 0, UINT64_MAX);
	assert_int_equal(judge("2001:db8:1:2:ffff::1"), KK_REASON_BANNED);
	assert_int_equal(judge("2001:db8:1:3::1"), KK_REASON_INBOUND);
	user->policies[POLICY].packet_interval = SECOND;
	assert_int_equal(judge("2001:db8:1:4::1"), KK_REASON_INBOUND);
	assert_int_equal(judge("2001:db8:1:4::2"), KK_REASON_LIMITED_PACKETS);
	assert_int_equal(judge("2001:db8:1:5::2"), KK_REASON_INBOUND);
}

static void test_limits_count_each_source(void **state)
{
	(void)state;
	user->policies[POLICY].packet_interval = SECOND / 10;
	user->policies[POLICY].packet_slack = 2 * (SECOND / 10);
	user->policies[POLICY].connection_interval = SECOND;
	for (int i = 0; i < 6; i++)
		assert_int_equal(judge("203.0.113.7"),
				 i < 3 ? KK_REASON_INBOUND : KK_REASON_LIMITED_PACKETS);
	assert_int_equal(judge("203.0.113.8"), KK_REASON_INBOUND);
	user->now += SECOND / 10;
	assert_int_equal(judge_one("203.0.113.7", true), KK_REASON_INBOUND);
	user->now += SECOND / 10;
	assert_int_equal(judge_one("203.0.113.7", true), KK_REASON_LIMITED_CONNECTIONS);
	user->now += SECOND / 10;
	assert_int_equal(judge("203.0.113.7"), KK_REASON_INBOUND);
	user->now += SECOND;
	assert_int_equal(judge_one("203.0.113.7", true), KK_REASON_INBOUND);
	assert_int_equal(user->sources.n, 2);
}

/* Without a packet limit what opens nothing is not even counted. */
static void test_connections_alone(void **state)
{
	(void)state;
	user->policies[POLICY].connection_interval = SECOND;
	for (int i = 0; i < 5; i++)
		assert_int_equal(judge("203.0.113.7"), KK_REASON_INBOUND);
	assert_int_equal(user->sources.n, 0);
	assert_int_equal(judge_one("203.0.113.7", true), KK_REASON_INBOUND);
	assert_int_equal(judge_one("203.0.113.7", true), KK_REASON_LIMITED_CONNECTIONS);
	assert_int_equal(judge("203.0.113.7"), KK_REASON_INBOUND);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nothing_asked),
		TEST(test_longest_prefix_decides),
		TEST(test_families_are_apart),
		TEST(test_only_those_on_the_list),
		TEST(test_list_of_the_gateway),
		TEST(test_bans_end),
		TEST(test_bans_of_one_service),
		TEST(test_ip6_goes_by_64),
		TEST(test_limits_count_each_source),
		TEST(test_connections_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
