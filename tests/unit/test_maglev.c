// SPDX-License-Identifier: MIT
/* Properties of the tables of groups, of the hash that looks into them, and of token buckets. */
#include "kk_test.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include <kk/core/bucket.h>
#include <kk/core/hash.h>

#include "core/maglev.h"
#include "util/cleanup.h"

#define MEMBERS 100

static void members_init(struct kk_maglev_member *members, size_t n)
{
	for (size_t i = 0; i < n; i++)
		members[i] = (struct kk_maglev_member){.agent = (uint32_t)(i + 1) << 16 | 100,
						       .healthy = true};
}

static size_t count(const uint32_t *table, uint32_t agent)
{
	size_t n = 0;

	for (size_t i = 0; i < KK_MAGLEV_SIZE; i++)
		n += table[i] == agent;
	return n;
}

static size_t differing(const uint32_t *a, const uint32_t *b)
{
	size_t n = 0;

	for (size_t i = 0; i < KK_MAGLEV_SIZE; i++)
		n += a[i] != b[i];
	return n;
}

static void test_shares_are_equal(void **state)
{
	struct kk_maglev_member members[KK_MAGLEV_MEMBERS_MAX];
	uint32_t table[KK_MAGLEV_SIZE];

	(void)state;
	members_init(members, KK_MAGLEV_MEMBERS_MAX);
	for (size_t n = 1; n <= KK_MAGLEV_MEMBERS_MAX; n++) {
		assert_int_equal(kk_maglev_fill(members, n, table), 0);
		for (size_t i = 0; i < n; i++)
			assert_in_range(count(table, members[i].agent), KK_MAGLEV_SIZE / n,
					KK_MAGLEV_SIZE / n + 1);
	}
}

static void test_any_order_gives_the_same(void **state)
{
	struct kk_maglev_member members[MEMBERS];
	uint32_t table[KK_MAGLEV_SIZE], other[KK_MAGLEV_SIZE];
	unsigned int seed = 1;

	(void)state;
	members_init(members, MEMBERS);
	members[7].healthy = members[70].healthy = false;
	assert_int_equal(kk_maglev_fill(members, MEMBERS, table), 0);
	for (int round = 0; round < 100; round++) {
		for (size_t i = MEMBERS - 1; i > 0; i--) {
			size_t j = (size_t)rand_r(&seed) % (i + 1);
			struct kk_maglev_member swap = members[i];

			members[i] = members[j];
			members[j] = swap;
		}
		assert_int_equal(kk_maglev_fill(members, MEMBERS, other), 0);
		assert_memory_equal(table, other, sizeof(table));
	}
}

/* Gateways of two versions, or of two kinds of processor, have to agree: the table is this one. */
static void test_table_is_what_it_was(void **state)
{
	struct kk_maglev_member members[3];
	uint32_t table[KK_MAGLEV_SIZE], digest = 2166136261u;

	(void)state;
	members_init(members, 3);
	members[1].healthy = false;
	assert_int_equal(kk_maglev_fill(members, 3, table), 0);
	for (size_t i = 0; i < KK_MAGLEV_SIZE; i++)
		digest = (digest ^ table[i]) * 16777619u;
	assert_int_equal(digest, 0x150ec13);
}

/* Elements of the others stay; those of the lost one are shared; when it is back all is as before. */
static void test_unhealthy_ones_move_nobody_else(void **state)
{
	struct kk_maglev_member members[10];
	uint32_t before[KK_MAGLEV_SIZE], one[KK_MAGLEV_SIZE], two[KK_MAGLEV_SIZE];

	(void)state;
	members_init(members, ARRAY_SIZE(members));
	assert_int_equal(kk_maglev_fill(members, ARRAY_SIZE(members), before), 0);
	members[3].healthy = false;
	assert_int_equal(kk_maglev_fill(members, ARRAY_SIZE(members), one), 0);
	members[8].healthy = false;
	assert_int_equal(kk_maglev_fill(members, ARRAY_SIZE(members), two), 0);
	assert_int_equal(differing(before, one), count(before, members[3].agent));
	assert_int_equal(differing(one, two), count(one, members[8].agent));
	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		size_t n = count(two, members[i].agent);

		if (!members[i].healthy)
			assert_int_equal(n, 0);
		else
			assert_in_range(n, KK_MAGLEV_SIZE / 8 * 8 / 10,
					KK_MAGLEV_SIZE / 8 * 12 / 10);
	}
	members[3].healthy = true;
	members[8].healthy = true;
	assert_int_equal(kk_maglev_fill(members, ARRAY_SIZE(members), two), 0);
	assert_memory_equal(before, two, sizeof(before));
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		members[i].healthy = false;
	assert_int_equal(kk_maglev_fill(members, ARRAY_SIZE(members), two), 0);
	assert_memory_equal(before, two, sizeof(before));
}

