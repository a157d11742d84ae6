// SPDX-License-Identifier: MIT
#include "agentd/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/cleanup.h"

#define PROGRAM "kkrelay"
#define LIBEXEC "/usr/libexec/kakuremichi/" PROGRAM

static int find_program(char *path, size_t len, struct kk_err *err)
{
	ssize_t n = readlink("/proc/self/exe", path, len - 1);
	char *slash;

	if (n > 0) {
		path[n] = '\0';
		slash = strrchr(path, '/');
		if ((size_t)snprintf(slash + 1, len - (size_t)(slash + 1 - path), PROGRAM) <
			    len - (size_t)(slash + 1 - path) &&
		    access(path, X_OK) == 0)
			return 0;
	}
	snprintf(path, len, LIBEXEC);
	if (access(path, X_OK) == 0)
		return 0;
	return kk_err_set(err, ENOENT, NULL,
			  "there is no " PROGRAM " beside kkagentd nor in " LIBEXEC);
}

/* Where the relay's log goes; the journal and files stay when the daemon goes. */
static int open_log(const char *run_dir)
{
	char path[PATH_MAX];
	struct stat st;

	if (getenv("JOURNAL_STREAM") || (fstat(STDERR_FILENO, &st) == 0 && S_ISREG(st.st_mode)))
		return dup(STDERR_FILENO);
	snprintf(path, sizeof(path), "%s/relay.log", run_dir);
	return open(path, O_WRONLY | O_CREAT | O_APPEND, 0640);
}

/* In the new process: becomes the relay, or tells why not. */
static void become(char *const argv[], const char *run_dir, int report_fd)
{
	int null = open("/dev/null", O_RDWR), log = open_log(run_dir), error;
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	if (null >= 0 && log >= 0 && chdir("/") == 0 && dup2(null, STDIN_FILENO) >= 0 &&
	    dup2(null, STDOUT_FILENO) >= 0 && dup2(log, STDERR_FILENO) >= 0 &&
	    close_range(STDERR_FILENO + 1, UINT_MAX, CLOSE_RANGE_CLOEXEC) == 0)
		execv(argv[0], argv);
	error = errno;
	if (write(report_fd, &error, sizeof(error)) != sizeof(error))
		_exit(127);
	_exit(126);
}

int spawn_relay(const char *socket_path, const char *run_dir, struct kk_err *err)
{
	char program[PATH_MAX];
	char *const argv[] = {program, (char *)"--socket", (char *)socket_path, NULL};
	int fds[2], error = 0, r = find_program(program, sizeof(program), err);
	pid_t child;

	if (r < 0)
		return r;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return kk_err_set(err, errno, NULL, "cannot make a pipe: %s", strerror(errno));
	child = fork();
	if (child == 0) {
		setsid();
		/* Forks twice: the relay is no child of ours, nor can it get a terminal. */
		if (fork() == 0)
			become(argv, run_dir, fds[1]);
		_exit(0);
	}
	error = child < 0 ? errno : 0;
	kk_close(fds[1]);
	while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	/* The pipe closes without a word when the relay's program has begun. */
	if (child > 0 && read(fds[0], &error, sizeof(error)) < 0)
		error = errno;
	kk_close(fds[0]);
	if (error)
		return kk_err_set(err, error, NULL, "cannot start %s: %s", program,
				  strerror(error));
	return 0;
}
