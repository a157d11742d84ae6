// SPDX-License-Identifier: MIT
/*
 * Two engines over a link that loses, repeats, reorders and delays, with clocks that jump and ends that
 * reboot, over many seeds (WG_SIM_SEEDS). Whatever happens: no packet is accepted twice, nothing
 * leaves in the clear, and once the link is good again the tunnel works within the paper's times.
 */
#include "wg_node_impl.h"

#include <stdio.h>

/* A dead session is noticed after 15 s, its handshake is tried again every 5; both with jitter. */
#define RECOVERY (35 * SEC)

static int setup(void **state)
{
	(void)state;
	if (wg_crypto_init() < 0)
		return -1;
	wg_noise_init();
	return 0;
}

static void peers(struct net *n, bool both_endpoints)
{
	struct node *a = &n->nodes[0], *b = &n->nodes[1];
	uint8_t psk[32] = {1, 2, 3};

	memcpy(net_peer(a, b, true)->handshake.psk, psk, 32);
	memcpy(net_peer(b, a, both_endpoints)->handshake.psk, psk, 32);
}

/* One mishap. */
static void disturb(struct net *n)
{
	struct node *node = &n->nodes[net_random(n) % 2], *other = &n->nodes[node == &n->nodes[0]];

	switch (net_random(n) % 6) {
	case 0:
		n->loss = (unsigned int)(net_random(n) % 100);
		break;
	case 1:
		n->repeat = (unsigned int)(net_random(n) % 50);
		break;
	case 2:
		n->delay_ms = (unsigned int)(net_random(n) % 3000);
		break;
	case 3:
		/* A clock that goes back while running must not matter; after a reboot it would. */
		node->clock_offset +=
			(int64_t)(net_random(n) % (2000 * SEC)) - (int64_t)(1000 * SEC);
		break;
	case 4:
		node_reboot(node);
		memcpy(net_peer(node, other, true)->handshake.psk, (uint8_t[32]){1, 2, 3}, 32);
		node->clock_offset += 3600 * (int64_t)SEC;
		break;
	case 5:
		/* Roams. */
		node->self.in.sin_port ^= htons(0x4000);
		break;
	}
}

static void one_seed(uint64_t seed)
{
	struct net *n = calloc(1, sizeof(*n));
	struct node *a, *b;

	assert_non_null(n);
	net_init(n, seed);
	a = &n->nodes[0];
	b = &n->nodes[1];
	peers(n, seed % 2);
	wg_device_set_eager(a->dev, seed % 3 == 0);
	for (int phase = 0; phase < 4; phase++) {
		uint64_t mended;

		for (int step = 0; step < 300; step++) {
			if (net_random(n) % 40 == 0)
				disturb(n);
			if (net_random(n) % 2)
				node_send(a, b);
			if (net_random(n) % 2)
				node_send(b, a);
			net_run(n, n->now + net_random(n) % SEC);
		}
		n->loss = n->repeat = 0;
		n->delay_ms = 20;
		/* Only one side may know where the other is: whoever roamed has to speak first. */
		wg_device_find_peer(a->dev, b->public)->endpoint = b->self;
		wg_device_find_peer(b->dev, a->public)->endpoint = a->self;
		mended = n->now;
		while (n->now < mended + RECOVERY) {
			node_send(a, b);
			node_send(b, a);
			net_run(n, n->now + SEC / 2);
		}
		if (a->last_received[1] + 2 * SEC < n->now ||
		    b->last_received[0] + 2 * SEC < n->now)
			fail_msg("seed %llu phase %d: no traffic %llu s after the link was mended",
				 (unsigned long long)seed, phase,
				 (unsigned long long)(RECOVERY / SEC));
	}
	assert_true(a->received[1] && b->received[0]);
	net_clean(n);
	free(n);
}

static void mishaps(void **state)
{
	const char *text = getenv("WG_SIM_SEEDS");
	uint64_t seeds = text ? strtoull(text, NULL, 10) : 60;

	(void)state;
	for (uint64_t seed = 1; seed <= seeds; seed++)
		one_seed(seed);
}

