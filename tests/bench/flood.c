// SPDX-License-Identifier: MIT
/*
 * flood ADDRESS PORT KIND SECONDS [PUBLIC-KEY [RATE]]: datagrams as fast as they go, or RATE a second, to one place;
 * prints how many were sent. KIND: junk (random bytes, 100 to 355 of them), short (one byte), typed (random, but for a
 * data message's type), data (as typed, of one size so that the kernel joins them), handshakes (initiations with a
 * good first MAC for the PUBLIC-KEY in hex).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "util/encode.h"
#include "wg/cookie.h"
#include "wg/crypto.h"
#include "wg/message.h"

#define BATCH	64
#define PACKETS 256
#define LONGEST 1452

static uint8_t data[PACKETS][LONGEST];
static struct iovec iov[PACKETS];
static struct mmsghdr messages[PACKETS];

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void make_initiation(struct wg_cookie_maker *m, uint8_t *out)
{
	uint32_t type = htole32(WG_MSG_INITIATION);

	memcpy(out, &type, sizeof(type));
	wg_cookie_sign(m, out, sizeof(struct wg_msg_initiation), 1);
}

static size_t make(const char *kind, struct wg_cookie_maker *m, unsigned int i)
{
	uint32_t type = htole32(WG_MSG_DATA);

	if (getrandom(data[i], LONGEST, 0) != LONGEST)
		exit(1);
	if (strcmp(kind, "short") == 0)
		return 1;
	if (strcmp(kind, "handshakes") == 0) {
		make_initiation(m, data[i]);
		return sizeof(struct wg_msg_initiation);
	}
	if (strcmp(kind, "junk") != 0)
		memcpy(data[i], &type, sizeof(type));
	return strcmp(kind, "data") == 0 ? LONGEST : 100 + i;
}

static int usage(void)
{
	fprintf(stderr, "Usage: flood ADDRESS PORT junk|short|typed|data|handshakes SECONDS "
			"[PUBLIC-KEY [RATE]]\n");
	return 2;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	struct wg_cookie_maker maker;
	uint8_t key[WG_KEY_LEN] = {0};
	double rate = argc > 6 ? atof(argv[6]) : 1e9, start, end;
	unsigned long sent = 0;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (argc < 5 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1 ||
	    (argc > 5 && kk_unhex(argv[5], key, sizeof(key)) < 0))
		return usage();
	to.sin_port = htons((uint16_t)atoi(argv[2]));
	if (wg_crypto_init() < 0 || fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		return 1;
	wg_cookie_maker_init(&maker, key);
	for (unsigned int i = 0; i < PACKETS; i++) {
		iov[i] = (struct iovec){data[i], make(argv[3], &maker, i)};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
	}
	start = seconds();
	end = start + atof(argv[4]);
	for (double now = start; now < end; now = seconds()) {
		double ahead = (double)sent / rate - (now - start);
		int n;

		if (ahead > 0)
			usleep((useconds_t)(ahead * 1e6) + 1);
		n = sendmmsg(fd, messages + sent % PACKETS / BATCH * BATCH, BATCH, 0);
		/* A refused one (nobody listens) is counted with the next. */
		if (n > 0)
			sent += (unsigned long)n;
		else if (errno != ECONNREFUSED && errno != EAGAIN && errno != ENOBUFS)
			return 1;
	}
	printf("%lu\n", sent);
	return 0;
}
