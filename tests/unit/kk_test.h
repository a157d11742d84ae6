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

#include <cmocka.h>

#include "util/err.h"

/* The error has @field and its sentence has @part in it; says what it is where not. */
#define assert_err(err, field_, part)                                                              \
	do {                                                                                       \
		if (strcmp((err)->field, (field_)) != 0 || !strstr((err)->msg, (part)))            \
			fail_msg("field \"%s\" (wanted \"%s\"), message \"%s\" (wanted \"%s\")",   \
				 (err)->field, (field_), (err)->msg, (part));                      \
	} while (0)

#endif
