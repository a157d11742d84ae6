// SPDX-License-Identifier: MIT
/* Two ends over a socket pair: messages of all sizes, pings, bounds, and every way to end. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <systemd/sd-event.h>

#include "util/cleanup.h"
#include "ws/ws.h"

struct end {
	int fd;
	struct kk_ws *ws;
	bool echo, free_in_message, free_in_closed;
	unsigned int messages, closed;
	size_t last_len;
	char *last;
	char reason[192];
	size_t send_max; /* bytes a call of send takes, 0: no bound */
};

struct world {
	sd_event *event;
	struct end server, client;
};

static ssize_t end_recv(void *buf, size_t len, void *userdata)
{
	struct end *e = userdata;
	ssize_t n = recv(e->fd, buf, len, MSG_DONTWAIT);

	return n < 0 ? -errno : n;
}

static ssize_t end_send(const void *buf, size_t len, void *userdata)
{
	struct end *e = userdata;
	size_t max = e->send_max && e->send_max < len ? e->send_max : len;
	ssize_t n = send(e->fd, buf, max, MSG_DONTWAIT | MSG_NOSIGNAL);

	return n < 0 ? -errno : n;
}

static void end_message(struct kk_ws *ws, const char *text, size_t len, void *userdata)
{
	struct end *e = userdata;

	e->messages++;
	e->last_len = len;
	free(e->last);
	e->last = malloc(len + 1);
	assert_non_null(e->last);
	memcpy(e->last, text, len + 1);
	if (e->echo)
		assert_int_equal(kk_ws_send(ws, text, len), 0);
	if (e->free_in_message) {
		kk_ws_free(ws);
		e->ws = NULL;
	}
}

static void end_closed(struct kk_ws *ws, const char *reason, void *userdata)
{
	struct end *e = userdata;

	e->closed++;
	snprintf(e->reason, sizeof(e->reason), "%s", reason);
	if (e->free_in_closed) {
		kk_ws_free(ws);
		e->ws = NULL;
	}
}

static void open_end(struct world *w, struct end *e, struct kk_ws_config config)
{
	config.fd = e->fd;
	config.server = e == &w->server;
	config.recv = end_recv;
	config.send = end_send;
	config.message = end_message;
	config.closed = end_closed;
	config.userdata = e;
	if (!config.message_max)
		config.message_max = 16 << 20;
	if (!config.queue_max)
		config.queue_max = 64 << 20;
	assert_int_equal(kk_ws_new(w->event, &config, &e->ws), 0);
}

static void make_world(struct world *w)
{
	int fds[2];

	*w = (struct world){0};
	assert_int_equal(sd_event_new(&w->event), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	w->server.fd = fds[0];
	w->client.fd = fds[1];
}

static void end_world(struct world *w)
{
	kk_ws_free(w->server.ws);
	kk_ws_free(w->client.ws);
	kk_close(w->server.fd);
	kk_close(w->client.fd);
	free(w->server.last);
	free(w->client.last);
	sd_event_unref(w->event);
}

/* Turns the loop until @value is at least @wanted, five seconds at most. */
static void run_until(struct world *w, const unsigned int *value, unsigned int wanted)
{
	uint64_t start, now;

	sd_event_now(w->event, CLOCK_MONOTONIC, &start);
	do {
		assert_true(sd_event_run(w->event, 100000) >= 0);
		sd_event_now(w->event, CLOCK_MONOTONIC, &now);
	} while (*value < wanted && now < start + 5000000);
	assert_int_equal(*value, wanted);
}

static char *text_of(size_t len)
{
	char *text = malloc(len + 1);

	assert_non_null(text);
	for (size_t i = 0; i < len; i++)
		text[i] = (char)('a' + (i * 7 + i / 251) % 26);
	text[len] = '\0';
	return text;
}

static void test_echo_of_all_sizes(void **state)
{
	static const size_t sizes[] = {0, 1, 125, 126, 65535, 65536, 1 << 20, 9 << 20};
	struct world w;

	(void)state;
	make_world(&w);
	open_end(&w, &w.server, (struct kk_ws_config){0});
	open_end(&w, &w.client, (struct kk_ws_config){0});
	w.server.echo = true;
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		KK_CLEANUP_FREE char *text = text_of(sizes[i]);

		assert_int_equal(kk_ws_send(w.client.ws, text, sizes[i]), 0);
		run_until(&w, &w.client.messages, i + 1);
		assert_int_equal(w.client.last_len, sizes[i]);
		assert_string_equal(w.client.last, text);
	}
	end_world(&w);
}

static void test_short_writes(void **state)
{
	KK_CLEANUP_FREE char *text = text_of(100000);
	struct world w;

	(void)state;
	make_world(&w);
	w.server.send_max = 777;
	w.client.send_max = 1;
	open_end(&w, &w.server, (struct kk_ws_config){0});
	open_end(&w, &w.client, (struct kk_ws_config){0});
	assert_int_equal(kk_ws_send(w.server.ws, text, 100000), 0);
	assert_int_equal(kk_ws_send(w.client.ws, text, 3000), 0);
	run_until(&w, &w.client.messages, 1);
	run_until(&w, &w.server.messages, 1);
	assert_string_equal(w.client.last, text);
	end_world(&w);
}

