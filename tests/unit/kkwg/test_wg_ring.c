// SPDX-License-Identifier: MIT
/* The ring between two workers: order, wrapping, refusal when full, and two threads at once. */
#include <pthread.h>
#include <stdlib.h>

#include "../kk_test.h"

#include "kkwg/ring.h"

#define SIZE	4096
#define RECORDS 100000
#define THREADS_SIZE                                                                               \
	65536 /* of the ring between two threads, which may take turns on one busy processor */

struct sample {
	uint32_t number, len;
	uint8_t bytes[];
};

static bool push(struct ring *r, uint32_t number, uint32_t len)
{
	struct sample *s = ring_push(r, (uint32_t)sizeof(*s) + len);

	if (!s)
		return false;
	assert_int_equal((uintptr_t)s % RING_ALIGN, 0);
	s->number = number;
	s->len = len;
	memset(s->bytes, (int)number, len);
	return true;
}

static void assert_sample(const struct sample *s, uint32_t number, uint32_t len)
{
	assert_non_null(s);
	assert_int_equal(s->number, number);
	assert_int_equal(s->len, len);
	for (uint32_t i = 0; i < len; i++)
		assert_int_equal(s->bytes[i], (uint8_t)number);
}

static void unseen_until_published(void **state)
{
	struct ring r;

	(void)state;
	assert_int_equal(ring_init(&r, SIZE), 0);
	assert_null(ring_first(&r));
	assert_true(push(&r, 1, 10));
	assert_true(push(&r, 2, 20));
	assert_null(ring_first(&r));
	assert_true(ring_empty(&r));
	ring_publish(&r);
	assert_false(ring_empty(&r));
	assert_sample(ring_first(&r), 1, 10);
	/* Looking again takes nothing away. */
	assert_sample(ring_first(&r), 1, 10);
	ring_release(&r);
	assert_sample(ring_first(&r), 2, 20);
	ring_release(&r);
	assert_null(ring_first(&r));
	assert_true(ring_empty(&r));
	ring_clean(&r);
}

static void full_refuses(void **state)
{
	uint32_t pushed = 0;
	struct ring r;

	(void)state;
	assert_int_equal(ring_init(&r, SIZE), 0);
	while (push(&r, pushed, 100))
		pushed++;
	/* 64 bytes of head, 108 of record in places of 64. */
	assert_int_equal(pushed, SIZE / 192);
	assert_false(push(&r, pushed, 100));
	ring_publish(&r);
	assert_false(push(&r, pushed, 100));
	assert_sample(ring_first(&r), 0, 100);
	ring_release(&r);
	ring_first(&r);
	ring_release(&r);
	/* 64 bytes are left at the end, too few: passed over, which needs the room of two at the beginning. */
	assert_true(push(&r, pushed, 100));
	assert_false(push(&r, pushed + 1, 300));
	ring_publish(&r);
	for (uint32_t i = 2; i <= pushed; i++) {
		assert_sample(ring_first(&r), i, 100);
		ring_release(&r);
	}
	assert_null(ring_first(&r));
	/* What does not fit even an empty ring is refused as well. */
	assert_false(push(&r, 0, SIZE));
	ring_clean(&r);
}

static void every_length_at_every_place(void **state)
{
	uint32_t in = 0, out = 0;
	struct ring r;

	(void)state;
	assert_int_equal(ring_init(&r, SIZE), 0);
	for (int i = 0; i < 20000; i++) {
		while (push(&r, in, (in * 131) % 1000))
			in++;
		ring_publish(&r);
		assert_sample(ring_first(&r), out, (out * 131) % 1000);
		ring_release(&r);
		out++;
	}
	assert_true(in > out);
	ring_clean(&r);
}

static void *producer(void *arg)
{
	struct ring *r = arg;

	for (uint32_t i = 0; i < RECORDS;) {
		if (push(r, i, (i * 7919) % 600)) {
			i++;
			if (i % 5 == 0)
				ring_publish(r);
		} else {
			ring_publish(r);
			sched_yield();
		}
	}
	ring_publish(r);
	return NULL;
}

static void two_threads(void **state)
{
	pthread_t thread;
	struct ring r;

	(void)state;
	assert_int_equal(ring_init(&r, THREADS_SIZE), 0);
	assert_int_equal(pthread_create(&thread, NULL, producer, &r), 0);
	for (uint32_t i = 0; i < RECORDS;) {
		struct sample *s = ring_first(&r);

		if (!s) {
			sched_yield();
			continue;
		}
		if (s->number != i || s->len != (i * 7919) % 600 ||
		    (s->len && s->bytes[s->len - 1] != (uint8_t)i))
			fail_msg("record %u: number %u, %u bytes", i, s->number, s->len);
		ring_release(&r);
		i++;
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(ring_empty(&r));
	ring_clean(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unseen_until_published),
		cmocka_unit_test(full_refuses),
		cmocka_unit_test(every_length_at_every_place),
		cmocka_unit_test(two_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
