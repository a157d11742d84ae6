/* SPDX-License-Identifier: MIT */
/* A directory for one test, in memory where that can be: a commit then waits for no disk. */
#ifndef KK_TESTS_CONTROLD_TEMPORARY_H
#define KK_TESTS_CONTROLD_TEMPORARY_H

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../kk_test.h"

struct temporary {
	char dir[64];
	char path[PATH_MAX]; /* of the last temporary_path() */
};

static inline void temporary_make(struct temporary *t)
{
	strcpy(t->dir,
	       access("/dev/shm", W_OK) == 0 ? "/dev/shm/kk-test-XXXXXX" : "/tmp/kk-test-XXXXXX");
	assert_non_null(mkdtemp(t->dir));
}

static inline const char *temporary_path(struct temporary *t, const char *name)
{
	snprintf(t->path, sizeof(t->path), "%s/%s", t->dir, name);
	return t->path;
}

static inline void temporary_remove(struct temporary *t)
{
	DIR *dir = opendir(t->dir);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		unlink(temporary_path(t, entry->d_name));
	if (dir)
		closedir(dir);
	assert_int_equal(rmdir(t->dir), 0);
}

#endif
