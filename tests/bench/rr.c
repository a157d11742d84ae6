// SPDX-License-Identifier: MIT
/*
 * Request/response latency over TCP: "rr serve ADDRESS PORT" answers 64 bytes with 64 bytes,
 * "rr ask ADDRESS PORT SECONDS" prints count, p50, p99 in microseconds.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SIZE	64
#define SAMPLES (4 << 20)

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int whole(int fd, char *buf, int sending)
{
	for (int at = 0; at < SIZE;) {
		ssize_t n = sending ? send(fd, buf + at, (size_t)(SIZE - at), MSG_NOSIGNAL)
				    : recv(fd, buf + at, (size_t)(SIZE - at), 0);

		if (n <= 0)
			return -1;
		at += (int)n;
	}
	return 0;
}

static int serve(struct sockaddr_in *addr)
{
	int one = 1, l = socket(AF_INET, SOCK_STREAM, 0), fd;
	char buf[SIZE];

	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(l, (struct sockaddr *)addr, sizeof(*addr)) < 0 || listen(l, 4) < 0)
		return 1;
	while ((fd = accept(l, NULL, NULL)) >= 0) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		while (whole(fd, buf, 0) == 0 && whole(fd, buf, 1) == 0)
			;
		close(fd);
	}
	return 1;
}

static int compare(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

static int ask(struct sockaddr_in *addr, double seconds)
{
	float *samples = malloc(SAMPLES * sizeof(*samples));
	int one = 1, n = 0, fd = socket(AF_INET, SOCK_STREAM, 0);
	double end;
	char buf[SIZE] = {0};

	if (!samples || connect(fd, (struct sockaddr *)addr, sizeof(*addr)) < 0)
		return 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	end = now() + seconds * 1e6;
	for (double t = now(); t < end && n < SAMPLES; n++) {
		double after;

		if (whole(fd, buf, 1) < 0 || whole(fd, buf, 0) < 0)
			return 1;
		after = now();
		samples[n] = (float)(after - t);
		t = after;
	}
	if (!n)
		return 1;
	qsort(samples, (size_t)n, sizeof(*samples), compare);
	printf("%d %.1f %.1f\n", n, (double)samples[n / 2], (double)samples[(int)(n * 0.99)]);
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};

	if (argc < 4 || inet_pton(AF_INET, argv[2], &addr.sin_addr) != 1)
		return 2;
	addr.sin_port = htons((uint16_t)atoi(argv[3]));
	return strcmp(argv[1], "serve") == 0 ? serve(&addr)
					     : ask(&addr, argc > 4 ? atof(argv[4]) : 1);
}
