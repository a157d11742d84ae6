// SPDX-License-Identifier: MIT
/* Replay window, allowed IPs, indices, flows: each held against a model that is too simple to be wrong. */
#include "wg_test.h"

#include <stdlib.h>

#include "wg/allowedips.h"
#include "wg/device.h"
#include "wg/flow.h"
#include "wg/index.h"
#include "wg/packet.h"
#include "wg/replay.h"

static uint64_t seed;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* --- replay --- */

static void replay_edges(void **state)
{
	struct wg_replay r = {0};

	(void)state;
	assert_true(WG_REPLAY_WINDOW >= 8192);
	assert_true(wg_replay_accept(&r, 0));
	assert_false(wg_replay_accept(&r, 0));
	assert_true(wg_replay_accept(&r, WG_REPLAY_WINDOW));
	/* One below the window, and the last one in it. */
	assert_false(wg_replay_accept(&r, 0));
	assert_true(wg_replay_accept(&r, 1));
	assert_false(wg_replay_accept(&r, 1));
	assert_true(wg_replay_accept(&r, UINT64_MAX - 8192));
	assert_false(wg_replay_accept(&r, WG_REPLAY_WINDOW));
	assert_true(wg_replay_may(&r, UINT64_MAX - 8193));
	assert_true(wg_replay_accept(&r, UINT64_MAX - 8193));
	assert_false(wg_replay_may(&r, UINT64_MAX - 8193));
}

static void replay_model(void **state)
{
	enum { N = 200000 };
	uint8_t *seen = calloc(1, N);
	struct wg_replay r = {0};
	uint64_t top = 0;

	(void)state;
	seed = 88172645463325252ull;
	assert_non_null(seen);
	for (int i = 0; i < 600000; i++) {
		uint64_t back = rnd() % (rnd() % 50 ? 300 : 20000);
		uint64_t c = top + rnd() % (rnd() % 200 ? 3 : 9000);
		bool expected;

		c = c > back ? c - back : 0;
		if (c >= N)
			break;
		expected = !seen[c] && (c > top || top + 1 - c <= WG_REPLAY_WINDOW);
		assert_int_equal(wg_replay_may(&r, c), expected);
		assert_int_equal(wg_replay_accept(&r, c), expected);
		seen[c] |= expected;
		if (expected && c > top)
			top = c;
	}
	free(seen);
}

/* --- allowed IPs --- */

struct model {
	uint8_t addr[16];
	uint8_t addr_len, bits;
	struct wg_peer *peer;
};

static bool matches(const struct model *m, const uint8_t *addr, uint8_t addr_len)
{
	if (m->addr_len != addr_len)
		return false;
	for (int i = 0; i < m->bits; i++)
		if ((m->addr[i / 8] ^ addr[i / 8]) >> (7 - i % 8) & 1)
			return false;
	return true;
}

static void random_prefix(struct model *m)
{
	m->addr_len = rnd() % 2 ? 4 : 16;
	m->bits = (uint8_t)(rnd() % (m->addr_len * 8u + 1));
	for (int i = 0; i < 16; i++)
		/* Few values, so that prefixes nest and meet. */
		m->addr[i] = (uint8_t)(rnd() % 4 ? 0 : rnd() % 4 << 6);
}

#define PREFIXES 300

static void check_find(const struct wg_allowedips *t, const struct model *models, bool shared)
{
	struct model probe;
	const struct wg_allowed *got;
	int best = -1, owners = 0, found = 0;

	random_prefix(&probe);
	got = wg_allowedips_find(t, probe.addr, probe.addr_len);
	for (int i = 0; i < PREFIXES; i++)
		if (models[i].peer && matches(&models[i], probe.addr, probe.addr_len) &&
		    (best < 0 || models[i].bits > models[best].bits))
			best = i;
	if (best < 0) {
		assert_null(got);
		return;
	}
	assert_non_null(got);
	for (int i = 0; i < PREFIXES; i++)
		if (models[i].peer && models[i].bits == models[best].bits &&
		    matches(&models[i], probe.addr, probe.addr_len))
			owners++;
	for (const struct wg_allowed *a = got; a; a = a->next_of_node)
		found++;
	assert_int_equal(found, owners);
	assert_true(shared || found == 1);
	if (!shared)
		assert_ptr_equal(got->peer, models[best].peer);
}

