// SPDX-License-Identifier: MIT
#include "bpf/bpffs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <linux/magic.h>

#include "util/cleanup.h"
#include "util/file.h"

#define BPFFS "/sys/fs/bpf"

static bool is_bpffs(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && fs.f_type == BPF_FS_MAGIC;
}

/*
 * A second mount would hide the pins of the first, so callers take turns at the directory below it.
 */
static int mount_bpffs(struct kk_err *err)
{
	KK_CLEANUP_CLOSE int fd = -1;

	if (is_bpffs(BPFFS))
		return 0;
	fd = open(BPFFS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return kk_err_set(err, errno, NULL, "cannot open %s: %s", BPFFS, strerror(errno));
	if (flock(fd, LOCK_EX) < 0)
		return kk_err_set(err, errno, NULL, "cannot lock %s: %s", BPFFS, strerror(errno));
	if (is_bpffs(BPFFS))
		return 0;
	if (mount("bpf", BPFFS, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") < 0)
		return kk_err_set(err, errno, NULL, "cannot mount a bpffs at %s: %s", BPFFS,
				  strerror(errno));
	return 0;
}

static bool is_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

int kk_bpffs_mkdir(const char *path, struct kk_err *err)
{
	int r;

	if (is_below(path, BPFFS)) {
		r = mount_bpffs(err);
		if (r < 0)
			return r;
	}
	r = kk_mkdir_p(path, 0700);
	if (r < 0)
		return kk_err_set(err, -r, "pin-dir", "cannot make directory %s: %s", path,
				  strerror(-r));
	if (!is_bpffs(path)) {
		rmdir(path);
		return kk_err_set(err, EINVAL, "pin-dir", "%s is not in a bpffs", path);
	}
	return 0;
}

static int no_room(const char *path, struct kk_err *err)
{
	return kk_err_set(err, ENAMETOOLONG, "pin-dir", "path %s is too long", path);
}

/* Calls @act with the path of every entry of directory @path whose name begins with @prefix. */
static int for_each_entry(const char *path, const char *prefix, const char *keep,
			  int (*act)(const char *path, struct kk_err *err), struct kk_err *err)
{
	const struct dirent *entry;
	char child[PATH_MAX];
	DIR *dir;
	int r = 0;

	dir = opendir(path);
	if (!dir && errno == ENOENT)
		return 0;
	if (!dir)
		return kk_err_set(err, errno, "pin-dir", "cannot read %s: %s", path,
				  strerror(errno));
	while (r == 0 && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0 ||
		    strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (snprintf(child, sizeof(child), "%s/%s", path, entry->d_name) >=
		    (int)sizeof(child))
			r = no_room(path, err);
		else if (!keep || strcmp(child, keep) != 0)
			r = act(child, err);
	}
	closedir(dir);
	return r;
}

static int remove_pin(const char *path, struct kk_err *err)
{
	if (unlink(path) < 0 && errno != ENOENT)
		return kk_err_set(err, errno, "pin-dir", "cannot remove %s: %s", path,
				  strerror(errno));
	return 0;
}

int kk_bpffs_remove(const char *path, struct kk_err *err)
{
	int r = for_each_entry(path, "", NULL, remove_pin, err);

	if (r < 0)
		return r;
	if (rmdir(path) < 0 && errno != ENOENT)
		return kk_err_set(err, errno, "pin-dir", "cannot remove %s: %s", path,
				  strerror(errno));
	return 0;
}

int kk_bpffs_remove_all(const char *path, const char *prefix, const char *keep, struct kk_err *err)
{
	struct stat st;

	if (stat(path, &st) == 0 && !is_bpffs(path))
		return kk_err_set(err, EINVAL, "pin-dir", "%s is not in a bpffs", path);
	return for_each_entry(path, prefix, keep, kk_bpffs_remove, err);
}
