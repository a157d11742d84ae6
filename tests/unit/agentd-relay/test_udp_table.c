// SPDX-License-Identifier: MIT
#include "agentd/relay/udp_table.h"

#include <errno.h>
#include <stdlib.h>

#include "tests/unit/kk_test.h"

#define MAX 1000

static const int listener_a, listener_b; /* their addresses tell them apart */

static union kk_sockaddr client(uint32_t addr, uint16_t port)
{
	const struct kk_address address = {.family = AF_INET, .v4.s_addr = htonl(addr)};

	return kk_sockaddr_make(&address, port);
}

static struct udp_entry *add(struct udp_table *table, const void *listener,
			     const union kk_sockaddr *from, int64_t now)
{
	struct udp_entry *e = calloc(1, sizeof(*e));

	assert_non_null(e);
	e->port = listener;
	e->client = *from;
	if (udp_table_add(table, e, now) < 0) {
		free(e);
		return NULL;
	}
	return e;
}

static void del(struct udp_table *table, struct udp_entry *e)
{
	udp_table_del(table, e);
	free(e);
}

static int set_up(void **state)
{
	struct udp_table *table = calloc(1, sizeof(*table));

	*state = table;
	return table ? udp_table_init(table, MAX) : -1;
}

static int tear_down(void **state)
{
	struct udp_table *table = *state;
	struct udp_entry *e;

	while ((e = udp_table_oldest(table)))
		del(table, e);
	assert_int_equal(table->n, 0);
	udp_table_clean(table);
	free(table);
	return 0;
}

static void test_find(void **state)
{
	const union kk_sockaddr one = client(0xcb007109, 4000), two = client(0xcb007109, 4001),
				three = client(0xcb00710a, 4000);
	struct udp_table *table = *state;
	struct udp_entry *a = add(table, &listener_a, &one, 1);
	struct udp_entry *b = add(table, &listener_b, &one, 1);

	assert_ptr_equal(udp_table_find(table, &listener_a, &one), a);
	assert_ptr_equal(udp_table_find(table, &listener_b, &one), b);
	assert_null(udp_table_find(table, &listener_a, &two));
	assert_null(udp_table_find(table, &listener_a, &three));
	del(table, a);
	assert_null(udp_table_find(table, &listener_a, &one));
	assert_ptr_equal(udp_table_find(table, &listener_b, &one), b);
}

static void test_full_table_evicts_the_longest_idle(void **state)
{
	struct udp_table *table = *state;
	union kk_sockaddr from;
	struct udp_entry *e;

	for (uint16_t i = 0; i < MAX; i++) {
		from = client(0x0a000001, (uint16_t)(i + 1));
		assert_non_null(add(table, &listener_a, &from, i));
	}
	from = client(0x0a000001, MAX + 1);
	assert_null(add(table, &listener_a, &from, MAX));
	assert_int_equal(table->n, MAX);

	/* The first is used again, so the second has idled longest. */
	from = client(0x0a000001, 1);
	udp_table_touch(table, udp_table_find(table, &listener_a, &from), MAX);
	e = udp_table_oldest(table);
	assert_int_equal(kk_sockaddr_port(&e->client), 2);
	del(table, e);
	from = client(0x0a000001, MAX + 1);
	assert_non_null(add(table, &listener_a, &from, MAX + 1));
	assert_int_equal(table->n, MAX);
}

static void test_order_is_that_of_use(void **state)
{
	struct udp_table *table = *state;
	int64_t last = -1;

	for (uint16_t i = 0; i < 100; i++) {
		const union kk_sockaddr from = client(1, i + 1);

		add(table, &listener_a, &from, i);
	}
	for (uint16_t i = 0; i < 100; i += 3) {
		const union kk_sockaddr from = client(1, i + 1);

		udp_table_touch(table, udp_table_find(table, &listener_a, &from), 100 + i);
	}
	for (int i = 0; i < 100; i++) {
		struct udp_entry *e = udp_table_oldest(table);

		assert_true(e->used > last);
		last = e->used;
		del(table, e);
	}
	assert_null(udp_table_oldest(table));
}

/* A client must not be able to choose its chain: chains stay short for addresses that follow a pattern. */
static void test_chains_are_even(void **state)
{
	struct udp_table *table = *state;
	unsigned int longest = 0;

	for (uint32_t i = 0; i < MAX; i++) {
		const union kk_sockaddr from = client(i << 16, 1);

		add(table, &listener_a, &from, i);
	}
	for (uint32_t i = 0; i <= table->mask; i++) {
		unsigned int len = 0;
		struct udp_entry *e;

		LIST_FOREACH(e, &table->chains[i], chain)
		len++;
		if (len > longest)
			longest = len;
	}
	assert_true(longest > 0 && longest < 12);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_find, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_full_table_evicts_the_longest_idle, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_order_is_that_of_use, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_chains_are_even, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
