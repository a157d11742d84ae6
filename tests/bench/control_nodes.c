// SPDX-License-Identifier: MIT
/*
 * Plays the gateways and Agents of `make bench-control`: one process, one thread, an epoll loop, a TLS connection
 * and a WebSocket (RFC 6455) each, and the protocol as far as Control can tell.
 *
 *   control_nodes PORT KEYS   KEYS: a line a node, "gateway KEY" or "agent KEY"
 *
 * Takes commands, a line each, and prints what happens with CLOCK_MONOTONIC seconds:
 *   connect     connects all nodes that are not; "up T" when each has acknowledged all that it was sent
 *   report      every node sends a report of the size that it would have; "reported T"
 *   bytes       prints "bytes N": of all messages so far
 *   quit
 * and of itself "all GENERATION T" when every gateway has received it, and "everybody GENERATION T FIRST" when every
 * node has, the first of them at FIRST.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "proto/model.h"
#include "util/encode.h"

#define OPENING_MAX 512 /* connections that are being made at a time */
#define ADDRESSES   200 /* 127.0.1.1 ... that nodes come from */
#define READ_MAX    65536

struct node {
	bool gateway, up, open, opening;
	char key[64], public_key[KK_KEY_BASE64_LEN + 1], epoch[64];
	int fd;
	SSL *ssl;
	enum { TCP, TLS, UPGRADE, FRAMES } state;
	int64_t generation;
	char *in, *out;
	size_t in_len, in_size, out_len;
};

static struct node *nodes;
static size_t n_nodes, n_up, n_opening, n_gateways;
static int epoll_fd, port;
static SSL_CTX *ctx;
static int64_t all_generation, newest;
static size_t n_newest;	 /* nodes that have the newest generation, */
static double newest_at; /* since the first had it */
static uint64_t bytes;
static bool connecting;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void die(const char *what)
{
	fprintf(stderr, "control_nodes: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void watch(struct node *n, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = n};

	if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, n->fd, &event) < 0)
		die("epoll_ctl");
}

static void drop(struct node *n)
{
	if (n->opening)
		n_opening--;
	if (n->up)
		n_up--;
	SSL_free(n->ssl);
	if (n->fd >= 0)
		close(n->fd);
	free(n->in);
	free(n->out);
	n->ssl = NULL;
	n->fd = -1;
	n->in = n->out = NULL;
	n->in_len = n->in_size = n->out_len = 0;
	n->open = n->up = n->opening = false;
}

static void flush_out(struct node *n)
{
	while (n->out_len) {
		int r = SSL_write(n->ssl, n->out, (int)n->out_len);

		if (r <= 0)
			break;
		n->out_len -= (size_t)r;
		memmove(n->out, n->out + r, n->out_len);
	}
	if (!n->out_len) {
		free(n->out);
		n->out = NULL;
	}
	watch(n, EPOLLIN | (n->out_len ? EPOLLOUT : 0));
}

static void queue(struct node *n, const void *data, size_t len)
{
	n->out = realloc(n->out, n->out_len + len);
	if (!n->out)
		die("memory");
	memcpy(n->out + n->out_len, data, len);
	n->out_len += len;
}

/* One frame, masked with zeros, which changes nothing. */
static void send_frame(struct node *n, uint8_t opcode, const char *data, size_t len)
{
	uint8_t head[14] = {(uint8_t)(0x80 | opcode)};
	size_t at = 2;

	if (len < 126) {
		head[1] = (uint8_t)(0x80 | len);
	} else if (len < 65536) {
		head[1] = 0x80 | 126;
		head[2] = (uint8_t)(len >> 8);
		head[3] = (uint8_t)len;
		at = 4;
	} else {
		head[1] = 0x80 | 127;
		for (int i = 0; i < 8; i++)
			head[2 + i] = (uint8_t)((uint64_t)len >> (56 - 8 * i));
		at = 10;
	}
	queue(n, head, at + 4);
	queue(n, data, len);
	flush_out(n);
}

static void say_hello(struct node *n)
{
	char text[512], epoch[80] = "null";

	if (n->epoch[0])
		snprintf(epoch, sizeof(epoch), "\"%s\"", n->epoch);
	snprintf(text, sizeof(text),
		 "{\"type\":\"hello\",\"protocol\":1,\"model\":%d,\"version\":\"0\",\"epoch\":%s,"
		 "\"generation\":%lld,\"public_key\":\"%s\"}",
		 KK_MODEL, epoch, (long long)n->generation, n->public_key);
	send_frame(n, 1, text, strlen(text));
}

static int64_t number_after(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	return at ? atoll(at + strlen(key)) : 0;
}

/* Tells when the last gateway has what the others have. */
static void check_all(double at)
{
	int64_t least = INT64_MAX;

	for (size_t i = 0; i < n_gateways; i++)
		if (nodes[i].generation < least)
			least = nodes[i].generation;
	if (least <= all_generation || least == INT64_MAX)
		return;
	all_generation = least;
	printf("all %lld %.6f\n", (long long)least, at);
}

