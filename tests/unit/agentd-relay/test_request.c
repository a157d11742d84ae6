// SPDX-License-Identifier: MIT
/* Control messages without the socket: good, bad and hostile ones, and what they leave behind. */
#include "agentd/relay/request.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/kk_test.h"
#include "util/cleanup.h"
#include "util/json.h"

static int set_up(void **state)
{
	struct relay *relay = malloc(sizeof(*relay));

	*state = relay;
	return relay ? relay_init(relay, 1024, 60000) : -1;
}

static int tear_down(void **state)
{
	relay_clean(*state);
	free(*state);
	return 0;
}

static int bound(int kind)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, kind | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	if (kind == SOCK_STREAM)
		assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static int count_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* Runs @text with socket @fd, which it closes where the relay did not take it. */
static bool run(struct relay *relay, const char *text, int fd, bool trusted, const char *wanted)
{
	struct request_fds fds = {.fd = {fd}, .n = fd >= 0};
	KK_CLEANUP_JSON json_t *answer = request_run(relay, text, strlen(text), &fds, trusted);
	const char *error = json_string_value(json_object_get(answer, "error"));
	bool ok = json_is_true(json_object_get(answer, "ok"));

	if (fds.n)
		kk_close(fd);
	assert_true(ok == !error);
	if (wanted && (!error || !strstr(error, wanted)))
		fail_msg("%s: \"%s\" lacks \"%s\"", text, error ? error : "ok", wanted);
	return ok;
}

#define LISTEN(changes)                                                                            \
	"{\"op\":\"listen\",\"service\":5,\"name\":\"ssh\","                                       \
	"\"protocol\":\"tcp\",\"port\":2222,\"target\":\"127.0.0.1:22\"" changes "}"

static void test_listen_list_set_unlisten(void **state)
{
	KK_CLEANUP_JSON json_t *answer = NULL;
	struct relay *relay = *state;
	struct request_fds none = {.n = 0};
	json_t *row;

	assert_true(run(relay, LISTEN(",\"proxy_protocol\":true"), bound(SOCK_STREAM), true, NULL));
	assert_int_equal(relay->listeners.n, 1);
	answer = request_run(relay, "{\"op\":\"list\"}", 13, &none, false);
	row = json_array_get(json_object_get(answer, "listeners"), 0);
	assert_int_equal(json_integer_value(json_object_get(row, "service")), 5);
	assert_int_equal(json_integer_value(json_object_get(row, "port")), 2222);
	assert_true(json_integer_value(json_object_get(row, "agent_port")) > 0);
	assert_true(json_is_true(json_object_get(row, "proxy_protocol")));
	assert_true(run(relay, "{\"op\":\"set\",\"service\":5,\"target\":\"[::1]:80\"}", -1, true,
			NULL));
	assert_string_equal(relay->listeners.items[0]->target->text, "[::1]:80");
	assert_false(relay->listeners.items[0]->proxy_protocol);
	assert_true(run(relay, "{\"op\":\"unlisten\",\"service\":5}", -1, true, NULL));
	assert_int_equal(relay->listeners.n, 0);
}

static void test_refused_messages_change_nothing(void **state)
{
	static const struct {
		const char *text, *wanted;
		int kind; /* of the socket that comes with it; 0: none */
	} cases[] = {
		{"", "not JSON", 0},
		{"{\"op\":\"listen\"", "not JSON", 0},
		{"{\"op\":\"list\",\"op\":\"quit\"}", "not JSON", 0},
		{"[]", "op", 0},
		{"{}", "op", 0},
		{"{\"op\":[]}", "op", 0},
		{"{\"op\":\"explode\"}", "explode is not an operation", 0},
		{"{\"op\":\"list\",\"x\":1}", "x: there is no such field", 0},
		{"{\"op\":\"listen\"}", "is missing", SOCK_STREAM},
		{LISTEN(""), "socket must come", 0},
		{LISTEN(""), "not one of the protocol", SOCK_DGRAM},
		{LISTEN(",\"proxy_protocol\":1"), "proxy_protocol", SOCK_STREAM},
		{LISTEN(",\"extra\":null"), "extra", SOCK_STREAM},
		{"{\"op\":\"set\",\"service\":5,\"target\":\"a:1\"}", "service 5 is not served", 0},
		{"{\"op\":\"set\",\"service\":-1,\"target\":\"a:1\"}", "out of range", 0},
		{"{\"op\":\"set\",\"service\":99999999999999999999,\"target\":\"a:1\"}", "JSON", 0},
		{"{\"op\":\"unlisten\",\"service\":6}", "service 6 is not served", 0},
	};
	int files = count_files();

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int fd = cases[i].kind ? bound(cases[i].kind) : -1;

		assert_false(run(*state, cases[i].text, fd, true, cases[i].wanted));
	}
	assert_int_equal(((struct relay *)*state)->listeners.n, 0);
	assert_int_equal(count_files(), files);
}

