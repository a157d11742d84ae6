// SPDX-License-Identifier: MIT
#include "wgctl/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "util/cleanup.h"

#define START_MS      5000
#define START_STEP_MS 10

/* Whether @dir/@name is a program; then its path is in @ret. */
static bool is_program(const char *dir, int dir_len, const char *name, char *ret, size_t len)
{
	int n = snprintf(ret, len, "%.*s/%s", dir_len, dir, name);

	return n > 0 && (size_t)n < len && access(ret, X_OK) == 0;
}

static bool find_in_path(const char *name, char *ret, size_t len)
{
	const char *path = getenv("PATH");

	if (!path)
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	while (*path) {
		size_t n = strcspn(path, ":");

		if (n && path[0] == '/' && is_program(path, (int)n, name, ret, len))
			return true;
		path += n + (path[n] == ':');
	}
	return false;
}

static bool find_beside_us(const char *name, char *ret, size_t len)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n <= 0)
		return false;
	self[n] = '\0';
	return is_program(self, (int)(strrchr(self, '/') - self), name, ret, len);
}

int wgctl_engine_program(const char *engine, char *ret, size_t len, struct kk_err *err)
{
	if (engine && strchr(engine, '/')) {
		char path[PATH_MAX];

		if (!realpath(engine, path) || access(path, X_OK) < 0)
			return kk_err_set(err, errno, "engine", "%s cannot be run: %s", engine,
					  strerror(errno));
		if (strlen(path) >= len)
			return kk_err_set(err, ENAMETOOLONG, "engine", "%s: the path is too long",
					  engine);
		strcpy(ret, path);
		return 0;
	}
	if (engine) {
		if (find_in_path(engine, ret, len))
			return 0;
		return kk_err_set(err, ENOENT, "engine", "there is no program %s in PATH", engine);
	}
	if (find_beside_us("kkwg", ret, len) || find_in_path("kkwg", ret, len) ||
	    find_in_path("wireguard-go", ret, len))
		return 0;
	return kk_err_set(
		err, ENOENT, "engine",
		"there is no WireGuard engine: neither kkwg nor wireguard-go is installed");
}

/* What the helper process reports: the engine's number, then, only if it failed, why. */
struct report {
	pid_t pid;
	int error;
};

static void tell(int fd, pid_t pid, int error)
{
	struct report report = {pid, error};

	if (write(fd, &report, sizeof(report)) != sizeof(report))
		_exit(127);
}

/* Becomes the engine; it shares nothing with us, so that our end is not its own. */
static void become_engine(const char *ifname, const char *program, int report_fd)
{
	char *const argv[] = {(char *)program, (char *)"-f", (char *)ifname, NULL};
	int null = open("/dev/null", O_RDWR);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	if (null < 0 || chdir("/") < 0 || dup2(null, STDIN_FILENO) < 0 ||
	    dup2(null, STDOUT_FILENO) < 0 ||
	    /* The journal stays there after us; a terminal or a pipe may not. */
	    (!getenv("JOURNAL_STREAM") && dup2(null, STDERR_FILENO) < 0) ||
	    close_range(STDERR_FILENO + 1, UINT_MAX, CLOSE_RANGE_CLOEXEC) < 0) {
		tell(report_fd, getpid(), errno);
		_exit(127);
	}
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	/* wireguard-go declines to run without it where the kernel could do its work. */
	setenv("WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD", "1", 1);
	execv(program, argv);
	tell(report_fd, getpid(), errno);
	_exit(127);
}

/* Forks twice: the engine is a child of init in a session of its own. Returns a pidfd of it. */
static int spawn(const char *ifname, const char *program, struct kk_err *err)
{
	struct report report = {0};
	int fds[2], status, pidfd;
	pid_t helper;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return kk_err_set(err, errno, NULL, "cannot make a pipe: %s", strerror(errno));
	helper = fork();
	if (helper < 0) {
		int error = errno;

		kk_close(fds[0]);
		kk_close(fds[1]);
		return kk_err_set(err, error, NULL, "cannot fork: %s", strerror(error));
	}
	if (helper == 0) {
		pid_t engine;

		setsid();
		engine = fork();
		if (engine == 0)
			become_engine(ifname, program, fds[1]);
		tell(fds[1], engine, engine < 0 ? errno : 0);
		_exit(0);
	}
	kk_close(fds[1]);
	while (waitpid(helper, &status, 0) < 0 && errno == EINTR)
		;
	/* One report of the helper, and one of the engine if it could not become one. In either order. */
	pidfd = -ECHILD;
	while (read(fds[0], &report, sizeof(report)) == sizeof(report)) {
		if (report.error) {
			kk_close(fds[0]);
			if (pidfd >= 0)
				kk_close(pidfd);
			return kk_err_set(err, report.error, "engine", "cannot start %s: %s",
					  program, strerror(report.error));
		}
		pidfd = pidfd_open(report.pid, 0);
		if (pidfd < 0)
			pidfd = -errno;
	}
	kk_close(fds[0]);
	if (pidfd < 0)
		return kk_err_set(err, -pidfd, "engine", "%s ended at once", program);
	return pidfd;
}

int wgctl_engine_start(const char *ifname, const char *program, struct kk_err *err)
{
	KK_CLEANUP_CLOSE int pidfd = -1;
	struct pollfd p = {.events = POLLIN};

	if (access("/dev/net/tun", R_OK | W_OK) < 0)
		return kk_err_set(
			err, errno, "tunnel",
			"userspace WireGuard needs /dev/net/tun, which cannot be opened: %s",
			strerror(errno));
	pidfd = spawn(ifname, program, err);
	if (pidfd < 0)
		return pidfd;
	p.fd = pidfd;
	for (int ms = 0; ms < START_MS; ms += START_STEP_MS) {
		int fd = wgctl_engine_connect(ifname);

		if (fd >= 0) {
			kk_close(fd);
			return 0;
		}
		if (poll(&p, 1, START_STEP_MS) > 0)
			return kk_err_set(
				err, ECHILD, "engine",
				"%s -f %s ended before it served; run it by hand to see why",
				program, ifname);
	}
	pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
	return kk_err_set(err, ETIMEDOUT, "engine", "%s did not begin to serve %s within %d s",
			  program, ifname, START_MS / 1000);
}
