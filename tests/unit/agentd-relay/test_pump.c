// SPDX-License-Identifier: MIT
/* One direction of a connection, stepped by hand: near[0] - near[1] =(pump)=> far[0] - far[1]. */
#include "agentd/relay/pump.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <netinet/in.h>

#include "tests/unit/kk_test.h"
#include "util/cleanup.h"

struct world {
	int near[2], far[2];
	struct pipes pipes;
	struct pump pump;
};

/* A connected TCP pair: what the relay pumps between. */
static void tcp_pair(int pair[2])
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	KK_CLEANUP_CLOSE int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(addr);

	assert_int_equal(bind(listener, (struct sockaddr *)&addr, len), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
	assert_int_equal(listen(listener, 1), 0);
	pair[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(pair[0], (struct sockaddr *)&addr, len), 0);
	pair[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	for (int i = 0; i < 2; i++)
		assert_int_equal(fcntl(pair[i], F_SETFL, O_NONBLOCK), 0);
}

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	tcp_pair(w->near);
	tcp_pair(w->far);
	pipes_init(&w->pipes);
	w->pump = (struct pump){.from = w->near[1], .to = w->far[0], .thorough = true};
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	pump_clean(&w->pump, &w->pipes);
	pipes_clean(&w->pipes);
	for (int i = 0; i < 2; i++) {
		kk_close(w->near[i]);
		kk_close(w->far[i]);
	}
	free(w);
	return 0;
}

/* Loopback delivers at once, but not before the call returns on another CPU: wait for it. */
static ssize_t receive(int fd, char *buf, size_t len)
{
	for (int i = 0; i < 1000; i++) {
		ssize_t n = recv(fd, buf, len, 0);

		if (n >= 0 || errno != EAGAIN)
			return n;
		usleep(1000);
	}
	return -1;
}

static enum pump_state run_until(struct world *w, enum pump_state wanted)
{
	for (int i = 0; i < 1000 && pump_run(&w->pump, &w->pipes) != wanted; i++)
		usleep(1000);
	return w->pump.state;
}

static void test_idle_pump_holds_no_pipe(void **state)
{
	struct world *w = *state;
	char buf[16];

	assert_int_equal(pump_run(&w->pump, &w->pipes), PUMP_WAITS);
	assert_null(w->pump.pipe);
	assert_int_equal(send(w->near[0], "hello", 5, 0), 5);
	for (int i = 0; i < 1000 && w->pump.bytes < 5; i++)
		assert_int_equal(pump_run(&w->pump, &w->pipes), PUMP_WAITS);
	assert_int_equal(receive(w->far[1], buf, sizeof(buf)), 5);
	assert_memory_equal(buf, "hello", 5);
	assert_int_equal(w->pump.bytes, 5);
	assert_null(w->pump.pipe);
	assert_int_equal(w->pipes.n_idle, 1);
}

static void test_end_is_passed_on_behind_the_bytes(void **state)
{
	struct world *w = *state;
	char buf[16];

	assert_int_equal(send(w->near[0], "last", 4, 0), 4);
	assert_int_equal(shutdown(w->near[0], SHUT_WR), 0);
	assert_int_equal(run_until(w, PUMP_DONE), PUMP_DONE);
	assert_int_equal(receive(w->far[1], buf, sizeof(buf)), 4);
	assert_int_equal(receive(w->far[1], buf, sizeof(buf)), 0);
	assert_true(pump_ended(&w->pump));
	/* Only this direction has ended. */
	assert_int_equal(send(w->far[1], "back", 4, 0), 4);
	assert_int_equal(receive(w->far[0], buf, sizeof(buf)), 4);
	assert_int_equal(pump_run(&w->pump, &w->pipes), PUMP_DONE);
}

/* The end must wait in the pipe with the bytes when the receiver has no room. */
static void test_slow_receiver(void **state)
{
	static char block[65536];
	struct world *w = *state;
	size_t sent = 0, received = 0;
	ssize_t n;

	for (int quiet = 0; quiet < 20;) {
		n = send(w->near[0], block, sizeof(block), 0);
		sent += n > 0 ? (size_t)n : 0;
		assert_true(pump_run(&w->pump, &w->pipes) <= PUMP_MORE);
		quiet = n > 0 ? 0 : quiet + 1;
		if (n <= 0)
			usleep(2000);
	}
	assert_int_equal(w->pump.state, PUMP_WAITS);
	assert_true(w->pump.held > 0 && w->pump.held <= w->pump.pipe->size);
	assert_int_equal(shutdown(w->near[0], SHUT_WR), 0);
	assert_int_equal(pump_run(&w->pump, &w->pipes), PUMP_WAITS);
	for (;;) {
		n = receive(w->far[1], block, sizeof(block));
		assert_true(n >= 0);
		if (n == 0)
			break;
		received += (size_t)n;
		pump_run(&w->pump, &w->pipes);
	}
	assert_int_equal(received, sent);
	assert_int_equal(w->pump.bytes, sent);
	assert_int_equal(w->pump.state, PUMP_DONE);
	assert_null(w->pump.pipe);
}