static void remove_model(struct model *models, const struct model *m, bool any_peer)
{
	for (int i = 0; i < PREFIXES; i++)
		if (models[i].peer && models[i].bits == m->bits &&
		    matches(&models[i], m->addr, m->addr_len) &&
		    (any_peer || models[i].peer == m->peer))
			models[i].peer = NULL;
}

static void allowedips_model(bool shared)
{
	struct wg_allowedips t = {.shared = shared};
	struct model models[PREFIXES] = {0};
	struct wg_peer peers[5] = {0};

	seed = 1234567 + shared;
	for (int round = 0; round < 20000; round++) {
		struct model m;

		random_prefix(&m);
		m.peer = &peers[rnd() % 5];
		if (rnd() % 500 == 0) {
			wg_allowedips_flush(&t, m.peer);
			for (int i = 0; i < PREFIXES; i++)
				if (models[i].peer == m.peer)
					models[i].peer = NULL;
			assert_null(m.peer->allowed);
		} else if (rnd() % 3 == 0) {
			bool there = false;

			for (int i = 0; i < PREFIXES; i++)
				there |= models[i].peer == m.peer && models[i].bits == m.bits &&
					 matches(&models[i], m.addr, m.addr_len);
			assert_int_equal(
				wg_allowedips_del(&t, m.addr, m.addr_len, m.bits, m.peer) == 0,
				there);
			remove_model(models, &m, false);
		} else {
			int slot = 0;

			remove_model(models, &m, !shared);
			while (slot < PREFIXES && models[slot].peer)
				slot++;
			if (slot < PREFIXES) {
				models[slot] = m;
				assert_int_equal(
					wg_allowedips_add(&t, m.addr, m.addr_len, m.bits, m.peer),
					0);
			} else {
				for (int i = 0; i < 5; i++)
					wg_allowedips_flush(&t, &peers[i]);
				memset(models, 0, sizeof(models));
			}
		}
		check_find(&t, models, shared);
	}
	for (int i = 0; i < 5; i++)
		wg_allowedips_flush(&t, &peers[i]);
	assert_null(t.root4);
	assert_null(t.root6);
}

static void allowedips_exclusive(void **state)
{
	(void)state;
	allowedips_model(false);
}

static void allowedips_shared(void **state)
{
	(void)state;
	allowedips_model(true);
}

/* --- indices --- */

static void indices(void **state)
{
	enum { N = 500 };
	struct wg_index_table t = {0};
	uint32_t have[N] = {0};

	(void)state;
	seed = 99;
	for (int round = 0; round < 50000; round++) {
		uint32_t i = (uint32_t)(rnd() % N);

		if (have[i]) {
			assert_non_null(wg_index_find(&t, have[i]));
			wg_index_del(&t, have[i]);
			assert_null(wg_index_find(&t, have[i]));
			have[i] = 0;
		} else {
			/* Collide on purpose: few different low bits. */
			uint32_t index = (uint32_t)(rnd() << 6 | rnd() % 8) | 1u << 31;

			if (wg_index_find(&t, index))
				continue;
			assert_int_equal(wg_index_add(&t, index, NULL, NULL), 0);
			have[i] = index;
		}
		for (int k = 0; k < 5; k++) {
			i = (uint32_t)(rnd() % N);
			if (have[i])
				assert_int_equal(wg_index_find(&t, have[i])->index, have[i]);
		}
	}
	assert_null(wg_index_find(&t, 0));
	wg_index_clean(&t);
}

/* --- flows --- */

static void flow_table(void **state)
{
	struct wg_flow_table *t = calloc(1, sizeof(*t));
	struct wg_flow_key key = {.protocol = 6, .addr_len = 4};
	int kept = 0;

	(void)state;
	assert_non_null(t);
	for (int i = 0; i < 4000; i++) {
		key.remote_port = (uint16_t)i;
		wg_flow_learn(t, &key, NULL, (uint32_t)i % 7 + 1, 1ull << 30);
	}
	for (int i = 0; i < 4000; i++) {
		uint32_t got;

		key.remote_port = (uint16_t)i;
		got = wg_flow_find(t, &key);
		assert_true(got == 0 || got == (uint32_t)i % 7 + 1);
		kept += got != 0;
	}
	/* A quarter full: hardly any set overflows. */
	assert_true(kept > 3950);
	key.remote_port = 5;
	wg_flow_learn(t, &key, NULL, 3, 1ull << 31);
	assert_int_equal(wg_flow_find(t, &key), 3);
	wg_flow_flush(t, 3);
	assert_int_equal(wg_flow_find(t, &key), 0);
	free(t);
}

