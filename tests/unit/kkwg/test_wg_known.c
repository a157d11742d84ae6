// SPDX-License-Identifier: MIT
/* What the kernel discards because nobody here gave out its receiver index. Needs to be root. */
#include "../wg_test.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <netinet/in.h>

#include "kkwg/filter.h"
#include "kkwg/known.h"
#include "wg/index.h"
#include "wg/message.h"

/* The two share the low bits that the census knows, so one stands for the other. */
#define MINE	 0x12345678u
#define ITS_LIKE (MINE ^ 0x80000000u)
#define STRANGER (MINE + 1)

struct fixture {
	struct known known;
	struct wg_index_table table;
	struct sockaddr_storage here;
	socklen_t len;
	int fd;
};

static void set_up(struct fixture *f, int family)
{
	if (geteuid() != 0) {
		print_message("skipped: loads a BPF program: must be root\n");
		skip();
	}
	memset(f, 0, sizeof(*f));
	f->here.ss_family = (sa_family_t)family;
	f->len = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	f->fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(f->fd, (struct sockaddr *)&f->here, f->len), 0);
	assert_int_equal(getsockname(f->fd, (struct sockaddr *)&f->here, &f->len), 0);
	assert_int_equal(known_open(&f->known), 0);
	assert_int_equal(known_attach(&f->known, f->fd), 0);
	f->table.census = f->known.census;
}

static void tear_down(struct fixture *f)
{
	wg_index_clean(&f->table);
	known_close(&f->known);
	assert_null(f->known.census);
	close(f->fd);
}

/* Whether a datagram of @len bytes with @index at @at arrives. */
static bool arrives(struct fixture *f, uint8_t type, size_t len, size_t at, uint32_t index)
{
	uint8_t data[FILTER_LONGEST + 1] = {type}, got[FILTER_LONGEST + 1];

	index = htole32(index);
	memcpy(data + at, &index, sizeof(index));
	assert_int_equal(sendto(f->fd, data, len, 0, (struct sockaddr *)&f->here, f->len), len);
	return recv(f->fd, got, sizeof(got), 0) == (ssize_t)len && memcmp(got, data, len) == 0;
}

/* Of every type one, and of data the shortest and a long one. */
static unsigned int arriving(struct fixture *f, uint32_t index)
{
	return arrives(f, WG_MSG_DATA, 32, 4, index) + arrives(f, WG_MSG_DATA, 1452, 4, index) +
	       arrives(f, WG_MSG_COOKIE, 64, 4, index) + arrives(f, WG_MSG_RESPONSE, 92, 8, index);
}

static void by_index(void **state)
{
	struct fixture f;

	(void)state;
	for (int family = AF_INET; family; family = family == AF_INET ? AF_INET6 : 0) {
		set_up(&f, family);
		assert_int_equal(arriving(&f, MINE), 0);
		assert_int_equal(wg_index_add(&f.table, MINE, NULL, NULL), 0);
		assert_int_equal(arriving(&f, MINE), 4);
		assert_int_equal(arriving(&f, STRANGER), 0);
		/* Too long for one datagram: perhaps some that were joined. */
		assert_true(arrives(&f, WG_MSG_DATA, FILTER_LONGEST + 1, 4, STRANGER));
		/* It is counted: one of two that look alike may go. */
		assert_int_equal(wg_index_add(&f.table, ITS_LIKE, NULL, NULL), 0);
		wg_index_del(&f.table, MINE);
		assert_int_equal(arriving(&f, ITS_LIKE), 4);
		wg_index_del(&f.table, ITS_LIKE);
		wg_index_del(&f.table, ITS_LIKE);
		assert_int_equal(arriving(&f, ITS_LIKE), 0);
		tear_down(&f);
	}
}

/* Initiations have no index, and nothing that is too short gets through with a good one. */
static void by_type_and_length(void **state)
{
	struct fixture f;

	(void)state;
	set_up(&f, AF_INET);
	assert_int_equal(wg_index_add(&f.table, MINE, NULL, NULL), 0);
	assert_true(arrives(&f, WG_MSG_INITIATION, 148, 4, STRANGER));
	assert_false(arrives(&f, WG_MSG_INITIATION, 63, 4, MINE));
	assert_false(arrives(&f, WG_MSG_COOKIE, 63, 4, MINE));
	assert_false(arrives(&f, WG_MSG_RESPONSE, 63, 8, MINE));
	assert_false(arrives(&f, WG_MSG_DATA, 31, 4, MINE));
	assert_false(arrives(&f, WG_MSG_DATA, 8, 4, MINE));
	for (unsigned int type = 0; type < 256; type++)
		if (type < WG_MSG_INITIATION || type > WG_MSG_DATA)
			assert_false(arrives(&f, (uint8_t)type, 148, 4, MINE));
	tear_down(&f);
}

/* However many come and go, at the end the census is what it was. */
static void census(void **state)
{
	struct wg_index_table t[2] = {0};
	uint16_t *counts = calloc(WG_INDEX_CENSUS, sizeof(*counts));
	uint64_t sum = 0;

	(void)state;
	t[0].census = t[1].census = counts;
	for (uint32_t i = 1; i <= 100000; i++)
		assert_int_equal(wg_index_add(&t[i % 2], i * 0x9e3779b1u, NULL, NULL), 0);
	for (uint32_t i = 0; i < WG_INDEX_CENSUS; i++)
		sum += counts[i];
	assert_int_equal(sum, 100000);
	for (uint32_t i = 1; i <= 50000; i++)
		wg_index_del(&t[i % 2], i * 0x9e3779b1u);
	wg_index_clean(&t[0]);
	wg_index_clean(&t[1]);
	for (uint32_t i = 0; i < WG_INDEX_CENSUS; i++)
		assert_int_equal(counts[i], 0);
	free(counts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_index),
		cmocka_unit_test(by_type_and_length),
		cmocka_unit_test(census),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
