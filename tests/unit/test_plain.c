// SPDX-License-Identifier: MIT
/* The short way of nearly every packet (kk/core/plain.h) beside the general one, with tables drawn at random. */
#include "two_ways.h"

#include "corpus.h"

/* The fuzz target is built into this. */
#include "../fuzz/fuzz_ways.c"

#define WORLDS	400
#define PACKETS 1000 /* in each */

/* Now and then a second passes, or a minute. */
static void let_time_pass(struct stream *s, struct two_ways *w)
{
	w->general->now += draw(s, 1000) == 0 ? 40000000000 : draw(s, 60) == 0 ? 1200000000 : 1000;
	w->brief->now = w->general->now;
}

static void run_world(struct stream *s, struct two_ways *w, uint64_t seen[KK_REASON_MAX])
{
	static struct edge_world world;
	uint32_t often = draw(s, (uint32_t)s->n);

	random_world(s, &world);
	two_ways_begin(w, &world);
	for (int i = 0; i < PACKETS; i++) {
		static struct packet p;
		struct kk_user_packet in = {.data = p.data};
		enum kk_direction direction = random_next(s, &world, often, &p);

		in.len = p.len;
		in.gso_size = p.gso_size;
		in.partial = draw(s, 8) == 0;
		let_time_pass(s, w);
		seen[two_ways_run(w, &in, direction, draw(s, 2) ? AS_TC : AS_XDP)]++;
	}
	two_ways_end(w);
}

static void test_random_worlds(void **state)
{
	uint64_t seen[KK_REASON_MAX] = {0};
	struct two_ways w;
	struct stream stream = {0};
	json_t *doc = load_cases(), *edge = load_edge_cases();

	(void)state;
	stream_init_all(&stream, doc, edge);
	two_ways_init(&w);
	for (int i = 0; i < WORLDS; i++)
		run_world(&stream, &w, seen);
	for (int i = 0; i < KK_REASON_MAX; i++) {
		print_message("%8ju %s\n", (uintmax_t)seen[i], kk_reason_name(i));
		/* What is never met is not compared; ports are exhausted by flows in a row, in the cases. */
		if (seen[i] < 5 && i != KK_REASON_HOST && i != KK_REASON_SNAT_EXHAUSTED)
			fail_msg("only %ju packets ended as %s", (uintmax_t)seen[i],
				 kk_reason_name(i));
	}
	assert_int_equal(seen[KK_REASON_HOST], 0);
	print_message("%ju of %ju forwarded by the short way\n", (uintmax_t)w.n_plain,
		      (uintmax_t)w.n_forwarded);
	assert_true(w.n_plain > 5000);
	two_ways_clean(&w);
	free(stream.cases);
	json_decref(edge);
	json_decref(doc);
}

/* What the fuzzer found to go ways of its own. */
static void test_corpus(void **state)
{
	(void)state;
	replay("ways", LLVMFuzzerTestOneInput);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_worlds),
		cmocka_unit_test(test_corpus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
