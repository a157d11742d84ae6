// SPDX-License-Identifier: MIT
#include "gatewayd/ports.h"

#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/file.h"

static bool holds(const char *pid, const char *wanted)
{
	char path[PATH_MAX], target[64];
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%.16s/fd", pid);
	dir = opendir(path);
	if (!dir)
		return false;
	while (!found && (entry = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);

		if (n <= 0)
			continue;
		target[n] = '\0';
		found = strcmp(target, wanted) == 0;
	}
	closedir(dir);
	return found;
}

static void describe(const char *pid, char *ret, size_t len)
{
	KK_CLEANUP_FREE char *name = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%.16s/comm", pid);
	if (kk_file_read(path, 256, &name, NULL) < 0)
		return;
	name[strcspn(name, "\n")] = '\0';
	snprintf(ret, len, "%.32s (process %.16s)", name, pid);
}

void ports_owner(uint32_t inode, char *ret, size_t len)
{
	char wanted[64];
	struct dirent *entry;
	DIR *proc;

	snprintf(ret, len, "another program");
	snprintf(wanted, sizeof(wanted), "socket:[%u]", inode);
	proc = inode ? opendir("/proc") : NULL;
	if (!proc)
		return;
	while ((entry = readdir(proc))) {
		if (!isdigit((unsigned char)entry->d_name[0]) || !holds(entry->d_name, wanted))
			continue;
		describe(entry->d_name, ret, len);
		break;
	}
	closedir(proc);
}