/* Tells when the last of all nodes has it. */
static void count_newest(int64_t before, int64_t generation, double at)
{
	if (generation > newest) {
		newest = generation;
		n_newest = 0;
		newest_at = at;
	}
	if (generation == newest && before != newest && ++n_newest == n_nodes)
		printf("everybody %lld %.6f %.6f\n", (long long)newest, at, newest_at);
}

static void on_message(struct node *n, const char *text, size_t len)
{
	const int64_t before = n->generation;
	char head[256], ack[64];
	const char *epoch;
	double at = now();

	bytes += len;
	snprintf(head, sizeof(head), "%.*s", len < 255 ? (int)len : 255, text);
	epoch = strstr(head, "\"epoch\":\"");
	if (epoch)
		snprintf(n->epoch, sizeof(n->epoch), "%.*s", (int)strcspn(epoch + 9, "\""),
			 epoch + 9);
	n->generation = number_after(head, "\"generation\":");
	snprintf(ack, sizeof(ack), "{\"type\":\"ack\",\"generation\":%lld}",
		 (long long)n->generation);
	send_frame(n, 1, ack, strlen(ack));
	if (n->gateway)
		check_all(at);
	count_newest(before, n->generation, at);
	if (!n->up) {
		n->up = true;
		n_up++;
	}
}

/* Takes the whole frames out of what was read. */
static void read_frames(struct node *n)
{
	for (;;) {
		const uint8_t *p = (const uint8_t *)n->in;
		uint64_t len;
		size_t at = 2;

		if (n->in_len < 2)
			return;
		len = p[1] & 127;
		if (len == 126 && n->in_len >= 4) {
			len = (uint64_t)p[2] << 8 | p[3];
			at = 4;
		} else if (len == 127 && n->in_len >= 10) {
			len = 0;
			for (int i = 0; i < 8; i++)
				len = len << 8 | p[2 + i];
			at = 10;
		} else if (len >= 126) {
			return;
		}
		if (n->in_len < at + len)
			return;
		if ((p[0] & 15) == 1)
			on_message(n, n->in + at, len);
		else if ((p[0] & 15) == 9)
			send_frame(n, 10, n->in + at, len);
		n->in_len -= at + len;
		memmove(n->in, n->in + at + len, n->in_len);
	}
}

static void upgraded(struct node *n)
{
	char *end = memmem(n->in, n->in_len, "\r\n\r\n", 4);
	size_t head;

	if (!end)
		return;
	if (n->in_len < 12 || memcmp(n->in + 9, "101", 3) != 0) {
		fprintf(stderr, "control_nodes: %.*s\n", (int)strcspn(n->in, "\r"), n->in);
		exit(1);
	}
	head = (size_t)(end - n->in) + 4;
	n->in_len -= head;
	memmove(n->in, n->in + head, n->in_len);
	n->state = FRAMES;
	n->opening = false;
	n->open = true;
	n_opening--;
	say_hello(n);
	/* Who has all already is sent nothing. */
	if (n->generation && !n->up) {
		n->up = true;
		n_up++;
	}
}

/* False when the connection has ended. */
static bool read_some(struct node *n)
{
	for (;;) {
		int r;

		if (n->in_size < n->in_len + READ_MAX) {
			n->in_size = (n->in_len + READ_MAX) * 2;
			n->in = realloc(n->in, n->in_size);
			if (!n->in)
				die("memory");
		}
		r = SSL_read(n->ssl, n->in + n->in_len, READ_MAX);
		if (r <= 0)
			return SSL_get_error(n->ssl, r) == SSL_ERROR_WANT_READ;
		n->in_len += (size_t)r;
		if (n->state == UPGRADE)
			upgraded(n);
		if (n->state == FRAMES)
			read_frames(n);
	}
}

static void ask_upgrade(struct node *n)
{
	char text[512];

	n->state = UPGRADE;
	snprintf(text, sizeof(text),
		 "GET /api/v1/node HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
		 "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
		 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
		 n->key);
	queue(n, text, strlen(text));
	flush_out(n);
}

static bool shake_hands(struct node *n)
{
	int r = SSL_connect(n->ssl), e;

	if (r == 1) {
		ask_upgrade(n);
		return true;
	}
	e = SSL_get_error(n->ssl, r);
	watch(n, e == SSL_ERROR_WANT_WRITE ? EPOLLOUT : EPOLLIN);
	return e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE;
}