/* --- packets --- */

static void flow_keys(void **state)
{
	uint8_t v4[64] = {0x45, 0, 0, 48, 0,  0, 0x40, 0, 64,	6,    0, 0,
			  10,	0, 0, 1,  10, 0, 0,    2, 0x12, 0x34, 0, 80};
	uint8_t back[64] = {0x45, 0, 0, 48, 0,	0, 0x40, 0, 64, 6,  0,	  0,
			    10,	  0, 0, 2,  10, 0, 0,	 1, 0,	80, 0x12, 0x34};
	uint8_t error[96] = {0x45, 0,  0, 76, 0, 0,  0, 0, 64, 1, 0,
			     0,	   10, 0, 0,  2, 10, 0, 0, 1,  3, 3};
	struct wg_flow_key in, out, icmp;

	(void)state;
	assert_true(wg_packet_flow(v4, 48, true, &in));
	assert_true(wg_packet_flow(back, 48, false, &out));
	assert_memory_equal(&in, &out, sizeof(in));
	/* An error about the packet leaves the way it came. */
	memcpy(error + 28, v4, 48);
	assert_true(wg_packet_flow(error, 76, false, &icmp));
	assert_memory_equal(&in, &icmp, sizeof(in));
	assert_false(wg_packet_flow(error, 76, true, &icmp));
	for (size_t n = 0; n < 48; n++)
		wg_packet_flow(v4, n, true, &in);
}

/* RFC 6040 figure 4. */
static void ecn(void **state)
{
	static const int expected[4][4] = {
		/* outer 0, ECT(1), ECT(0), CE; rows: inner 0, ECT(1), ECT(0), CE; -1: drop */
		{0, 0, 0, -1},
		{1, 1, 1, 3},
		{2, 1, 2, 3},
		{3, 3, 3, 3},
	};

	(void)state;
	for (uint8_t inner = 0; inner < 4; inner++) {
		for (uint8_t outer = 0; outer < 4; outer++) {
			uint8_t p[40] = {0x45, (uint8_t)(0xb8 | inner), 0, 40, 1, 2, 0, 0, 64, 6};
			uint8_t q[40] = {0x60, (uint8_t)(0x80 | inner << 4)};
			int want = expected[inner][outer];
			uint16_t sum = (uint16_t)~wg_sum_fold(wg_sum(p, 20, 0));
			struct wg_packet parsed;

			memcpy(p + 10, &sum, 2);
			assert_int_equal(wg_packet_decapsulate_ecn(p, outer), want >= 0);
			assert_int_equal(wg_packet_decapsulate_ecn(q, outer), want >= 0);
			if (want < 0)
				continue;
			assert_int_equal(p[1], 0xb8 | want);
			assert_int_equal(wg_sum_fold(wg_sum(p, 20, 0)), 0xffff);
			assert_int_equal(wg_packet_parse(q, 40, &parsed), 0);
			assert_int_equal(parsed.ecn, want);
			assert_int_equal(q[1] & 0x8f, 0x80);
		}
	}
}

static void sums(void **state)
{
	uint8_t data[3000];

	(void)state;
	seed = 5;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(rnd() % 8 ? 0xff : rnd());
	for (size_t len = 0; len < sizeof(data); len += len < 70 ? 1 : 97) {
		uint32_t simple = 0;

		for (size_t i = 0; i + 1 < len; i += 2)
			simple += (uint32_t)(data[i] | data[i + 1] << 8);
		if (len % 2)
			simple += data[len - 1];
		simple = (simple >> 16) + (simple & 0xffff);
		simple = (simple >> 16) + (simple & 0xffff);
		assert_int_equal(wg_sum_fold(wg_sum(data, len, 0)), simple);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replay_edges),
		cmocka_unit_test(replay_model),
		cmocka_unit_test(allowedips_exclusive),
		cmocka_unit_test(allowedips_shared),
		cmocka_unit_test(indices),
		cmocka_unit_test(flow_table),
		cmocka_unit_test(flow_keys),
		cmocka_unit_test(ecn),
		cmocka_unit_test(sums),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
