// SPDX-License-Identifier: MIT
/*
 * New TCP connections: "connect serve ADDRESS PORT" answers 64 bytes with 64 bytes, "connect open ADDRESS PORT
 * SECONDS PARALLEL" opens, asks once, is answered and closes, so many at a time, and prints how many were answered.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SIZE   64
#define EVENTS 64
#define ONES   4096

/* How far each connection is, by its descriptor. */
static int received[65536];
static char sent[65536];

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int watch(int epoll, int op, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.fd = fd};

	return epoll_ctl(epoll, op, fd, &event);
}

static void adopt(int epoll, int fd, uint32_t events)
{
	const int one = 1;

	if (fd >= ONES || watch(epoll, EPOLL_CTL_ADD, fd, events) < 0) {
		close(fd);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	received[fd] = 0;
	sent[fd] = 0;
}

/* Returns 1 when all 64 bytes are there, 0 when not yet, -1 at the end of the connection. */
static int take(int fd)
{
	char buf[SIZE];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n <= 0)
		return -1;
	received[fd] += (int)n;
	return received[fd] >= SIZE;
}

static int give(int fd)
{
	static const char buf[SIZE];

	return send(fd, buf, SIZE, MSG_NOSIGNAL | MSG_DONTWAIT) == SIZE ? 0 : -1;
}

static void accept_all(int epoll, int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
		adopt(epoll, fd, EPOLLIN);
}

static int serve(const struct sockaddr_in *addr)
{
	int one = 1, epoll = epoll_create1(0);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (const struct sockaddr *)addr, sizeof(*addr)) < 0 ||
	    listen(listener, 4096) < 0 || watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN) < 0)
		return 1;
	for (;;) {
		struct epoll_event events[EVENTS];
		int n = epoll_wait(epoll, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd, r;

			if (fd == listener) {
				accept_all(epoll, listener);
				continue;
			}
			r = take(fd);
			if (r < 0 || (r > 0 && (received[fd] = 0, give(fd)) < 0))
				close(fd);
		}
	}
}

static void begin(int epoll, const struct sockaddr_in *addr)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return;
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 && errno != EINPROGRESS)
		close(fd);
	else
		adopt(epoll, fd, EPOLLIN | EPOLLOUT);
}

/* Returns 0 while it goes on, 1 when it was answered, -1 when it failed. */
static int step(int epoll, int fd, uint32_t happened)
{
	if (!sent[fd]) {
		if (happened & (EPOLLERR | EPOLLHUP) || give(fd) < 0)
			return -1;
		sent[fd] = 1;
		watch(epoll, EPOLL_CTL_MOD, fd, EPOLLIN);
		return 0;
	}
	return take(fd);
}

static int open_many(const struct sockaddr_in *addr, double seconds, int parallel)
{
	int epoll = epoll_create1(0), done = 0, failed = 0;
	double start = now(), end = start + seconds, t;

	for (int i = 0; i < parallel; i++)
		begin(epoll, addr);
	while ((t = now()) < end) {
		struct epoll_event events[EVENTS];
		int n = epoll_wait(epoll, events, EVENTS, (int)((end - t) * 1e3) + 1);

		for (int i = 0; i < n; i++) {
			int r = step(epoll, events[i].data.fd, events[i].events);

			if (r == 0)
				continue;
			close(events[i].data.fd);
			done += r > 0;
			failed += r < 0;
			begin(epoll, addr);
		}
	}
	printf("%d %d %.3f\n", done, failed, now() - start);
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};

	if (argc < 4 || inet_pton(AF_INET, argv[2], &addr.sin_addr) != 1)
		return 2;
	addr.sin_port = htons((uint16_t)atoi(argv[3]));
	if (strcmp(argv[1], "serve") == 0)
		return serve(&addr);
	return argc < 6 ? 2 : open_many(&addr, atof(argv[4]), atoi(argv[5]));
}