/* A member that comes or goes for good moves little more than its share (Maglev, figure 12). */
static void test_disruption_of_a_change(void **state)
{
	struct kk_maglev_member members[20];
	uint32_t with[KK_MAGLEV_SIZE], without[KK_MAGLEV_SIZE];

	(void)state;
	members_init(members, ARRAY_SIZE(members));
	for (size_t gone = 0; gone < ARRAY_SIZE(members); gone++) {
		struct kk_maglev_member some[ARRAY_SIZE(members)];

		memcpy(some, members, sizeof(some));
		some[gone] = some[ARRAY_SIZE(members) - 1];
		assert_int_equal(kk_maglev_fill(members, ARRAY_SIZE(members), with), 0);
		assert_int_equal(kk_maglev_fill(some, ARRAY_SIZE(members) - 1, without), 0);
		assert_in_range(differing(with, without), KK_MAGLEV_SIZE / 20,
				KK_MAGLEV_SIZE / 20 * 3);
	}
}

static void test_bad_members(void **state)
{
	struct kk_maglev_member members[KK_MAGLEV_MEMBERS_MAX + 1];
	uint32_t table[KK_MAGLEV_SIZE];

	(void)state;
	members_init(members, ARRAY_SIZE(members));
	assert_int_equal(kk_maglev_fill(members, 0, table), -EINVAL);
	assert_int_equal(kk_maglev_fill(members, ARRAY_SIZE(members), table), -EINVAL);
	members[4].agent = members[2].agent;
	assert_int_equal(kk_maglev_fill(members, 5, table), -EINVAL);
}

static const __u64 key[KK_FLOW_KEY_WORDS] = {
	0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0,
	0x082efa98ec4e6c89, 0x452821e638d01377, 0xbe5466cf34e90c6c,
};

/* Clients as they come: few addresses with many ports in a row, many addresses, networks. */
static void test_flows_spread_evenly(void **state)
{
	enum { FLOWS = 200000, N = 7 };
	static const struct {
		uint32_t address_step, port_step;
	} shapes[] = {{0, 1}, {0, 2}, {1, 0}, {256, 0}, {65536, 1}, {1, 1}, {0, 4}};
	struct kk_maglev_member members[N];
	uint32_t table[KK_MAGLEV_SIZE];

	(void)state;
	members_init(members, N);
	assert_int_equal(kk_maglev_fill(members, N, table), 0);
	for (size_t s = 0; s < ARRAY_SIZE(shapes); s++) {
		size_t hits[N] = {0}, flows = shapes[s].address_step ? FLOWS : 28000, spread;

		if (shapes[s].port_step > 1)
			flows /= shapes[s].port_step;
		for (uint32_t i = 0; i < flows; i++) {
			struct kk_in6 client = {.word = {0, 0, KK_BE32(0xffff)}};
			uint16_t port = (uint16_t)(32768 + i * shapes[s].port_step % 28000);
			uint32_t hash;

			client.word[3] = KK_BE32(0xcb007107 + i * shapes[s].address_step);
			hash = kk_flow_hash(key, &client, KK_BE16(port), KK_BE16(443), KK_TCP);
			hits[(table[kk_maglev_index(hash)] >> 16) - 1]++;
		}
		/* Four standard deviations of chance, and 1 % for the size of the table. */
		spread = (size_t)(4 * sqrt((double)flows / N)) + flows / N / 100;
		for (size_t i = 0; i < N; i++)
			assert_in_range(hits[i], flows / N - spread, flows / N + spread);
	}
}