static void test_bad_values_of_listen(void **state)
{
	static const struct {
		const char *from, *to, *wanted;
	} cases[] = {
		{"\"tcp\"", "\"icmp\"", "neither tcp nor udp"},
		{"2222", "0", "out of range"},
		{"2222", "65536", "out of range"},
		{"2222", "\"2222\"", "not a whole number"},
		{"127.0.0.1:22", "127.0.0.1", "not HOST:PORT"},
		{"127.0.0.1:22", "::1:22", "not HOST:PORT"},
		{"127.0.0.1:22", ":22", "not HOST:PORT"},
		{"127.0.0.1:22", "a b:22", "not HOST:PORT"},
		{"\"ssh\"", "\"../ssh\"", "name"},
		{"\"ssh\"", "\"\"", "name"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *good = LISTEN(""), *at = strstr(good, cases[i].from);
		char text[512];

		snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - good), good, cases[i].to,
			 at + strlen(cases[i].from));
		assert_false(run(*state, text, bound(SOCK_STREAM), true, cases[i].wanted));
	}
	assert_int_equal(((struct relay *)*state)->listeners.n, 0);
}

static void test_same_listener_twice(void **state)
{
	struct relay *relay = *state;
	int files;

	assert_true(run(relay, LISTEN(""), bound(SOCK_STREAM), true, NULL));
	files = count_files();
	assert_false(run(relay, LISTEN(""), bound(SOCK_STREAM), true, "already served"));
	assert_int_equal(relay->listeners.n, 1);
	assert_int_equal(count_files(), files);
}

static void test_strangers_only_look(void **state)
{
	struct relay *relay = *state;

	assert_true(run(relay, "{\"op\":\"list\"}", -1, false, NULL));
	assert_true(run(relay, "{\"op\":\"sessions\"}", -1, false, NULL));
	assert_false(run(relay, LISTEN(""), bound(SOCK_STREAM), false, "for root and the owner"));
	assert_false(run(relay, "{\"op\":\"quit\"}", -1, false, "for root and the owner"));
	assert_false(relay->loop.quit);
	assert_true(run(relay, "{\"op\":\"quit\"}", -1, true, NULL));
	assert_true(relay->loop.quit);
}

/* Random bytes in place of those of a good message: never a crash, and a sentence for each. */
static void test_mutations(void **state)
{
	const char *good = LISTEN(",\"proxy_protocol\":false");
	char text[512];

	srand(1);
	for (int round = 0; round < 20000; round++) {
		struct request_fds fds = {.n = 0};
		KK_CLEANUP_JSON json_t *answer = NULL;

		snprintf(text, sizeof(text), "%s", good);
		for (int i = rand() % 4; i >= 0; i--)
			text[(size_t)rand() % strlen(good)] = (char)rand();
		answer = request_run(*state, text, strlen(good), &fds, true);
		assert_true(json_is_false(json_object_get(answer, "ok")));
		assert_true(json_is_string(json_object_get(answer, "error")));
	}
	assert_int_equal(((struct relay *)*state)->listeners.n, 0);
}

/* ---- a target that is watched ---- */

static void stop_loop(struct loop_timer *timer)
{
	struct loop *loop = *(struct loop **)(timer + 1);

	loop->quit = true;
}

/* Lets the relay live for a while. */
static void live(struct relay *relay, int ms)
{
	struct {
		struct loop_timer timer;
		struct loop *loop;
	} end = {.timer = {.run = stop_loop, .at = relay->loop.now + ms}, .loop = &relay->loop};

	loop_timer_add(&relay->loop, &end.timer);
	assert_int_equal(loop_run(&relay->loop), 0);
	TAILQ_REMOVE(&relay->loop.timers, &end.timer, link);
	relay->loop.quit = false;
}

static struct sockaddr_in name_of(int fd)
{
	struct sockaddr_in name;
	socklen_t len = sizeof(name);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &len), 0);
	return name;
}

static bool connects(const struct sockaddr_in *to)
{
	KK_CLEANUP_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return connect(fd, (const struct sockaddr *)to, sizeof(*to)) == 0;
}

static int listen_at(const struct sockaddr_in *name)
{
	const int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	assert_int_equal(bind(fd, (const struct sockaddr *)name, sizeof(*name)), 0);
	assert_int_equal(listen(fd, 1000), 0);
	return fd;
}

static void become(struct relay *relay, const struct sockaddr_in *to, bool wanted)
{
	for (int i = 0; i < 100 && connects(to) != wanted; i++)
		live(relay, 100);
	assert_int_equal(connects(to), wanted);
}

