// SPDX-License-Identifier: MIT
/* The sieve in user space's hands: nobody who is listed or banned gets through it, whatever came and went. Needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bpf/address.h"
#include "bpf/bans.h"
#include "bpf/sieve.h"
#include "bpf/tables.h"
#include "kk_tc.skel.h"
#include "util/cleanup.h"

struct kk_packet {
	const struct kk_tables *tables;
	__u64 now;
};
#include <kk/core/martian.h>
#include <kk/core/sieve.h>

KK_INLINE __u64 kk_env_sieve(const struct kk_packet *pkt, __u32 index)
{
	assert_in_range(index, 0, KK_SIEVE_WORDS - 1);
	return pkt->tables->sieve_words[index];
}

KK_INLINE const volatile struct kk_shut *kk_env_shut(const struct kk_packet *pkt, __u32 index)
{
	assert_in_range(index, 0, (1 << KK_SHUT_BITS) - 1);
	return &pkt->tables->shut[index];
}

KK_INLINE __u64 kk_env_lately(const struct kk_packet *pkt)
{
	return pkt->now;
}

#define RULES 300
#define BANS  100

struct lab {
	struct kk_tc *skel;
	struct kk_tables tables;
};

static int set_up(void **state)
{
	static struct lab lab;
	struct kk_err err = {0};

	lab.skel = kk_tc__open();
	if (!lab.skel || kk_tables_size(lab.skel->obj, 1, &err) < 0 || kk_tc__load(lab.skel) < 0)
		return -1;
	assert_int_equal(kk_tables_init(&lab.tables, lab.skel->obj, &err), 0);
	*state = &lab;
	return 0;
}

static int tear_down(void **state)
{
	struct lab *lab = *state;

	kk_tables_clean(&lab->tables);
	kk_tc__destroy(lab->skel);
	return 0;
}

/* As xorshift32. */
static uint32_t next(void)
{
	static uint32_t x = 2463534242;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return x;
}

/* An address in @prefix, the rest of it random. */
static struct kk_address within(const struct kk_prefix *prefix)
{
	struct kk_address address = prefix->addr;
	uint32_t bits = address.family == AF_INET ? 32 : 128;

	for (uint32_t i = prefix->len; i < bits; i++)
		if (next() & 1)
			address.bytes[i / 8] |= 0x80 >> i % 8;
	return address;
}

/* Few different ones at the front, so that several rules share a bit. Each @i another prefix. */
static struct kk_rule make_rule(uint32_t i)
{
	bool v6 = i % 3 == 0;
	struct kk_rule rule = {.prefix = {.addr = {.family = v6 ? AF_INET6 : AF_INET}}};
	static const uint8_t lens[] = {12, 15, 16, 17, 21, 23, 24, 25, 30, 31, 32};
	struct kk_prefix *prefix = &rule.prefix;

	prefix->len = (uint8_t)(v6 ? 12 + next() % 60 : lens[next() % ARRAY_SIZE(lens)]);
	prefix->addr.bytes[0] = v6 ? 0x20 : 20;
	prefix->addr.bytes[1] = (uint8_t)(next() % 8 * 16);
	for (uint32_t bit = 16; bit < prefix->len; bit++)
		if (next() & 1)
			prefix->addr.bytes[bit / 8] |= 0x80 >> bit % 8;
	return rule;
}

static enum kk_sieved sieve_at(const struct kk_tables *tables, const struct kk_address *address,
			       uint64_t now)
{
	const struct kk_packet pkt = {.tables = tables, .now = now};
	const struct kk_in6 source = kk_in6_of(address);

	return kk_sieve_source(&pkt, &source);
}

static enum kk_sieved sieve(const struct kk_tables *tables, const struct kk_address *address)
{
	return sieve_at(tables, address, 0);
}

static bool is_clear(const struct kk_tables *tables, const struct kk_address *address)
{
	return sieve(tables, address) == KK_SIEVED_CLEAR;
}

static bool holds(const struct kk_prefix *prefix, const struct kk_address *address)
{
	if (prefix->addr.family != address->family)
		return false;
	for (uint32_t i = 0; i < prefix->len; i++)
		if ((prefix->addr.bytes[i / 8] ^ address->bytes[i / 8]) & 0x80 >> i % 8)
			return false;
	return true;
}

