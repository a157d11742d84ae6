/* SPDX-License-Identifier: MIT */
/* cmocka with the headers that it needs, and what our tests of bad input share. */
#ifndef KK_TEST_H
#define KK_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "util/err.h"

/* The error has @field and its sentence has @part in it; says what it is where not. */
#define assert_err(err, field_, part)                                                              \
	do {                                                                                       \
		if (strcmp((err)->field, (field_)) != 0 || !strstr((err)->msg, (part)))            \
			fail_msg("field \"%s\" (wanted \"%s\"), message \"%s\" (wanted \"%s\")",   \
				 (err)->field, (field_), (err)->msg, (part));                      \
	} while (0)

/* Instead of a group that can do nothing without root: all of its tests are skipped, and it is said why. */
static inline int kk_skip_group(const char *why, size_t n_tests)
{
	print_message("skipped: %s: must be root\n[  SKIPPED ] %zu test(s).\n", why, n_tests);
	return 0;
}

#define kk_run_group_as_root(why, tests, setup, teardown)                                          \
	(geteuid() == 0 ? cmocka_run_group_tests(tests, setup, teardown)                           \
			: kk_skip_group(why, sizeof(tests) / sizeof((tests)[0])))

#endif