/* A quiet link for hours: sessions are renewed, and no packet is lost by that. */
static void hours(void **state)
{
	struct net *n = calloc(1, sizeof(*n));
	struct node *a, *b;

	(void)state;
	assert_non_null(n);
	net_init(n, 7);
	a = &n->nodes[0];
	b = &n->nodes[1];
	peers(n, false);
	for (int i = 0; i < 2 * 3600; i++) {
		node_send(a, b);
		net_run(n, n->now + SEC);
		if (i)
			node_send(b, a);
		net_run(n, n->now + SEC / 10);
	}
	assert_int_equal(b->received[0], a->sent);
	assert_int_equal(a->received[1], b->sent);
	/* About one handshake every 120 s, all by the initiator. */
	assert_in_range(n->initiations, 60, 75);
	net_clean(n);
	free(n);
}

/* Nobody there: 90 s of tries, 5 s apart, then silence; new data starts again. */
static void gives_up(void **state)
{
	struct net *n = calloc(1, sizeof(*n));
	uint64_t tries;

	(void)state;
	assert_non_null(n);
	net_init(n, 8);
	peers(n, false);
	n->loss = 100;
	node_send(&n->nodes[0], &n->nodes[1]);
	net_run(n, n->now + 1000 * SEC);
	tries = n->initiations;
	assert_in_range(tries, 17, 20);
	node_send(&n->nodes[0], &n->nodes[1]);
	net_run(n, n->now + SEC);
	assert_int_equal(n->initiations, tries + 1);
	/* What was staged is gone; a fresh packet gets through as soon as the link is back. */
	n->loss = 0;
	net_run(n, n->now + 10 * SEC);
	assert_int_equal(n->nodes[1].received[0], 1);
	net_clean(n);
	free(n);
}

/* The other side forgot everything and says nothing: noticed 15 s after the first unanswered packet. */
static void dead_peer(void **state)
{
	struct net *n = calloc(1, sizeof(*n));
	struct node *a, *b;
	uint64_t since;

	(void)state;
	assert_non_null(n);
	net_init(n, 11);
	a = &n->nodes[0];
	b = &n->nodes[1];
	peers(n, false);
	node_send(a, b);
	net_run(n, n->now + 30 * SEC);
	node_reboot(b);
	memcpy(net_peer(b, a, false)->handshake.psk, (uint8_t[32]){1, 2, 3}, 32);
	since = n->now;
	while (b->received[0] < 2) {
		assert_true(n->now < since + 17 * SEC);
		node_send(a, b);
		net_run(n, n->now + SEC / 10);
	}
	assert_true(n->now > since + 14 * SEC);
	net_clean(n);
	free(n);
}

/* Keys are gone three lifetimes after the last session, and an idle tunnel is silent. */
static void idle(void **state)
{
	struct net *n = calloc(1, sizeof(*n));
	struct wg_peer *p;
	uint64_t sent;

	(void)state;
	assert_non_null(n);
	net_init(n, 9);
	peers(n, false);
	node_send(&n->nodes[0], &n->nodes[1]);
	net_run(n, n->now + 20 * SEC);
	sent = n->datagrams;
	/* initiation, response, data, passive keepalive */
	assert_int_equal(sent, 4);
	p = wg_device_find_peer(n->nodes[0].dev, n->nodes[1].public);
	assert_non_null(p->current);
	net_run(n, n->now + 600 * SEC);
	assert_int_equal(n->datagrams, sent);
	assert_null(p->current);
	assert_null(p->previous);
	assert_true(wg_is_zero(p->handshake.chain, 32));
	net_clean(n);
	free(n);
}

/* Persistent keepalive: brings the tunnel up without data and holds it. */
static void persistent(void **state)
{
	struct net *n = calloc(1, sizeof(*n));
	struct node *a, *b;

	(void)state;
	assert_non_null(n);
	net_init(n, 10);
	a = &n->nodes[0];
	b = &n->nodes[1];
	peers(n, false);
	wg_device_set_keepalive(a->dev, wg_device_find_peer(a->dev, b->public), 25, n->now);
	net_run(n, n->now + SEC);
	/* The other side, which was never told an endpoint, can answer at any time. */
	for (int i = 0; i < 100; i++) {
		net_run(n, n->now + 60 * SEC);
		node_send(b, a);
		net_run(n, n->now + SEC);
		assert_int_equal(a->received[1], i + 1);
	}
	net_clean(n);
	free(n);
}