/* Every input bit has an influence, and so has the key. */
static void test_hash_depends_on_everything(void **state)
{
	struct kk_in6 client = {.word = {KK_BE32(0x20010db8), 1, 2, 3}};
	uint32_t hash = kk_flow_hash(key, &client, 1, 2, KK_TCP);
	__u64 other[KK_FLOW_KEY_WORDS];

	(void)state;
	for (int bit = 0; bit < 128; bit++) {
		struct kk_in6 c = client;

		c.word[bit / 32] ^= 1u << bit % 32;
		assert_int_not_equal(kk_flow_hash(key, &c, 1, 2, KK_TCP), hash);
	}
	for (int bit = 0; bit < 16; bit++) {
		__be16 flip = (__be16)(1u << bit);

		assert_int_not_equal(kk_flow_hash(key, &client, 1 ^ flip, 2, KK_TCP), hash);
		assert_int_not_equal(kk_flow_hash(key, &client, 1, 2 ^ flip, KK_TCP), hash);
	}
	assert_int_not_equal(kk_flow_hash(key, &client, 1, 2, KK_UDP), hash);
	for (int i = 0; i < KK_FLOW_KEY_WORDS; i++) {
		memcpy(other, key, sizeof(other));
		other[i] ^= 1ULL << 20;
		assert_int_not_equal(kk_flow_hash(other, &client, 1, 2, KK_TCP), hash);
	}
}

static void test_index_is_within(void **state)
{
	(void)state;
	assert_int_equal(kk_maglev_index(0), 0);
	assert_int_equal(kk_maglev_index(UINT32_MAX), KK_MAGLEV_SIZE - 1);
}

#define SECOND 1000000000ULL

/* How many of the packets that come every @step ns for a second get through. */
static unsigned int passed(__u64 *bucket, uint64_t start, uint64_t step, uint64_t interval,
			   uint64_t slack)
{
	unsigned int n = 0;

	for (uint64_t t = 0; t < SECOND; t += step)
		n += (unsigned int)kk_bucket_take(bucket, start + t, interval, slack);
	return n;
}

static void test_bucket_keeps_its_rate(void **state)
{
	const uint64_t interval = SECOND / 100, slack = 9 * interval; /* 100 a second, 10 at once */
	__u64 bucket = 0;

	(void)state;
	for (int i = 0; i < 20; i++)
		assert_int_equal(kk_bucket_take(&bucket, SECOND, interval, slack), i < 10);
	/* One at the instant that it is there, and not a nanosecond earlier. */
	assert_int_equal(kk_bucket_take(&bucket, SECOND + interval - 1, interval, slack), 0);
	assert_int_equal(kk_bucket_take(&bucket, SECOND + interval, interval, slack), 1);
	assert_int_equal(passed(&bucket, 10 * SECOND, 100000, interval, slack), 109);
	assert_int_equal(passed(&bucket, 11 * SECOND, 100000, interval, slack), 100);
	/* Slower than the rate: all. */
	assert_int_equal(passed(&bucket, 20 * SECOND, SECOND / 50, interval, slack), 50);
}

static void test_bucket_of_one(void **state)
{
	__u64 bucket = 0;

	(void)state;
	assert_int_equal(kk_bucket_take(&bucket, 5, SECOND, 0), 1);
	assert_int_equal(kk_bucket_take(&bucket, 5, SECOND, 0), 0);
	assert_int_equal(kk_bucket_take(&bucket, SECOND + 4, SECOND, 0), 0);
	assert_int_equal(kk_bucket_take(&bucket, SECOND + 5, SECOND, 0), 1);
}

/* A bucket emptied at one in a thousand seconds does not hold a thousand packets a second up for long. */
static void test_bucket_under_another_rate(void **state)
{
	__u64 bucket = 0;

	(void)state;
	assert_int_equal(kk_bucket_take(&bucket, SECOND, 1000 * SECOND, 0), 1);
	assert_int_equal(kk_bucket_take(&bucket, 2 * SECOND, SECOND / 1000, 0), 0);
	assert_int_equal(kk_bucket_take(&bucket, 2 * SECOND + SECOND / 1000, SECOND / 1000, 0), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shares_are_equal),
		cmocka_unit_test(test_any_order_gives_the_same),
		cmocka_unit_test(test_table_is_what_it_was),
		cmocka_unit_test(test_unhealthy_ones_move_nobody_else),
		cmocka_unit_test(test_disruption_of_a_change),
		cmocka_unit_test(test_bad_members),
		cmocka_unit_test(test_flows_spread_evenly),
		cmocka_unit_test(test_hash_depends_on_everything),
		cmocka_unit_test(test_index_is_within),
		cmocka_unit_test(test_bucket_keeps_its_rate),
		cmocka_unit_test(test_bucket_of_one),
		cmocka_unit_test(test_bucket_under_another_rate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
