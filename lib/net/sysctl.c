// SPDX-License-Identifier: MIT
#include "net/net.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/file.h"

/* Whether the file holds @value already: then a read-only /proc/sys (containers) is no obstacle. */
static bool holds(const char *path, const char *value)
{
	KK_CLEANUP_FREE char *text = NULL;

	if (kk_file_read(path, 256, &text, NULL) < 0)
		return false;
	text[strcspn(text, "\n")] = '\0';
	return strcmp(text, value) == 0;
}

static int set(const char *family, const char *ifname, const char *key, const char *value,
	       struct kk_err *err)
{
	KK_CLEANUP_CLOSE int fd = -1;
	char path[PATH_MAX];
	ssize_t n;

	if (strchr(ifname, '/') || strchr(key, '/'))
		return kk_err_set(err, EINVAL, "interface", "%s is not an interface name", ifname);
	snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/%s", family, ifname, key);
	if (holds(path, value))
		return 0;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return kk_err_set(err, errno, "interface", "cannot open %s: %s", path,
				  strerror(errno));
	n = write(fd, value, strlen(value));
	if (n != (ssize_t)strlen(value)) {
		int error = n < 0 ? errno : EIO;

		return kk_err_set(err, error, "interface", "cannot write %s to %s: %s", value, path,
				  strerror(error));
	}
	return 0;
}

int kk_net_sysctl4(const char *ifname, const char *key, const char *value, struct kk_err *err)
{
	return set("ipv4", ifname, key, value, err);
}

int kk_net_sysctl6(const char *ifname, const char *key, const char *value, struct kk_err *err)
{
	return set("ipv6", ifname, key, value, err);
}
