// SPDX-License-Identifier: MIT
/* The edge in user space: the packet cases, and what takes time. */
#include "edge_cases.h"

#include <stdio.h>

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
		cmocka_unit_test(test_relay_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
