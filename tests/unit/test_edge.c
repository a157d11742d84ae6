// SPDX-License-Identifier: MIT
/* The edge in user space: the packet cases, and what takes time. */
#include "edge_cases.h"

#include <stdio.h>

#define KK_COOKIE_TIME_SHIFT 35 /* as in kk/core/challenge.h: about 34 s */
#define KK_TCP_FLAG_RST	     0x04

static void test_cases(void **state)
{
	json_t *doc = load_edge_cases(), *world_obj, *obj;
	size_t i, j, n = 0;

	(void)state;
	json_array_foreach(json_object_get(doc, "worlds"), i, world_obj) {
		static struct edge_world world;
		struct kk_user *user;

		edge_world_of(world_obj, &world);
		user = edge_user_new(&world);
		json_array_foreach(json_object_get(world_obj, "cases"), j, obj) {
			static struct edge_case c;
			static struct outcome got;

			edge_case_of(obj, &c);
			edge_user_run(user, &c.in, &got);
			assert_edge_case(world.name, "edge in user space", &c, &got);
			n++;
		}
		edge_user_free(user);
	}
	json_decref(doc);
	print_message("%zu cases\n", n);
	assert_true(n > 100);
}

/* Whoever changes the generator changes the cases with it. */
static void test_cases_are_the_generators(void **state)
{
	char path[PATH_MAX], command[PATH_MAX + 32];

	(void)state;
	packets_path("edge.py", path);
	snprintf(command, sizeof(command), "/usr/bin/python3 -B %s --check", path);
	assert_int_equal(system(command), 0);
}

/* Every reason of the edge has a case, so that none is there for nothing. */
static void test_every_reason_has_a_case(void **state)
{
	json_t *doc = load_edge_cases(), *world_obj, *obj;
	bool seen[KK_REASON_MAX] = {0};
	size_t i, j;

	(void)state;
	json_array_foreach(json_object_get(doc, "worlds"), i, world_obj) {
		json_array_foreach(json_object_get(world_obj, "cases"), j, obj) {
			for (int reason = 0; reason < KK_REASON_MAX; reason++)
				if (strcmp(text_of(obj, "reason"), kk_reason_name(reason)) == 0)
					seen[reason] = true;
		}
	}
	for (int reason = 0; reason < KK_REASON_MAX; reason++)
		if (!seen[reason] && is_of_edge((enum kk_reason)reason))
			fail_msg("no case for %s", kk_reason_name(reason));
	json_decref(doc);
}

/* The world with @name, and the first packet of its case with @packet. */
static struct kk_user *world_called(const json_t *doc, const char *name, const char *packet,
				    struct packet *ret)
{
	const json_t *world_obj, *obj;
	size_t i, j;

	json_array_foreach(json_object_get(doc, "worlds"), i, world_obj) {
		static struct edge_world world;

		if (strcmp(text_of(world_obj, "name"), name) != 0)
			continue;
		json_array_foreach(json_object_get(world_obj, "cases"), j, obj) {
			if (strcmp(text_of(obj, "name"), packet) != 0)
				continue;
			packet_of(text_of(obj, "in"), ret);
			ret->gso_size = 0;
			edge_world_of(world_obj, &world);
			return edge_user_new(&world);
		}
	}
	fail_msg("%s: %s", name, packet);
	return NULL;
}

static int count_challenged(struct kk_user *user, const struct packet *syn, int n)
{
	static struct outcome got;
	int challenged = 0;

	for (int i = 0; i < n; i++) {
		edge_user_run(user, syn, &got);
		challenged += got.reason == KK_REASON_SYN_CHALLENGE;
	}
	return challenged;
}

/* The challenge begins when the rate is passed, goes on for the next window and ends by itself. */
static void test_flood_begins_and_ends(void **state)
{
	static struct packet syn;
	json_t *doc = load_edge_cases();
	struct kk_user *user = world_called(doc, "flood", "syn 0 within the rate", &syn);
	uint64_t window = 1ULL << KK_FLOOD_SHIFT;

	(void)state;
	assert_int_equal(count_challenged(user, &syn, 3), 0);
	assert_int_equal(count_challenged(user, &syn, 100), 100);
	user->now += window;
	assert_int_equal(count_challenged(user, &syn, 2), 2);
	user->now += window;
	assert_int_equal(count_challenged(user, &syn, 3), 0);
	assert_int_equal(count_challenged(user, &syn, 1), 1);
	user->now += 5 * window;
	assert_int_equal(count_challenged(user, &syn, 3), 0);
	edge_user_free(user);
	json_decref(doc);
}

