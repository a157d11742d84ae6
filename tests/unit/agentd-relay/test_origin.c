// SPDX-License-Identifier: MIT
/* Asking for gateways against an engine of the test's own: order, lots, an end, lies. */
#include "agentd/relay/origin.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/kk_test.h"
#include "util/cleanup.h"
#include "util/json.h"

#define KEY "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

struct fixture {
	struct loop loop;
	struct origins origins;
	int engine;
};

static unsigned int told;

static void on_told(struct origin *origin)
{
	assert_false(origin->waits);
	told++;
}

static void connect_engine(struct fixture *f)
{
	KK_CLEANUP_JSON json_t *names = json_pack("{s:s}", KEY, "gw1");
	struct kk_err err = {0};
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	kk_close(f->engine);
	f->engine = fds[1];
	assert_int_equal(origins_set(&f->origins, fds[0], names, &err), 0);
}

static int set_up(void **state)
{
	struct fixture *f = malloc(sizeof(*f));

	f->engine = -1;
	assert_int_equal(loop_init(&f->loop), 0);
	origins_init(&f->origins, &f->loop);
	told = 0;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	origins_clean(&f->origins);
	loop_clean(&f->loop);
	kk_close(f->engine);
	free(f);
	return 0;
}

static struct origin make(unsigned int i)
{
	return (struct origin){
		.protocol = i % 2 ? IPPROTO_UDP : IPPROTO_TCP,
		.client = {.v4 = {AF_INET, htons((uint16_t)i), {htonl(0xcb007109)}, {0}}},
		.local = {.v4 = {AF_INET, htons(22), {htonl(0x0a010064)}, {0}}},
		.told = on_told};
}

/* Runs what is at hand, once. */
static void turn(struct fixture *f)
{
	struct epoll_event event;

	if (epoll_wait(f->loop.epoll_fd, &event, 1, 0) > 0) {
		struct loop_io *io = event.data.ptr;

		io->ready(io, event.events);
	}
	while (!TAILQ_EMPTY(&f->loop.work)) {
		struct loop_work *work = TAILQ_FIRST(&f->loop.work);

		loop_cancel(&f->loop, work);
		work->run(work);
	}
}

static size_t question(struct fixture *f, char text[65536])
{
	ssize_t n = recv(f->engine, text, 65535, MSG_DONTWAIT);

	text[n > 0 ? n : 0] = '\0';
	return n > 0 ? (size_t)n : 0;
}

static void answer(struct fixture *f, const char *text)
{
	assert_int_equal(send(f->engine, text, strlen(text), 0), strlen(text));
	turn(f);
}

static void test_question_and_answer(void **state)
{
	struct fixture *f = *state;
	struct origin a = make(40000), b = make(40001);
	char text[65536];

	connect_engine(f);
	origin_ask(&f->origins, &a);
	origin_ask(&f->origins, &b);
	origin_ask(&f->origins, &b);
	turn(f);
	question(f, text);
	assert_string_equal(text, "flow=1\ntcp=203.0.113.9:40000 10.1.0.100:22\n"
				  "udp=203.0.113.9:40001 10.1.0.100:22\n\n");
	answer(f, "public_key=" KEY "\npublic_");
	assert_int_equal(told, 0);
	answer(f, "key=\nerrno=0\n\n");
	assert_int_equal(told, 2);
	assert_string_equal(a.gateway, "gw1");
	assert_string_equal(b.gateway, "");
	/* A name that is known is not lost by an answer that knows none. */
	origin_ask(&f->origins, &a);
	turn(f);
	answer(f, "public_key=\nerrno=0\n\n");
	assert_int_equal(told, 3);
	assert_string_equal(a.gateway, "gw1");
}

/* What comes while an answer is awaited goes into the next question, in bounded lots. */
static void test_lots(void **state)
{
	enum { N = 2 * ORIGIN_BATCH + 10 };
	static struct origin all[N];
	struct fixture *f = *state;
	unsigned int asked = 0, questions = 0;
	char text[65536];

	connect_engine(f);
	for (unsigned int i = 0; i < N; i++) {
		all[i] = make(1 + i);
		origin_ask(&f->origins, &all[i]);
	}
	turn(f);
	while (question(f, text)) {
		unsigned int lines = 0;

		for (char *p = strstr(text, "203."); p; p = strstr(p + 1, "203."))
			lines++;
		assert_true(lines <= ORIGIN_BATCH);
		asked += lines;
		questions++;
		for (unsigned int i = 0; i < lines; i++)
			answer(f, "public_key=" KEY "\n");
		answer(f, "errno=0\n\n");
	}
	assert_int_equal(asked, N);
	assert_int_equal(questions, 3);
	assert_int_equal(told, N);
	assert_string_equal(all[N - 1].gateway, "gw1");
}

/* An engine that ends leaves nobody waiting; the next one is asked what the last did not answer. */
static void test_ends(void **state)
{
	static struct origin b;
	struct origin a = make(1);
	struct fixture *f = *state;
	char text[65536];

	b = make(2);
	origin_ask(&f->origins, &a);
	turn(f);
	assert_int_equal(told, 1); /* there is nobody to ask */
	connect_engine(f);
	origin_ask(&f->origins, &a);
	turn(f);
	connect_engine(f);
	turn(f);
	assert_true(question(f, text) > 0);
	answer(f, "public_key=" KEY "\nerrno=0\n\n");
	assert_int_equal(told, 2);
	assert_string_equal(a.gateway, "gw1");
	origin_ask(&f->origins, &b);
	turn(f);
	f->engine = kk_close(f->engine);
	turn(f);
	assert_int_equal(told, 3);
	assert_string_equal(b.gateway, "");
	origin_ask(&f->origins, &b); /* told by origins_clean */
}

static void test_answers_that_are_none(void **state)
{
	static const char *const bad[] = {
		"errno=0\n\n",
		"errno=-22\n\n",
		"public_key=\npublic_key=\nerrno=0\n\n",
		"public_key=\nerrno=5\n\n",
		"key=\nerrno=0\n\n",
		"\n\n",
	};
	struct fixture *f = *state;
	char *long_one = malloc(sizeof(f->origins.text) + 1);

	for (size_t i = 0; i <= ARRAY_SIZE(bad); i++) {
		struct origin a = make(1);

		told = 0;
		connect_engine(f);
		origin_ask(&f->origins, &a);
		turn(f);
		memset(long_one, 'x', sizeof(f->origins.text));
		long_one[sizeof(f->origins.text)] = '\0';
		answer(f, i < ARRAY_SIZE(bad) ? bad[i] : long_one);
		turn(f);
		assert_int_equal(told, 1);
		assert_int_equal(f->origins.fd, -1);
	}
	free(long_one);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_question_and_answer),
		T(test_lots),
		T(test_ends),
		T(test_answers_that_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
