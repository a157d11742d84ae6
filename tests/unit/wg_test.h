/* SPDX-License-Identifier: MIT */
/* What the unit tests of lib/wg share. */
#ifndef WG_TEST_H
#define WG_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "util/encode.h"

/* Declares @name as the bytes of the literal @text in hex. */
#define HEX(name, text)                                                                            \
	uint8_t name[(sizeof(text) - 1) / 2];                                                      \
	assert_int_equal(kk_unhex(text, name, sizeof(name)), 0)

#endif