/* Who has proved himself is let in for KK_VERIFIED_NS. */
static void test_verified_for_a_time(void **state)
{
	static struct packet syn, reset;
	json_t *doc = load_edge_cases();
	struct kk_user *user = world_called(doc, "flood", "reset with the cookie", &reset);
	static struct outcome got;

	(void)state;
	edge_user_free(user);
	user = world_called(doc, "flood", "syn 3 beyond the rate", &syn);
	assert_int_equal(count_challenged(user, &syn, 10), 7);
	edge_user_run(user, &reset, &got);
	assert_int_equal(got.reason, KK_REASON_SYN_PROOF);
	assert_int_equal(count_challenged(user, &syn, 10), 0);
	user->now += KK_VERIFIED_NS - 1;
	assert_int_equal(count_challenged(user, &syn, 10), 0);
	user->now += 1;
	assert_int_equal(count_challenged(user, &syn, 10), 10);
	edge_user_free(user);
	json_decref(doc);
}

/* What a host answers to a challenge: a reset whose sequence number is what was acknowledged (RFC 9293 section 3.10.7.3). */
static void answer_challenge(const struct packet *challenge, struct packet *reset)
{
	const uint8_t *in = challenge->data;
	bool ip6 = in[0] >> 4 == 6;
	size_t l4 = ip6 ? 40 : 20, size = ip6 ? 16 : 4;

	*reset = *challenge;
	memcpy(reset->data + l4 - 2 * size, in + l4 - size, size);
	memcpy(reset->data + l4 - size, in + l4 - 2 * size, size);
	memcpy(reset->data + l4, in + l4 + 2, 2);
	memcpy(reset->data + l4 + 2, in + l4, 2);
	memcpy(reset->data + l4 + 4, in + l4 + 8, 4);
	memset(reset->data + l4 + 8, 0, 4);
	reset->data[l4 + 13] = KK_TCP_FLAG_RST;
}

/* Floods until @syn is challenged. */
static void challenge_of(struct kk_user *user, const struct packet *syn, struct packet *reset)
{
	static struct outcome got;

	for (int i = 0; i < 10; i++)
		edge_user_run(user, syn, &got);
	assert_int_equal(got.reason, KK_REASON_SYN_CHALLENGE);
	answer_challenge(&got.packet, reset);
}

static enum kk_reason reason_of(struct kk_user *user, const struct packet *packet)
{
	static struct outcome got;

	edge_user_run(user, packet, &got);
	return got.reason;
}

/*
 * A cookie holds for the time that it was made in and for the next one, under the key that it was made with. An answer
 * that comes too late, or with another key, does no harm: the next SYN is challenged anew.
 */
static void run_cookies(const char *world, const char *name)
{
	const uint64_t time = 1ULL << KK_COOKIE_TIME_SHIFT;
	static struct packet syn, first, second, other;
	json_t *doc = load_edge_cases();
	struct kk_user *user = world_called(doc, world, name, &syn);

	challenge_of(user, &syn, &first);
	user->now += 2 * time;
	challenge_of(user, &syn, &second);
	assert_memory_not_equal(first.data, second.data, first.len);
	assert_int_equal(reason_of(user, &first), KK_REASON_MAX);

	user->edge.settings.cookie_key[1] ^= 1;
	assert_int_equal(reason_of(user, &second), KK_REASON_MAX);
	challenge_of(user, &syn, &other);
	assert_int_equal(reason_of(user, &other), KK_REASON_SYN_PROOF);
	kk_map_clear(&user->edge.verified);
	user->edge.settings.cookie_key[1] ^= 1;

	user->now += time;
	challenge_of(user, &syn, &other);
	assert_int_equal(reason_of(user, &second), KK_REASON_SYN_PROOF);
	assert_int_equal(reason_of(user, &syn), KK_REASON_MAX);
	edge_user_free(user);
	json_decref(doc);
}

static void test_cookies_age(void **state)
{
	(void)state;
	run_cookies("flood", "syn 3 beyond the rate");
	run_cookies("flood in IPv6", "syn beyond the rate");
}

/* A relayed session ends when it is not renewed, though packets come. */
static void test_relay_ends(void **state)
{
	static struct packet packet;
	json_t *doc = load_edge_cases();
	struct kk_user *user =
		world_called(doc, "relay", "from the end that was not heard", &packet);
	static struct outcome got;

	(void)state;
	edge_user_run(user, &packet, &got);
	assert_int_equal(got.reason, KK_REASON_RELAY_UNHEARD);
	edge_user_free(user);
	user = world_called(doc, "relay", "to an end that has not been heard", &packet);
	user->now += 1000000000;
	edge_user_run(user, &packet, &got);
	assert_int_equal(got.reason, KK_REASON_CLOSED_PORT);
	edge_user_free(user);
	json_decref(doc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_cases_are_the_generators),
		cmocka_unit_test(test_every_reason_has_a_case),
		cmocka_unit_test(test_flood_begins_and_ends),
		cmocka_unit_test(test_verified_for_a_time),
		cmocka_unit_test(test_cookies_age),
		cmocka_unit_test(test_relay_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
