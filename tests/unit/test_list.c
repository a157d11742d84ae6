// SPDX-License-Identifier: MIT
/* Lists in order of id against the obvious way of doing it, and the waits between tries. */
#include "kk_test.h"

#include <stdlib.h>

#include "link/backoff.h"
#include "proto/list.h"

#define IDS 24

struct element {
	int64_t id;
	int version;
};

/* A random list of some of 1 to IDS, in order. */
static size_t some(struct element list[IDS], int version)
{
	size_t n = 0;

	for (int64_t id = 1; id <= IDS; id++)
		if (rand() % 3 == 0)
			list[n++] = (struct element){id, version};
	return n;
}

static void merge_once(void)
{
	struct element old[IDS], put[IDS], gone[IDS], *merged;
	size_t n_old = some(old, 1), n_put = some(put, 2), n_gone = some(gone, 0), n, at = 0;
	int version[IDS + 1] = {0};
	int64_t remove[IDS];

	for (size_t i = 0; i < n_old; i++)
		version[old[i].id] = 1;
	for (size_t i = 0; i < n_gone; i++) {
		remove[i] = gone[i].id;
		version[gone[i].id] = 0;
	}
	for (size_t i = 0; i < n_put; i++)
		version[put[i].id] = 2;
	merged = kk_list_merge(old, n_old, put, n_put, remove, n_gone, sizeof(*merged), &n);
	assert_non_null(merged);
	for (int64_t id = 1; id <= IDS; id++) {
		const struct element *found = kk_list_find(merged, n, sizeof(*merged), id);

		if (!version[id]) {
			assert_null(found);
			continue;
		}
		assert_ptr_equal(found, &merged[at++]);
		assert_int_equal(found->version, version[id]);
	}
	assert_int_equal(at, n);
	free(merged);
}

static void test_merge(void **state)
{
	(void)state;
	srand(1);
	for (int i = 0; i < 5000; i++)
		merge_once();
}

static void test_sort(void **state)
{
	struct element list[] = {{5, 0}, {INT64_MAX, 0}, {1, 0}, {7, 0}};
	struct element twice[] = {{5, 0}, {1, 0}, {5, 0}};

	(void)state;
	assert_int_equal(kk_list_sort(list, 4, sizeof(list[0])), 0);
	assert_int_equal(list[0].id, 1);
	assert_int_equal(list[3].id, INT64_MAX);
	assert_int_equal(kk_list_sort(twice, 3, sizeof(twice[0])), 5);
	assert_int_equal(kk_list_sort(NULL, 0, sizeof(list[0])), 0);
	assert_null(kk_list_find(NULL, 0, sizeof(list[0]), 1));
}

/* Each wait is between half and all of a time that doubles from 0.5 s to 15 s. */
static void test_backoff(void **state)
{
	struct kk_backoff backoff;
	uint64_t low = UINT64_MAX, high = 0, bound = KK_BACKOFF_FIRST_US;

	(void)state;
	kk_backoff_reset(&backoff);
	for (int i = 0; i < 20; i++) {
		uint64_t wait = kk_backoff_next(&backoff);

		assert_in_range(wait, bound / 2, bound);
		bound = bound * 2 > KK_BACKOFF_LAST_US ? KK_BACKOFF_LAST_US : bound * 2;
	}
	assert_int_equal(bound, KK_BACKOFF_LAST_US);
	kk_backoff_reset(&backoff);
	assert_in_range(kk_backoff_next(&backoff), KK_BACKOFF_FIRST_US / 2, KK_BACKOFF_FIRST_US);
	/* and they differ: nodes that were cut off together do not come back together */
	for (int i = 0; i < 1000; i++) {
		uint64_t wait = kk_backoff_jitter(1000000);

		low = wait < low ? wait : low;
		high = wait > high ? wait : high;
	}
	assert_in_range(low, 500000, 550000);
	assert_in_range(high, 950000, 1000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_merge),
		cmocka_unit_test(test_sort),
		cmocka_unit_test(test_backoff),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