static void test_both_ways_at_once(void **state)
{
	KK_CLEANUP_FREE char *text = text_of(8 << 20);
	struct world w;

	(void)state;
	make_world(&w);
	open_end(&w, &w.server, (struct kk_ws_config){0});
	open_end(&w, &w.client, (struct kk_ws_config){0});
	for (int i = 0; i < 3; i++) {
		assert_int_equal(kk_ws_send(w.server.ws, text, 8 << 20), 0);
		assert_int_equal(kk_ws_send(w.client.ws, text, 8 << 20), 0);
	}
	run_until(&w, &w.server.messages, 3);
	run_until(&w, &w.client.messages, 3);
	assert_int_equal(w.client.last_len, 8 << 20);
	end_world(&w);
}

static void test_closing_handshake(void **state)
{
	struct world w;

	(void)state;
	make_world(&w);
	open_end(&w, &w.server, (struct kk_ws_config){0});
	open_end(&w, &w.client, (struct kk_ws_config){0});
	assert_int_equal(kk_ws_send(w.server.ws, "last words", 10), 0);
	kk_ws_close(w.server.ws, 1008, "the key was revoked");
	assert_int_equal(w.server.closed, 0);
	assert_int_equal(kk_ws_send(w.server.ws, "more", 4), -EPIPE);
	run_until(&w, &w.client.closed, 1);
	run_until(&w, &w.server.closed, 1);
	assert_int_equal(w.client.messages, 1);
	assert_string_equal(w.client.reason, "closed by the peer (1008: the key was revoked)");
	assert_string_equal(w.server.reason, "the key was revoked");
	end_world(&w);
}

static void test_close_without_answer(void **state)
{
	struct world w;

	(void)state;
	make_world(&w);
	open_end(&w, &w.server, (struct kk_ws_config){0});
	kk_ws_close(w.server.ws, 1000, "bye");
	for (int i = 0; i < 70 && !w.server.closed; i++)
		assert_true(sd_event_run(w.event, 100000) >= 0);
	assert_int_equal(w.server.closed, 1);
	end_world(&w);
}

static void test_peer_gone(void **state)
{
	struct world w;

	(void)state;
	make_world(&w);
	w.server.free_in_closed = true;
	open_end(&w, &w.server, (struct kk_ws_config){0});
	w.client.fd = kk_close(w.client.fd);
	/* The failure shows here already, but is told by the loop only. */
	kk_ws_send(w.server.ws, "x", 1);
	assert_int_equal(w.server.closed, 0);
	run_until(&w, &w.server.closed, 1);
	assert_null(w.server.ws);
	sd_event_run(w.event, 1000);
	assert_int_equal(w.server.closed, 1);
	end_world(&w);
}

static void test_free_inside_message(void **state)
{
	struct world w;

	(void)state;
	make_world(&w);
	w.server.free_in_message = true;
	open_end(&w, &w.server, (struct kk_ws_config){0});
	open_end(&w, &w.client, (struct kk_ws_config){0});
	assert_int_equal(kk_ws_send(w.client.ws, "one", 3), 0);
	assert_int_equal(kk_ws_send(w.client.ws, "two", 3), 0);
	run_until(&w, &w.server.messages, 1);
	sd_event_run(w.event, 1000);
	assert_int_equal(w.server.messages, 1);
	assert_int_equal(w.server.closed, 0);
	end_world(&w);
}

static void test_message_too_long(void **state)
{
	KK_CLEANUP_FREE char *text = text_of(1001);
	struct world w;

	(void)state;
	make_world(&w);
	open_end(&w, &w.server, (struct kk_ws_config){.message_max = 1000});
	open_end(&w, &w.client, (struct kk_ws_config){0});
	assert_int_equal(kk_ws_send(w.client.ws, text, 1000), 0);
	run_until(&w, &w.server.messages, 1);
	assert_int_equal(kk_ws_send(w.client.ws, text, 1001), 0);
	run_until(&w, &w.client.closed, 1);
	run_until(&w, &w.server.closed, 1);
	assert_int_equal(w.server.messages, 1);
	assert_string_equal(w.client.reason, "closed by the peer (1009)");
	assert_non_null(strstr(w.server.reason, "too long"));
	end_world(&w);
}

