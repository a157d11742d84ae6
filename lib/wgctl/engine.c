// SPDX-License-Identifier: MIT
#include "wgctl/engine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/net.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/log.h"

/* Where the cross-platform interface puts its sockets. */
#define SOCKET_DIR "/var/run/wireguard"

#define STOP_SELF_MS 1000 /* for an engine that has begun to end by itself */
#define STOP_TERM_MS 3000
#define STOP_KILL_MS 2000
#define STOP_LINK_MS 3000

static void socket_path(const char *ifname, struct sockaddr_un *ret)
{
	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(ret->sun_path, sizeof(ret->sun_path), SOCKET_DIR "/%s.sock", ifname);
}

int wgctl_engine_connect(const char *ifname)
{
	KK_CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval patience = {.tv_sec = 5};
	struct sockaddr_un address;

	if (fd < 0)
		return -errno;
	socket_path(ifname, &address);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0 ||
	    connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return kk_steal_fd(&fd);
}

/* Who called listen() on the other end of @fd; 0 if that is not to be known. */
static pid_t listener_pid(int fd)
{
	struct ucred cred = {0};
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return 0;
	return cred.pid;
}

enum tun_state {
	TUN_UNKNOWN, /* we may not look */
	TUN_NONE,    /* the process has no TUN descriptor: an engine that ends has given it up */
	TUN_LOST,    /* it has one, but the interface behind it is gone */
	TUN_SERVED,
};

/* What one descriptor of a process says: TUN descriptors name their interface ("iff:"). */
static enum tun_state descriptor_state(const char *path)
{
	KK_CLEANUP_FREE char *text = NULL;
	const char *line;
	int r = kk_file_read(path, 65536, &text, NULL);

	/* It may be closed meanwhile. */
	if (r < 0)
		return r == -ENOENT ? TUN_NONE : TUN_UNKNOWN;
	line = strstr(text, "\niff:");
	if (!line)
		return TUN_NONE;
	line += strlen("\niff:");
	line += strspn(line, " \t");
	return *line && *line != '\n' ? TUN_SERVED : TUN_LOST;
}

static enum tun_state process_state(pid_t pid)
{
	enum tun_state state = TUN_NONE;
	struct dirent *entry;
	bool hidden = false;
	char path[PATH_MAX];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo", (int)pid);
	dir = opendir(path);
	if (!dir)
		return TUN_UNKNOWN;
	while (state != TUN_SERVED && (entry = readdir(dir))) {
		enum tun_state one;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/fdinfo/%s", (int)pid, entry->d_name);
		one = descriptor_state(path);
		if (one > state)
			state = one;
		hidden |= one == TUN_UNKNOWN;
	}
	closedir(dir);
	return state == TUN_NONE && hidden ? TUN_UNKNOWN : state;
}

/* Waits for the end of the process behind @pidfd. */
static bool ended(int pidfd, int timeout_ms)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, timeout_ms) > 0;
}

/*
 * The process that serves the connection @fd, as a descriptor, or -1. That the connection stands after the
 * descriptor was made shows that the number has not gone to another process meanwhile.
 */
static int server_pidfd(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	pid_t pid = listener_pid(fd);
	int pidfd;

	if (pid <= 0 || pid == getpid())
		return -1;
	pidfd = pidfd_open(pid, 0);
	if (pidfd >= 0 && poll(&p, 1, 0) != 0)
		return kk_close(pidfd);
	return pidfd;
}

static int end_process(int pidfd, pid_t pid, struct kk_err *err)
{
	if (pidfd_send_signal(pidfd, SIGTERM, NULL, 0) < 0 && errno != ESRCH)
		return kk_err_set(err, errno, "tunnel", "cannot end the engine (process %d): %s",
				  (int)pid, strerror(errno));
	if (ended(pidfd, STOP_TERM_MS))
		return 0;
	kk_warn("the engine (process %d) does not end by itself and is killed", (int)pid);
	pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
	if (!ended(pidfd, STOP_KILL_MS))
		return kk_err_set(err, ETIMEDOUT, "tunnel",
				  "the engine (process %d) could not be killed", (int)pid);
	return 0;
}

static void remove_socket(const char *ifname)
{
	struct sockaddr_un address;

	socket_path(ifname, &address);
	if (unlink(address.sun_path) < 0 && errno != ENOENT)
		kk_warn("cannot remove %s: %s", address.sun_path, strerror(errno));
}

/* Whether the engine has nothing to serve any more; then it has ended. Negative where it could not be ended. */
static int end_useless(int fd, const char *ifname, struct kk_err *err)
{
	KK_CLEANUP_CLOSE int pidfd = server_pidfd(fd);
	pid_t pid = listener_pid(fd);
	enum tun_state state = pid > 0 ? process_state(pid) : TUN_UNKNOWN;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int r;

	/* The connection is gone already, and so is the engine. */
	if (pidfd < 0 && poll(&p, 1, 0) > 0)
		return 1;
	if (pidfd < 0 || state == TUN_UNKNOWN || state == TUN_SERVED)
		return 0;
	if (state == TUN_NONE && ended(pidfd, STOP_SELF_MS))
		return 1;
	kk_warn("the engine of %s (process %d) has lost its interface and is ended", ifname,
		(int)pid);
	r = end_process(pidfd, pid, err);
	return r < 0 ? r : 1;
}

int wgctl_engine_find(const char *ifname, struct kk_err *err)
{
	KK_CLEANUP_CLOSE int fd = wgctl_engine_connect(ifname);
	int r;

	if (fd == -ENOENT)
		return 0;
	if (fd == -ECONNREFUSED) {
		kk_debug("removing the socket that a dead engine of %s left", ifname);
		remove_socket(ifname);
		return 0;
	}
	if (fd < 0)
		return kk_err_set(err, -fd, "tunnel", "cannot reach the engine of %s: %s", ifname,
				  strerror(-fd));
	r = end_useless(fd, ifname, err);
	if (r < 0)
		return r;
	if (r > 0)
		remove_socket(ifname);
	return !r;
}

int wgctl_engine_stop(const char *ifname, struct kk_err *err)
{
	KK_CLEANUP_CLOSE int fd = wgctl_engine_connect(ifname);
	KK_CLEANUP_CLOSE int pidfd = fd >= 0 ? server_pidfd(fd) : -1;
	pid_t pid = fd >= 0 ? listener_pid(fd) : 0;
	int r = 0;

	if (pidfd >= 0 && process_state(pid) >= TUN_LOST)
		r = end_process(pidfd, pid, err);
	/* Engines also end when their socket is removed: the way for one that cannot be told by its process. */
	remove_socket(ifname);
	for (int ms = 0; r == 0 && kk_net_ifindex(ifname) > 0; ms += 20) {
		if (ms >= STOP_LINK_MS) {
			r = kk_net_link_del(ifname, err);
			break;
		}
		poll(NULL, 0, 20);
	}
	/*
	 * One that has given up its interface already, and so could not be told by it, still holds its socket, and
	 * removes it by name as the last thing it does: that must not be the socket of the next engine.
	 */
	if (r == 0 && pidfd >= 0 && !ended(pidfd, STOP_TERM_MS))
		kk_warn("the engine of %s (process %d) goes on without its interface", ifname,
			(int)pid);
	remove_socket(ifname);
	return r;
}
