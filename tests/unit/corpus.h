// SPDX-License-Identifier: MIT
/* Replays the corpus of a fuzz target (tests/fuzz) as an ordinary test. */
#ifndef TESTS_UNIT_CORPUS_H
#define TESTS_UNIT_CORPUS_H

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util/file.h"

/* Gives @target each file of tests/fuzz/corpus/@name; there has to be one. */
static inline void replay(const char *name, int (*target)(const uint8_t *data, size_t len))
{
	const char *root = getenv("KK_ROOT");
	char path[512];
	struct dirent *e;
	int n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/%s", root ? root : ".", name);
	d = opendir(path);
	if (!d)
		fail_msg("%s: %s (run from the top of the tree, or set KK_ROOT)", path,
			 strerror(errno));
	while ((e = readdir(d))) {
		char file[1024], *data;
		size_t len;

		if (e->d_name[0] == '.')
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
		assert_int_equal(kk_file_read(file, 1 << 20, &data, &len), 0);
		target((const uint8_t *)data, len);
		free(data);
		n++;
	}
	closedir(d);
	assert_true(n > 0);
}

#endif