/* Nobody is denied who is on no prefix, and nobody on one gets through. */
static void assert_right(const struct kk_tables *tables, const struct kk_rule *rules, size_t n,
			 const struct kk_address *source)
{
	enum kk_sieved sieved = sieve(tables, source);
	bool listed = false;

	for (size_t i = 0; i < n; i++)
		listed |= holds(&rules[i].prefix, source);
	if (listed)
		assert_true(sieved == KK_SIEVED_DENIED || sieved == KK_SIEVED_LOOK);
	else
		assert_true(sieved != KK_SIEVED_DENIED && sieved != KK_SIEVED_BANNED);
}

static int compare_words(const void *a, const void *b)
{
	uint64_t x = *(const __u64 *)a, y = *(const __u64 *)b;

	return (x > y) - (x < y);
}

/* Where a word stands in its bucket does not matter. */
static void copy_shut(struct kk_shut *to, const struct kk_tables *tables)
{
	memcpy(to, tables->shut, sizeof(*to) << KK_SHUT_BITS);
	for (size_t i = 0; i < 1 << KK_SHUT_BITS; i++)
		qsort(to[i].word, ARRAY_SIZE(to[i].word), sizeof(to[i].word[0]), compare_words);
}

/* What has been counted step by step is what counting afresh gives, where every bucket has had room. */
static void assert_exact(struct kk_tables *tables)
{
	static struct kk_shut shut[1 << KK_SHUT_BITS], afresh[1 << KK_SHUT_BITS];
	static __u64 before[KK_SIEVE_WORDS];

	memcpy(before, tables->sieve_words, sizeof(before));
	copy_shut(shut, tables);
	assert_int_equal(kk_sieve_make(tables, NULL), 0);
	copy_shut(afresh, tables);
	assert_memory_equal(before, tables->sieve_words, sizeof(before));
	assert_memory_equal(shut, afresh, sizeof(shut));
}

static void deny(struct kk_tables *tables, const struct kk_rule *rules, size_t n)
{
	const struct kk_list list = {.rules = rules, .n_rules = n};
	const struct kk_datapath_tables wanted = {.lists = &list, .n_lists = 1};
	struct kk_err err = {0};

	if (kk_tables_set(tables, &wanted, &err) < 0)
		fail_msg("%s", err.msg);
}

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct kk_rule));
}

static size_t make_rules(struct kk_rule *rules)
{
	size_t n = 0;

	for (uint32_t i = 0; i < RULES; i++)
		rules[i] = make_rule(i);
	qsort(rules, RULES, sizeof(*rules), compare);
	for (size_t i = 0; i < RULES; i++)
		if (n == 0 || compare(&rules[n - 1], &rules[i]) != 0)
			rules[n++] = rules[i];
	return n;
}

/* All but martians, whom the sieve never lets through. */
static void assert_all_clear(const struct kk_tables *tables)
{
	for (uint32_t i = 0; i < 65536; i++) {
		struct kk_address source = {.family = AF_INET, .v4.s_addr = htonl(i << 16 | i)};

		assert_int_equal(is_clear(tables, &source), !kk_is_martian4(source.v4.s_addr));
	}
	for (size_t i = KK_SIEVE_24; i < KK_SIEVE_WORDS; i++)
		assert_true(tables->sieve_words[i] == ~0ULL);
	for (size_t i = 0; i < 1 << KK_SHUT_BITS; i++)
		for (size_t j = 0; j < ARRAY_SIZE(tables->shut[i].word); j++)
			assert_int_equal(tables->shut[i].word[j], 0);
}

static void test_lists(void **state)
{
	struct kk_tables *tables = &((struct lab *)*state)->tables;
	static struct kk_rule rules[RULES];
	size_t n = make_rules(rules);

	/* More, then fewer: those that went are not meant any more, those that stay are. */
	for (size_t step = 0; step < 8; step++) {
		size_t from = step < 4 ? 0 : n * (step - 4) / 4;
		size_t end = step < 4 ? n * (step + 1) / 4 : n;

		deny(tables, rules + from, end - from);
		for (size_t i = from; i < end; i++) {
			struct kk_address source = within(&rules[i].prefix);

			assert_right(tables, rules + from, end - from, &source);
			source.bytes[next() % 4] ^= (uint8_t)(1 << next() % 8);
			assert_right(tables, rules + from, end - from, &source);
		}
		assert_exact(tables);
	}
	deny(tables, NULL, 0);
	assert_all_clear(tables);
}