static void test_queue_bound(void **state)
{
	KK_CLEANUP_FREE char *text = text_of(1 << 20);
	struct world w;
	int r = 0, sent = 0;

	(void)state;
	make_world(&w);
	open_end(&w, &w.server, (struct kk_ws_config){.queue_max = 4 << 20});
	/* Nobody reads at the other end. */
	while (r == 0 && sent < 20)
		if ((r = kk_ws_send(w.server.ws, text, 1 << 20)) == 0)
			sent++;
	assert_int_equal(r, -ENOBUFS);
	assert_in_range(sent, 3, 6);
	assert_int_equal(kk_ws_send(w.server.ws, "x", 1), -EPIPE);
	run_until(&w, &w.server.closed, 1);
	assert_non_null(strstr(w.server.reason, "does not take"));
	end_world(&w);
}

/* A masked client frame with @len bytes of @payload, less than 126. */
static void send_frame(int fd, uint8_t head, const void *payload, uint8_t len)
{
	uint8_t frame[6 + 125] = {head, (uint8_t)(0x80 | len), 0, 0, 0, 0};

	memcpy(frame + 6, payload, len);
	assert_int_equal(send(fd, frame, 6u + len, MSG_NOSIGNAL), 6 + len);
}

static void test_flood_of_pings(void **state)
{
	uint8_t pings[600];
	struct world w;

	(void)state;
	for (size_t i = 0; i < sizeof(pings); i++)
		pings[i] = (uint8_t[]){0x89, 0x80, 0, 0, 0, 0}[i % 6];
	make_world(&w);
	open_end(&w, &w.server, (struct kk_ws_config){.queue_max = 100000});
	for (int i = 0; i < 100000 && !w.server.closed; i++) {
		send(w.client.fd, pings, sizeof(pings), MSG_DONTWAIT | MSG_NOSIGNAL);
		assert_true(sd_event_run(w.event, 0) >= 0);
	}
	assert_int_equal(w.server.closed, 1);
	assert_string_equal(w.server.reason, "the peer does not read its answers");
	end_world(&w);
}

static void check_breach(uint8_t head, const char *payload, const char *reason)
{
	struct world w;

	make_world(&w);
	open_end(&w, &w.server, (struct kk_ws_config){0});
	send_frame(w.client.fd, head, payload, (uint8_t)strlen(payload));
	run_until(&w, &w.server.closed, 1);
	assert_int_equal(w.server.messages, 0);
	assert_string_equal(w.server.reason, reason);
	end_world(&w);
}

static void test_breaches(void **state)
{
	(void)state;
	check_breach(0xf1, "reserved bits", "the peer broke the protocol");
	check_breach(0x83, "reserved opcode", "the peer broke the protocol");
	check_breach(0x80, "continues nothing", "the peer broke the protocol");
	check_breach(0x81, "\xff\xfe", "the peer sent text that is not UTF-8");
}

static void test_binary_refused(void **state)
{
	struct world w;

	(void)state;
	make_world(&w);
	open_end(&w, &w.server, (struct kk_ws_config){0});
	send_frame(w.client.fd, 0x82, "bin", 3);
	sd_event_run(w.event, 100000);
	sd_event_run(w.event, 100000);
	send_frame(w.client.fd, 0x88, "\x03\xeb", 2);
	run_until(&w, &w.server.closed, 1);
	assert_int_equal(w.server.messages, 0);
	assert_string_equal(w.server.reason, "only text is spoken here");
	end_world(&w);
}

static void test_pings_keep_a_quiet_line(void **state)
{
	uint64_t start, now;
	struct world w;

	(void)state;
	make_world(&w);
	open_end(&w, &w.server, (struct kk_ws_config){.ping_s = 1, .idle_s = 2});
	open_end(&w, &w.client, (struct kk_ws_config){.idle_s = 2});
	sd_event_now(w.event, CLOCK_MONOTONIC, &start);
	do {
		assert_true(sd_event_run(w.event, 100000) >= 0);
		sd_event_now(w.event, CLOCK_MONOTONIC, &now);
	} while (now < start + 3500000);
	assert_int_equal(w.server.closed, 0);
	assert_int_equal(w.client.closed, 0);
	end_world(&w);
}

static void test_silence_ends(void **state)
{
	struct world w;

	(void)state;
	make_world(&w);
	open_end(&w, &w.server, (struct kk_ws_config){.ping_s = 1, .idle_s = 2});
	run_until(&w, &w.server.closed, 1);
	assert_string_equal(w.server.reason, "nothing heard for 2 s");
	end_world(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_echo_of_all_sizes),
		cmocka_unit_test(test_short_writes),
		cmocka_unit_test(test_both_ways_at_once),
		cmocka_unit_test(test_closing_handshake),
		cmocka_unit_test(test_close_without_answer),
		cmocka_unit_test(test_peer_gone),
		cmocka_unit_test(test_free_inside_message),
		cmocka_unit_test(test_message_too_long),
		cmocka_unit_test(test_queue_bound),
		cmocka_unit_test(test_flood_of_pings),
		cmocka_unit_test(test_breaches),
		cmocka_unit_test(test_binary_refused),
		cmocka_unit_test(test_pings_keep_a_quiet_line),
		cmocka_unit_test(test_silence_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