/* An Agent and its gateway, which never knows more than what was sent to it. */
static struct net *eager_net(uint64_t seed)
{
	struct net *n = calloc(1, sizeof(*n));
	struct node *a, *b;

	assert_non_null(n);
	net_init(n, seed);
	a = &n->nodes[0];
	b = &n->nodes[1];
	wg_device_set_eager(a->dev, true);
	wg_device_set_keepalive(a->dev, net_peer(a, b, true), 25, n->now);
	return n;
}

/* How long it takes from now until the gateway can reach the Agent. */
static uint64_t until_reached(struct net *n)
{
	struct node *a = &n->nodes[0], *b = &n->nodes[1];
	uint64_t since = n->now, before = a->received[1];

	while (a->received[1] == before) {
		assert_true(n->now < since + 60 * SEC);
		net_run(n, n->now + SEC / 20);
		node_send(b, a);
	}
	return n->now - since;
}

/* Eager: the other end is told of us only after our first initiation, or was away for a while: up within 2 s. */
static void eager(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 40; seed++) {
		struct net *n = eager_net(seed);

		net_run(n, n->now + seed * SEC / 20);
		net_peer(&n->nodes[1], &n->nodes[0], false);
		assert_true(until_reached(n) <= 2 * SEC + SEC / 10);
		/* The session ends meanwhile, and tries go on for less than REKEY_ATTEMPT_TIME. */
		n->loss = 100;
		net_run(n, n->now + 180 * SEC + seed * SEC / 2);
		n->loss = 0;
		assert_true(until_reached(n) <= 2 * SEC + SEC / 10);
		net_clean(n);
		free(n);
	}
}

/* With a persistent interval it never gives up, without one as the others do; and it does not flood. */
static void eager_for_long(void **state)
{
	struct net *n = eager_net(1);
	struct node *a = &n->nodes[0], *b = &n->nodes[1];
	uint64_t tries;

	(void)state;
	net_peer(b, a, false);
	n->loss = 100;
	net_run(n, n->now + 1000 * SEC);
	tries = n->initiations;
	assert_in_range(tries, 450, 600);
	n->loss = 0;
	assert_true(until_reached(n) <= 6 * SEC);
	wg_device_set_keepalive(a->dev, wg_device_find_peer(a->dev, b->public), 0, n->now);
	n->loss = 100;
	net_run(n, n->now + 200 * SEC);
	tries = n->initiations;
	node_send(a, b);
	net_run(n, n->now + 1000 * SEC);
	assert_in_range(n->initiations - tries, 50, 65);
	net_clean(n);
	free(n);
}

/* An answer that takes longer than an eager end waits: it is met by the usual patience. */
static void eager_and_far_away(void **state)
{
	struct net *n = eager_net(3);

	(void)state;
	net_peer(&n->nodes[1], &n->nodes[0], false);
	n->least_delay_ms = 1500; /* either way */
	net_run(n, n->now + 150 * SEC);
	assert_non_null(wg_device_find_peer(n->nodes[0].dev, n->nodes[1].public)->current);
	net_clean(n);
	free(n);
}

/*
 * One end is suspended. Its clock is one that goes on meanwhile, so that it knows at once that its session is too
 * old: the first packet gets through, by a new handshake where need be.
 */
