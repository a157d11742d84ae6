// SPDX-License-Identifier: MIT
#include "kkwg/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/wait.h>

#include "util/cleanup.h"
#include "util/log.h"

int daemon_start(void)
{
	int fds[2];
	pid_t pid;
	char ready;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid < 0) {
		kk_close(fds[0]);
		kk_close(fds[1]);
		return -errno;
	}
	if (pid > 0) {
		close(fds[1]);
		_exit(read(fds[0], &ready, 1) == 1 ? 0 : 1);
	}
	close(fds[0]);
	setsid();
	return fds[1];
}

void daemon_ready(int fd, bool log_here)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		if (!log_here) {
			kk_log_to_syslog();
			dup2(null, STDOUT_FILENO);
			dup2(null, STDERR_FILENO);
		}
		if (null > STDERR_FILENO)
			close(null);
	}
	if (chdir("/") < 0 || write(fd, "", 1) != 1)
		exit(1);
	close(fd);
}