/* While it is down nobody listens; then somebody does again, on the same port. */
static void test_watched_target(void **state)
{
	struct relay *relay = *state;
	int target = bound(SOCK_STREAM), fd = bound(SOCK_STREAM);
	const struct sockaddr_in at = name_of(target), ours = name_of(fd);
	char text[256];

	snprintf(text, sizeof(text),
		 "{\"op\":\"listen\",\"service\":5,\"name\":\"a\",\"protocol\":\"tcp\",\"port\":22,"
		 "\"target\":\"127.0.0.1:%u\",\"shared\":true}",
		 ntohs(at.sin_port));
	/* Nobody accepts what the watch opens. */
	assert_int_equal(listen(target, 1000), 0);
	/* A port that was asked for by number is kept by a socket that does not listen. */
	close(fd);
	fd = listen_at(&ours);
	assert_true(run(relay, text, fd, true, NULL));
	live(relay, 1200);
	assert_true(connects(&ours));
	close(target);
	become(relay, &ours, false);
	target = listen_at(&at);
	become(relay, &ours, true);
	close(target);
	become(relay, &ours, false);
	/* Alone, it is to listen whatever its target does. */
	snprintf(text, sizeof(text), "{\"op\":\"set\",\"service\":5,\"target\":\"127.0.0.1:%u\"}",
		 ntohs(at.sin_port));
	assert_true(run(relay, text, -1, true, NULL));
	assert_true(connects(&ours));
	live(relay, 1200);
	assert_true(connects(&ours));
}

/* ---- one of UDP ---- */

static int udp_at(const struct sockaddr_in *name)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_int_equal(bind(fd, (const struct sockaddr *)name, sizeof(*name)), 0);
	return fd;
}

/* A datagram of a client's, and what the port says to it: 0 or ECONNREFUSED. */
static int send_to(struct relay *relay, const struct sockaddr_in *to)
{
	KK_CLEANUP_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int error = 0;
	socklen_t len = sizeof(error);

	assert_int_equal(connect(fd, (const struct sockaddr *)to, sizeof(*to)), 0);
	assert_int_equal(send(fd, "hello", 5, 0), 5);
	live(relay, 50);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len), 0);
	return error;
}

/* Datagrams that have come to the target: of clients, and of the watch, which are empty or a header of 16 bytes. */
struct heard {
	int clients, asked;
};

static struct heard hear(int fd)
{
	struct heard heard = {0};
	char data[64];
	ssize_t n;

	while ((n = recv(fd, data, sizeof(data), MSG_DONTWAIT)) >= 0) {
		heard.clients += n > 0 && memcmp(data + n - 5, "hello", 5) == 0;
		heard.asked += n == 0 || (n == 16 && memcmp(data + 12, "\x20\0\0\0", 4) == 0);
	}
	return heard;
}

/*
 * A client's datagram that is refused is the end; then the port is closed to everybody until the target is there again, which
 * takes a question or two and no more. Nothing is asked of one that is well.
 */
static void watch_udp(struct relay *relay, const char *more)
{
	int target = bound(SOCK_DGRAM), fd = bound(SOCK_DGRAM);
	const struct sockaddr_in at = name_of(target), ours = name_of(fd);
	struct heard heard;
	char text[256];

	snprintf(text, sizeof(text),
		 "{\"op\":\"listen\",\"service\":6,\"name\":\"u\",\"protocol\":\"udp\",\"port\":53,"
		 "\"target\":\"127.0.0.1:%u\",\"shared\":true%s}",
		 ntohs(at.sin_port), more);
	/* As with TCP: asked for by number. */
	close(fd);
	fd = udp_at(&ours);
	assert_true(run(relay, text, fd, true, NULL));
	live(relay, 700);
	assert_int_equal(send_to(relay, &ours), 0);
	heard = hear(target);
	assert_int_equal(heard.clients, 1);
	assert_int_equal(heard.asked, 0);
	close(target);
	assert_int_equal(send_to(relay, &ours), 0);
	assert_int_equal(send_to(relay, &ours), ECONNREFUSED);
	live(relay, 2000);
	assert_int_equal(send_to(relay, &ours), ECONNREFUSED);
	target = udp_at(&at);
	for (int i = 0; i < 100 && send_to(relay, &ours) != 0; i++)
		live(relay, 100);
	assert_int_equal(send_to(relay, &ours), 0);
	heard = hear(target);
	assert_in_range(heard.clients, 1, 2);
	assert_in_range(heard.asked, 1, 2);
	close(target);
	assert_true(run(relay, "{\"op\":\"unlisten\",\"service\":6}", -1, true, NULL));
}

static void test_watched_target_of_udp(void **state)
{
	watch_udp(*state, "");
	watch_udp(*state, ",\"proxy_protocol\":true");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_listen_list_set_unlisten), T(test_refused_messages_change_nothing),
		T(test_bad_values_of_listen),	  T(test_same_listener_twice),
		T(test_strangers_only_look),	  T(test_mutations),
		T(test_watched_target),		  T(test_watched_target_of_udp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