static void test_receiver_that_is_gone(void **state)
{
	static const struct linger at_once = {.l_onoff = 1};
	struct world *w = *state;

	setsockopt(w->far[1], SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	w->far[1] = kk_close(w->far[1]);
	for (int i = 0; i < 1000 && !pump_ended(&w->pump); i++) {
		send(w->near[0], "x", 1, 0);
		pump_run(&w->pump, &w->pipes);
		usleep(1000);
	}
	assert_int_equal(w->pump.state, PUMP_UNREAD);
	assert_true(w->pump.error == ECONNRESET || w->pump.error == EPIPE);
	assert_null(w->pump.pipe);
	assert_int_equal(w->pipes.n_idle, 0); /* the pipe had bytes in it */
}

static void test_sender_that_resets(void **state)
{
	static const struct linger at_once = {.l_onoff = 1};
	struct world *w = *state;

	setsockopt(w->near[0], SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	w->near[0] = kk_close(w->near[0]);
	assert_int_equal(run_until(w, PUMP_BROKEN), PUMP_BROKEN);
	assert_int_equal(w->pump.error, ECONNRESET);
	assert_null(w->pump.pipe);
}

/* Nobody is kept from his turn by one that never stops sending. */
static void test_share(void **state)
{
	struct world *w = *state;
	pid_t child = fork();

	if (child == 0) {
		static char block[1 << 18];

		fcntl(w->near[0], F_SETFL, 0);
		fcntl(w->far[1], F_SETFL, 0);
		if (fork() == 0)
			while (recv(w->far[1], block, sizeof(block), 0) > 0)
				;
		else
			while (send(w->near[0], block, sizeof(block), MSG_NOSIGNAL) > 0)
				;
		_exit(0);
	}
	w->near[0] = kk_close(w->near[0]);
	w->far[1] = kk_close(w->far[1]);
	for (int i = 0; i < 2000; i++) {
		uint64_t before = w->pump.bytes;

		pump_run(&w->pump, &w->pipes);
		assert_true(w->pump.bytes - before < 10u << 20);
		assert_false(pump_ended(&w->pump));
	}
	shutdown(w->pump.from, SHUT_RDWR);
	shutdown(w->pump.to, SHUT_RDWR);
	assert_int_equal(waitpid(child, NULL, 0), child);
}

static void test_pool(void **state)
{
	struct world *w = *state;
	struct pipe *held[200];
	size_t big = 0;

	for (size_t i = 0; i < ARRAY_SIZE(held); i++) {
		held[i] = pipes_get(&w->pipes);
		assert_non_null(held[i]);
		assert_true(held[i]->size >= 4096);
		big += held[i]->size > 65536;
	}
	assert_int_equal(big, w->pipes.big);
	assert_true(big <= w->pipes.big_max);
	for (size_t i = 0; i < ARRAY_SIZE(held); i++)
		pipes_put(&w->pipes, held[i]);
	assert_true(w->pipes.n_idle <= 64);
	/* A big one comes first as long as there is one. */
	if (big) {
		struct pipe *pipe = pipes_get(&w->pipes);

		assert_true(pipe->size > 65536);
		pipes_put(&w->pipes, pipe);
	}
}

/* Little at a time costs no look in vain; the end and what fills the pipe are not missed for that. */
static void test_little(void **state)
{
	struct world *w = *state;
	char byte;

	w->pump.thorough = false;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(write(w->near[0], "x", 1), 1);
		assert_int_equal(pump_run(&w->pump, &w->pipes), PUMP_WAITS);
		assert_int_equal(read(w->far[1], &byte, 1), 1);
		assert_null(w->pump.pipe);
	}
	assert_int_equal(w->pump.bytes, 3);
	assert_int_equal(write(w->near[0], "y", 1), 1);
	shutdown(w->near[0], SHUT_WR);
	assert_int_equal(pump_run(&w->pump, &w->pipes), PUMP_WAITS);
	w->pump.thorough = true; /* as the event of the end says */
	assert_int_equal(pump_run(&w->pump, &w->pipes), PUMP_DONE);
	assert_int_equal(w->pump.bytes, 4);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_idle_pump_holds_no_pipe),
		T(test_end_is_passed_on_behind_the_bytes),
		T(test_slow_receiver),
		T(test_receiver_that_is_gone),
		T(test_sender_that_resets),
		T(test_share),
		T(test_pool),
		T(test_little),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