static void suspend(void **state)
{
	static const uint64_t gaps[] = {5,   60,  119, 121, 170,  178,
					180, 200, 539, 541, 7200, 30 * 86400};

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(gaps) / sizeof(gaps[0]); i++) {
		struct net *n = calloc(1, sizeof(*n));
		struct node *a, *b, *sleeper;
		uint64_t got, sent;

		assert_non_null(n);
		net_init(n, 20 + i);
		a = &n->nodes[0];
		b = &n->nodes[1];
		peers(n, true);
		sleeper = i % 2 ? b : a;
		node_send(a, b);
		net_run(n, n->now + SEC);
		assert_int_equal(b->received[0], 1);
		sleeper->asleep = true;
		net_run(n, n->now + gaps[i / 2] * SEC);
		sleeper->asleep = false;
		wg_device_tick(sleeper->dev, n->now);
		got = i % 2 ? a->received[1] : b->received[0];
		sent = n->datagrams;
		node_send(sleeper, i % 2 ? a : b);
		net_run(n, n->now + SEC);
		if ((i % 2 ? a->received[1] : b->received[0]) != got + 1)
			fail_msg("after %llu s: lost", (unsigned long long)gaps[i / 2]);
		/* At most a handshake, what was sent, and keepalives. */
		assert_in_range(n->datagrams - sent, 1, 6);
		net_clean(n);
		free(n);
	}
}

/* A persistent keepalive brings the tunnel back by itself after a suspend. */
static void suspend_with_keepalive(void **state)
{
	struct net *n = calloc(1, sizeof(*n));
	struct node *a, *b;

	(void)state;
	assert_non_null(n);
	net_init(n, 31);
	a = &n->nodes[0];
	b = &n->nodes[1];
	peers(n, false);
	wg_device_set_keepalive(a->dev, wg_device_find_peer(a->dev, b->public), 25, n->now);
	net_run(n, n->now + SEC);
	a->asleep = true;
	net_run(n, n->now + 3600 * SEC);
	a->asleep = false;
	wg_device_tick(a->dev, n->now);
	net_run(n, n->now + SEC);
	/* The end that was never told where the other is speaks first. */
	node_send(b, a);
	net_run(n, n->now + SEC);
	assert_int_equal(a->received[1], 1);
	net_clean(n);
	free(n);
}

/*
 * An end reboots and its clock is behind (no battery, no time server yet). Its initiations look like replays and are
 * dropped, as the paper has it (section 5.1); nothing else could tell them apart. It comes back as soon as its clock
 * is right, or as the other end has something to send: the initiations of that are good, since the rebooted end
 * remembers none.
 */
static void clock_back_across_reboot(void **state)
{
	for (int other_speaks = 0; other_speaks < 2; other_speaks++) {
		struct net *n = calloc(1, sizeof(*n));
		struct node *a, *b;
		uint64_t since;

		(void)state;
		assert_non_null(n);
		net_init(n, 32);
		a = &n->nodes[0];
		b = &n->nodes[1];
		peers(n, true);
		node_send(a, b);
		net_run(n, n->now + 10 * SEC);
		assert_int_equal(b->received[0], 1);
		node_reboot(a);
		memcpy(net_peer(a, b, true)->handshake.psk, (uint8_t[32]){1, 2, 3}, 32);
		a->clock_offset = -3600 * (int64_t)SEC;
		since = n->now;
		for (int i = 0; i < 60; i++) {
			node_send(a, b);
			if (other_speaks)
				node_send(b, a);
			net_run(n, n->now + SEC);
		}
		if (other_speaks) {
			assert_true(a->received[1] && b->received[0] > 1);
			assert_true(b->last_received[0] + 2 * SEC > n->now);
			assert_true(n->now < since + 61 * SEC);
		} else {
			assert_int_equal(b->received[0], 1);
			assert_true(b->dev->drops.handshake >= 10);
			/* Time is set, while the engine runs. */
			a->clock_offset = 0;
			since = n->now;
			while (b->received[0] == 1) {
				assert_true(n->now < since + 7 * SEC);
				node_send(a, b);
				net_run(n, n->now + SEC / 10);
			}
		}
		net_clean(n);
		free(n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mishaps),
		cmocka_unit_test(hours),
		cmocka_unit_test(gives_up),
		cmocka_unit_test(idle),
		cmocka_unit_test(persistent),
		cmocka_unit_test(eager),
		cmocka_unit_test(eager_for_long),
		cmocka_unit_test(eager_and_far_away),
		cmocka_unit_test(dead_peer),
		cmocka_unit_test(suspend),
		cmocka_unit_test(suspend_with_keepalive),
		cmocka_unit_test(clock_back_across_reboot),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