static void test_bans(void **state)
{
	struct kk_tables *tables = &((struct lab *)*state)->tables;
	struct kk_ban_entry bans[BANS];
	struct kk_err err = {0};

	for (uint32_t i = 0; i < BANS; i++)
		bans[i] = (struct kk_ban_entry){
			.source = {.family = i % 2 ? AF_INET6 : AF_INET,
				   .bytes = {32, 1, (uint8_t)(i / 8), (uint8_t)i}},
			.service = i % 3,
		};
	for (uint32_t i = 0; i < BANS; i += 10)
		assert_int_equal(kk_bans_put(tables, bans + i, 10, &err), 0);
	/* Again is no second time. */
	assert_int_equal(kk_bans_put(tables, bans, BANS, &err), 0);
	for (uint32_t i = 0; i < BANS; i++) {
		assert_exact(tables);
		for (uint32_t j = i; j < BANS; j++) {
			bool v4 = bans[j].source.family == AF_INET;

			assert_int_equal(sieve(tables, &bans[j].source),
					 !v4		   ? KK_SIEVED_LOOK
					 : bans[j].service ? KK_SIEVED_SERVED
							   : KK_SIEVED_BANNED);
		}
		assert_int_equal(kk_bans_lift(tables, &bans[i].source, bans[i].service, &err), 0);
	}
	assert_all_clear(tables);
}

/* The last second of a ban is looked up, and a ban that was set anew ends when it was told last. */
static void test_until(void **state)
{
	struct kk_tables *tables = &((struct lab *)*state)->tables;
	struct kk_ban_entry ban = {.source = {.family = AF_INET, .bytes = {32, 2, 0, 1}}};
	static const uint32_t seconds[] = {1000, 10, 2000};
	struct timespec time;
	struct kk_err err = {0};

	clock_gettime(CLOCK_MONOTONIC, &time);
	for (size_t i = 0; i < ARRAY_SIZE(seconds); i++) {
		uint64_t end = ((uint64_t)time.tv_sec + seconds[i]) * 1000000000;

		ban.seconds = seconds[i];
		assert_int_equal(kk_bans_put(tables, &ban, 1, &err), 0);
		assert_int_equal(sieve_at(tables, &ban.source, end - 3000000000), KK_SIEVED_BANNED);
		assert_int_equal(sieve_at(tables, &ban.source, end + 60000000000), KK_SIEVED_LOOK);
		assert_exact(tables);
	}
	assert_int_equal(kk_bans_lift(tables, &ban.source, 0, &err), 0);
	assert_all_clear(tables);
}

/* More than a bucket takes: the rest is looked up, and what is left when they go is right. */
static void test_full(void **state)
{
	struct kk_tables *tables = &((struct lab *)*state)->tables;
	static struct kk_rule rules[2000]; /* of 128 /24 each */
	size_t n = ARRAY_SIZE(rules), looked = 0;

	for (uint32_t i = 0; i < n; i++)
		rules[i].prefix = (struct kk_prefix){
			.addr = {.family = AF_INET, .v4.s_addr = htonl((20 << 24) + (i << 16))},
			.len = 17};
	deny(tables, rules, n);
	for (size_t i = 0; i < n; i++) {
		struct kk_address source = within(&rules[i].prefix);
		enum kk_sieved sieved = sieve(tables, &source);

		assert_true(sieved == KK_SIEVED_DENIED || sieved == KK_SIEVED_LOOK);
		looked += sieved == KK_SIEVED_LOOK;
	}
	assert_true(looked > 0);
	deny(tables, rules, 1);
	assert_int_not_equal(sieve(tables, &rules[0].prefix.addr), KK_SIEVED_CLEAR);
	deny(tables, NULL, 0);
	assert_all_clear(tables);
}

/* A typical source is let through though thousands of prefixes are listed. */
static void test_others_are_clear(void **state)
{
	struct kk_tables *tables = &((struct lab *)*state)->tables;
	static struct kk_rule rules[8000];
	size_t clear = 0;

	for (uint32_t i = 0; i < 8000; i++) {
		uint8_t len = i % 2 ? 24 : 32;
		uint32_t address = i * 0x9e3779b1 & ~0U << (32 - len);

		rules[i].prefix = (struct kk_prefix){
			.addr = {.family = AF_INET, .v4.s_addr = htonl(address)}, .len = len};
	}
	deny(tables, rules, 8000);
	for (uint32_t i = 0; i < 10000; i++) {
		struct kk_address source = {.family = AF_INET, .v4.s_addr = next()};

		clear += is_clear(tables, &source);
	}
	assert_in_range(clear, 8300, 8700); /* an eighth are martians */
	deny(tables, NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_bans),
		cmocka_unit_test(test_until),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_others_are_clear),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
