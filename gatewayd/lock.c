// SPDX-License-Identifier: MIT
#include "gatewayd/gateway.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>

#include "util/cleanup.h"

int gateway_lock(const char *state, bool make, struct kk_err *err)
{
	KK_CLEANUP_CLOSE int fd = -1;
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/lock", state) >= (int)sizeof(path))
		return kk_err_set(err, ENAMETOOLONG, "state", "state: the path is too long");
	fd = open(path, O_RDWR | O_CLOEXEC | (make ? O_CREAT : 0), 0600);
	if (fd < 0 && errno == ENOENT && !make)
		return -ENOENT;
	if (fd < 0)
		return kk_err_set(err, errno, "state", "cannot open %.200s: %s", path,
				  strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return kk_err_set(err, errno, "state",
				  "another kkgatewayd runs with %.200s; stop it first", state);
	return kk_steal_fd(&fd);
}
