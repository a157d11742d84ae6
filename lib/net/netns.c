// SPDX-License-Identifier: MIT
#include "net/net.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/nsfs.h>

#include "util/cleanup.h"
#include "util/file.h"
#include "util/log.h"

#define NETNS_DIR  "/run/netns"
#define NETNS_SELF "/proc/thread-self/ns/net"

static int netns_path(const char *name, char path[PATH_MAX], struct kk_err *err)
{
	if (!name[0] || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
	    strlen(name) > NAME_MAX)
		return kk_err_set(err, EINVAL, "netns",
				  "\"%.64s\" is not the name of a network namespace", name);
	snprintf(path, PATH_MAX, NETNS_DIR "/%s", name);
	return 0;
}

/*
 * Mounts below the directory must reach every mount namespace, and removal must too; so it is made a shared
 * mount of its own, as ip-netns(8) does.
 */
static int share_dir(struct kk_err *err)
{
	int r = kk_mkdir_p(NETNS_DIR, 0755);

	if (r < 0)
		return kk_err_set(err, -r, "netns", "cannot make " NETNS_DIR ": %s", strerror(-r));
	if (mount("", NETNS_DIR, "none", MS_SHARED | MS_REC, NULL) == 0)
		return 0;
	if (errno == EINVAL && mount(NETNS_DIR, NETNS_DIR, "none", MS_BIND | MS_REC, NULL) == 0 &&
	    mount("", NETNS_DIR, "none", MS_SHARED | MS_REC, NULL) == 0)
		return 0;
	return kk_err_set(err, errno, "netns", "cannot make " NETNS_DIR " a shared mount: %s",
			  strerror(errno));
}

/* Leaves a fresh namespace with loopback up, mounted at @path; called inside that fresh namespace. */
static int furnish(const char *path, struct kk_err *err)
{
	KK_CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0444);
	int r;

	if (fd < 0)
		return kk_err_set(err, errno, "netns", "cannot make %s: %s", path, strerror(errno));
	r = kk_net_link_set("lo", true, 0, err);
	if (r == 0 && mount(NETNS_SELF, path, "none", MS_BIND, NULL) < 0)
		r = kk_err_set(err, errno, "netns", "cannot mount a network namespace at %s: %s",
			       path, strerror(errno));
	if (r < 0)
		unlink(path);
	return r;
}

static int make(const char *path, struct kk_err *err)
{
	int back = open(NETNS_SELF, O_RDONLY | O_CLOEXEC), r;

	if (back < 0)
		return kk_err_set(err, errno, "netns", "cannot open " NETNS_SELF ": %s",
				  strerror(errno));
	if (unshare(CLONE_NEWNET) < 0) {
		kk_close(back);
		return kk_err_set(err, errno, "netns", "cannot make a network namespace: %s",
				  strerror(errno));
	}
	r = furnish(path, err);
	kk_netns_leave(&back);
	return r;
}

/* A descriptor of the namespace mounted at @path; -ENOENT also where the file is there but no mount on it. */
static int open_existing(const char *path)
{
	KK_CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	/* Someone died between making the file and mounting on it. */
	if (ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET)
		return -ENOENT;
	return kk_steal_fd(&fd);
}

int kk_netns_open(const char *name, bool *ret_made, struct kk_err *err)
{
	char path[PATH_MAX];
	int fd, r;

	r = netns_path(name, path, err);
	if (r < 0)
		return r;
	fd = open_existing(path);
	if (fd >= 0) {
		*ret_made = false;
		return fd;
	}
	if (fd != -ENOENT)
		return kk_err_set(err, -fd, "netns", "cannot open %s: %s", path, strerror(-fd));
	r = share_dir(err);
	if (r == 0)
		r = make(path, err);
	if (r < 0)
		return r;
	fd = open_existing(path);
	if (fd < 0)
		return kk_err_set(err, -fd, "netns", "cannot open %s: %s", path, strerror(-fd));
	*ret_made = true;
	return fd;
}

int kk_netns_del(const char *name, struct kk_err *err)
{
	char path[PATH_MAX];
	int r;

	r = netns_path(name, path, err);
	if (r < 0)
		return r;
	if (umount2(path, MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT)
		return kk_err_set(err, errno, "netns", "cannot unmount %s: %s", path,
				  strerror(errno));
	if (unlink(path) < 0 && errno != ENOENT)
		return kk_err_set(err, errno, "netns", "cannot remove %s: %s", path,
				  strerror(errno));
	return 0;
}

int kk_netns_enter(int netns_fd)
{
	KK_CLEANUP_CLOSE int back = open(NETNS_SELF, O_RDONLY | O_CLOEXEC);

	if (back < 0 || setns(netns_fd, CLONE_NEWNET) < 0)
		return -errno;
	return kk_steal_fd(&back);
}

void kk_netns_leave(int *back_fd)
{
	if (*back_fd < 0)
		return;
	/* To go on in the wrong namespace would publish or tear down the wrong things. */
	if (setns(*back_fd, CLONE_NEWNET) < 0) {
		kk_error("cannot return to the network namespace: %s", strerror(errno));
		abort();
	}
	*back_fd = kk_close(*back_fd);
}