static void on_event(struct node *n, uint32_t events)
{
	bool alive = true;

	if (n->fd < 0)
		return;
	if (n->state == TCP) {
		if (events & (EPOLLERR | EPOLLHUP)) {
			drop(n);
			return;
		}
		n->state = TLS;
	}
	if (n->state == TLS)
		alive = shake_hands(n);
	else if (events & EPOLLOUT)
		flush_out(n);
	if (alive && n->state >= UPGRADE && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		alive = read_some(n);
	if (!alive)
		drop(n);
	else if (!n->in_len) {
		free(n->in);
		n->in = NULL;
		n->in_size = 0;
	}
}

static void open_one(struct node *n)
{
	struct sockaddr_in own = {.sin_family = AF_INET}, to = {.sin_family = AF_INET};
	struct epoll_event event = {.events = EPOLLOUT, .data.ptr = n};
	int one = 1;

	own.sin_addr.s_addr = htonl(0x7f000101u + (uint32_t)((size_t)(n - nodes) % ADDRESSES));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	to.sin_port = htons((uint16_t)port);
	n->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (n->fd < 0 || bind(n->fd, (struct sockaddr *)&own, sizeof(own)) < 0)
		die("socket");
	setsockopt(n->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(n->fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS) {
		close(n->fd);
		n->fd = -1;
		return;
	}
	n->ssl = SSL_new(ctx);
	SSL_set_fd(n->ssl, n->fd);
	n->state = TCP;
	n->opening = true;
	n_opening++;
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, n->fd, &event) < 0)
		die("epoll_ctl");
}

static void open_more(void)
{
	static size_t at;

	for (size_t i = 0; i < n_nodes && n_opening < OPENING_MAX; i++) {
		at = (at + 1) % n_nodes;
		if (nodes[at].fd < 0)
			open_one(&nodes[at]);
	}
}

static void report(void)
{
	static const char agent[] =
		"{\"type\":\"report\",\"tunnel\":{\"kind\":\"userspace\",\"interface\":\"kk0\"},"
		"\"services\":[{\"id\":1,\"state\":\"ready\"},{\"id\":2,\"state\":\"ready\"}]}";
	char *text = malloc(n_nodes * 160 + 1024);
	size_t len;

	if (!text)
		die("memory");
	len = (size_t)sprintf(text, "{\"type\":\"report\",\"dataplane\":{\"kind\":\"tc\"},"
				    "\"ports_in_use\":[{\"protocol\":\"tcp\",\"port\":22},"
				    "{\"protocol\":\"udp\",\"port\":51820}],\"peers\":[");
	for (size_t i = n_gateways; i < n_nodes; i++)
		len += (size_t)sprintf(text + len,
				       "%s{\"agent\":%zu,\"last_handshake\":%ld,"
				       "\"rx_bytes\":%ld,\"tx_bytes\":%ld,"
				       "\"endpoint\":\"%ld.%ld.%ld.%ld:%ld\"}",
				       i > n_gateways ? "," : "", i - n_gateways + 1,
				       1700000000 + random() % 120, random(), random(),
				       random() % 223 + 1, random() % 256, random() % 256,
				       random() % 256, random() % 64512 + 1024);
	len += (size_t)sprintf(text + len, "]}");
	for (size_t i = 0; i < n_nodes; i++)
		if (nodes[i].open)
			send_frame(&nodes[i], 1, nodes[i].gateway ? text : agent,
				   nodes[i].gateway ? len : strlen(agent));
	free(text);
}

static void read_nodes(const char *path)
{
	FILE *f = fopen(path, "r");
	char role[16], key[64];
	uint8_t public_key[KK_KEY_LEN];

	if (!f)
		die(path);
	while (fscanf(f, "%15s %63s", role, key) == 2) {
		struct node *n = realloc(nodes, (n_nodes + 1) * sizeof(*nodes));

		if (!n || getrandom(public_key, sizeof(public_key), 0) != sizeof(public_key))
			die("memory");
		nodes = n;
		n = &nodes[n_nodes++];
		*n = (struct node){.fd = -1, .gateway = strcmp(role, "gateway") == 0};
		strcpy(n->key, key);
		kk_key_format(public_key, n->public_key);
		n_gateways += n->gateway;
	}
	fclose(f);
}

static void on_command(const char *line)
{
	if (strncmp(line, "connect", 7) == 0)
		connecting = true;
	else if (strncmp(line, "report", 6) == 0)
		report();
	else if (strncmp(line, "bytes", 5) == 0)
		printf("bytes %llu\n", (unsigned long long)bytes);
	else if (strncmp(line, "quit", 4) == 0)
		exit(0);
}

int main(int argc, char **argv)
{
	struct rlimit limit = {65536, 65536};
	struct epoll_event events[256], input = {.events = EPOLLIN};
	char line[256];

	if (argc != 3)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	setrlimit(RLIMIT_NOFILE, &limit);
	port = atoi(argv[1]);
	read_nodes(argv[2]);
	ctx = SSL_CTX_new(TLS_client_method());
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!ctx || epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &input) < 0)
		die("start");
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				      SSL_MODE_RELEASE_BUFFERS);
	for (;;) {
		int n = epoll_wait(epoll_fd, events, 256, connecting ? 20 : -1);

		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				on_event(events[i].data.ptr, events[i].events);
			else if (fgets(line, sizeof(line), stdin))
				on_command(line);
			else
				return 0;
		}
		if (!connecting)
			continue;
		open_more();
		if (n_up == n_nodes) {
			connecting = false;
			printf("up %.6f\n", now());
		}
	}
}
