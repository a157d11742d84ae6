// SPDX-License-Identifier: MIT
/* A node's line against a Control that follows a script, good and bad ones. */
#include "kk_test.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <time.h>

#include <systemd/sd-event.h>

#include "link/link.h"
#include "net/net.h"
#include "util/cleanup.h"
#include "util/json.h"
#include "util/log.h"
#include "tls_server.h"

#define KEY "kkn_47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"

struct node {
	struct server server;
	struct kk_identity identity;
	sd_event *event;
	struct kk_link *link;
	uint8_t key[KK_KEY_LEN];
	int64_t applied, stop_at;	  /* generations */
	uint64_t last_turn, longest_turn; /* us */
	size_t filler;			  /* bytes that make the report long */
};

static int apply(const struct kk_config *old, const struct kk_config *next, void *userdata,
		 struct kk_err *err)
{
	struct node *n = userdata;

	if (next->n_services && next->services[0].port == 666)
		return kk_err_set(err, EADDRINUSE, "port", "port: 666 is in use on this machine");
	assert_int_equal(old->generation, n->applied);
	n->applied = next->generation;
	if (n->applied == n->stop_at)
		sd_event_exit(n->event, 0);
	return 0;
}

static json_t *report(void *userdata)
{
	struct node *n = userdata;
	KK_CLEANUP_FREE char *filler = malloc(n->filler + 1);

	memset(filler, 'x', n->filler);
	return json_pack("{s:{s:s}, s:s#}", "tunnel", "kind", "userspace", "filler", filler,
			 (int)n->filler);
}

static void node_start(struct node *n, void (*script)(struct server *s))
{
	struct kk_link_config config = {.identity = &n->identity,
					.public_key = n->key,
					.apply = apply,
					.report = report,
					.userdata = n};

	*n = (struct node){.key = {1}};
	server_start(&n->server, script);
	snprintf(n->identity.url, sizeof(n->identity.url), "%s", n->server.url);
	snprintf(n->identity.pin, sizeof(n->identity.pin), "%s", n->server.pin);
	snprintf(n->identity.key, sizeof(n->identity.key), "%s", KEY);
	strcpy(n->identity.role, "gateway");
	strcpy(n->identity.name, "gw1");
	assert_true(sd_event_new(&n->event) >= 0);
	assert_int_equal(kk_link_new(n->event, &config, &n->link), 0);
}

static void node_end(struct node *n)
{
	kk_link_free(n->link);
	sd_event_unref(n->event);
}

static int give_up(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct node *n = userdata;

	(void)source;
	(void)usec;
	return sd_event_exit(n->event, -ETIME);
}

/* Turns the loop until something ends it, or for @seconds. */
static int run_for(struct node *n, double seconds)
{
	assert_true(sd_event_add_time_relative(n->event, NULL, CLOCK_MONOTONIC,
					       (uint64_t)(seconds * 1e6), 1, give_up, n) >= 0);
	return sd_event_loop(n->event);
}

struct script {
	struct node *node;
	int status;
};

static int look_for_end(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct script *script = userdata;

	(void)usec;
	if (waitpid(script->node->server.pid, &script->status, WNOHANG) == script->node->server.pid)
		return sd_event_exit(script->node->event, 0);
	sd_event_source_set_time_relative(source, 20000);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* Turns the loop until the server's script has ended, however long that takes here; its exit status. */
static int run_script(struct node *n)
{
	struct script script = {n, -1};

	assert_true(sd_event_add_time_relative(n->event, NULL, CLOCK_MONOTONIC, 0, 1, look_for_end,
					       &script) >= 0);
	assert_int_equal(run_for(n, 120), 0);
	close(n->server.listener);
	SSL_CTX_free(n->server.tls);
	return script.status;
}

/* ---- the whole life of a line ---- */

#define SELF                                                                                       \
	"\"self\":{\"id\":7,\"name\":\"gw1\",\"index\":1,\"address\":\"198.51.100.1\","            \
	"\"wg_port\":51820,\"pool\":\"10.0.0.0/8\"}"
#define AGENTS "\"agents\":[{\"id\":3,\"name\":\"home\",\"subnet\":\"10.1.0.0/24\"}]"
#define SERVICE(port)                                                                              \
	"\"services\":[{\"id\":1,\"name\":\"ssh\",\"protocol\":\"tcp\",\"agent\":3,"               \
	"\"agent_port\":22,\"port\":" port "}]"

/* The next message that is no report. */
static json_t *hear(struct server *s)
{
	char text[4096];
	json_t *msg;

	for (;;) {
		server_check(server_hear(s, text, sizeof(text)) == 1);
		msg = kk_json_parse(text, strlen(text), NULL);
		server_check(msg);
		if (strcmp(json_string_value(json_object_get(msg, "type")), "report") != 0)
			return msg;
		server_check(json_object_get(msg, "tunnel"));
		json_decref(msg);
	}
}

static void want(struct server *s, const char *text)
{
	KK_CLEANUP_JSON json_t *wanted = json_loads(text, 0, NULL);
	KK_CLEANUP_JSON json_t *heard = hear(s);

	server_check(wanted);
	if (!json_equal(wanted, heard))
		server_fail("heard %s, wanted %s", json_dumps(heard, 0), text);
}

#define TEXT_OF(number) #number
#define TEXT(number)	TEXT_OF(number)
#define HELLO(epoch, generation)                                                                   \
	"{\"type\":\"hello\",\"protocol\":1,\"model\":" TEXT(                                      \
		KK_MODEL) ",\"version\":\"" KK_VERSION "\",\"epoch\":" epoch                       \
			  ",\"generation\":" generation                                            \
			  ",\"public_key\":\"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"}"

static void open_line(struct server *s)
{
	char request[2048];

	server_check(server_accept(s));
	server_upgrade(s, request, sizeof(request));
	server_check(strncmp(request, "GET /api/v1/node HTTP/1.1\r\n", 27) == 0);
	server_check(strstr(request, "Authorization: Bearer " KEY "\r\n"));
}

static void life(struct server *s)
{
	char text[4096];

	open_line(s);
	want(s, HELLO("null", "0"));
	server_say(s, "{\"type\":\"of a newer Control\"}");
	server_say(s, "{\"type\":\"snapshot\",\"epoch\":\"e1\",\"generation\":4," SELF "}");
	want(s, "{\"type\":\"ack\",\"generation\":4}");
	/* a report follows a change at once, and not only after 5 s */
	server_check(server_hear(s, text, sizeof(text)) == 1 && strstr(text, "\"report\""));
	server_say(s, "{\"type\":\"delta\",\"from\":4,\"generation\":5,\"put\":{" AGENTS
		      "," SERVICE("22") "}}");
	want(s, "{\"type\":\"ack\",\"generation\":5}");
	/* the machine refuses, then the message is bad: both are told */
	server_say(s,
		   "{\"type\":\"delta\",\"from\":5,\"generation\":6,\"put\":{" SERVICE("666") "}}");
	want(s, "{\"type\":\"nack\",\"generation\":6,\"field\":\"port\","
		"\"message\":\"port: 666 is in use on this machine\"}");
	server_say(s,
		   "{\"type\":\"delta\",\"from\":5,\"generation\":7,\"put\":{" SERVICE("0") "}}");
	want(s, "{\"type\":\"nack\",\"generation\":7,\"field\":\"port\","
		"\"message\":\"services[0]: port: 0 is out of range (1 to 65535)\"}");
	server_hang_up(s);

	/* it comes back with what it has; a delta from elsewhere makes it ask for all */
	open_line(s);
	want(s, HELLO("\"e1\"", "5"));
	server_say(s, "{\"type\":\"delta\",\"from\":8,\"generation\":9}");
	do {
	} while (server_hear(s, text, sizeof(text)) != 8);
	server_hang_up(s);

	open_line(s);
	want(s, HELLO("null", "0"));
	server_say(s, "{\"type\":\"snapshot\",\"epoch\":\"e2\",\"generation\":12," SELF "}");
	want(s, "{\"type\":\"ack\",\"generation\":12}");
}

static void test_life(void **state)
{
	struct node n;

	(void)state;
	node_start(&n, life);
	n.stop_at = 12;
	assert_int_equal(run_for(&n, 20), 0);
	assert_true(kk_link_connected(n.link));
	assert_int_equal(n.applied, 12);
	assert_int_equal(kk_link_config(n.link)->generation, 12);
	node_end(&n);
	assert_int_equal(server_wait(&n.server), 0);
}

/* ---- a Control that is slow to read ---- */

#define FILLER 3000000 /* bytes: two such reports are more than the sockets hold between them */

static void hear_report(struct server *s)
{
	static char text[FILLER + 4096];

	server_check(server_hear(s, text, sizeof(text)) == 1);
	server_check(strstr(text, "xxx") && strspn(strstr(text, "xxx"), "x") == FILLER);
}

static void slow(struct server *s)
{
	struct timespec nap = {.tv_nsec = 300000000};

	open_line(s);
	want(s, HELLO("null", "0"));
	server_say(s, "{\"type\":\"snapshot\",\"epoch\":\"e1\",\"generation\":1," SELF "}");
	want(s, "{\"type\":\"ack\",\"generation\":1}");
	/* each change makes a report */
	nanosleep(&nap, NULL);
	server_say(s, "{\"type\":\"delta\",\"from\":1,\"generation\":2}");
	nanosleep(&nap, NULL);
	hear_report(s);
	want(s, "{\"type\":\"ack\",\"generation\":2}");
	hear_report(s);
}

static void test_slow_reader(void **state)
{
	struct node n;

	(void)state;
	node_start(&n, slow);
	n.filler = FILLER;
	assert_int_equal(run_script(&n), 0);
	assert_int_equal(n.applied, 2);
	node_end(&n);
}

/* ---- Controls that do not work ---- */

static void revoked(struct server *s)
{
	char request[2048];

	server_check(server_accept(s));
	server_request(s, request, sizeof(request));
	server_answer(s, "401 Unauthorized", "{\"error\":{\"code\":\"unauthorized\"}}");
	server_hang_up(s);
	server_accept(s);
	server_fail("a refused node came again at once");
}

static void test_revoked(void **state)
{
	struct node n;

	(void)state;
	node_start(&n, revoked);
	assert_int_equal(run_for(&n, 3), -ETIME);
	assert_false(kk_link_connected(n.link));
	assert_int_equal(waitpid(n.server.pid, NULL, WNOHANG), 0);
	node_end(&n);
	server_kill(&n.server);
}

static void bad_answers(struct server *s)
{
	static const char *const answers[] = {
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
		"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
		"SSH-2.0-OpenSSH_9.2\r\n\r\n", "HTTP/1.1 503 Service Unavailable\r\n\r\n",
		"HTTP/1.1 101 Switch", /* and the end */
	};
	char request[2048];

	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		server_check(server_accept(s));
		server_request(s, request, sizeof(request));
		server_write(s, answers[i], strlen(answers[i]));
		server_hang_up(s);
	}
	open_line(s);
	want(s, HELLO("null", "0"));
	server_say(s, "{\"type\":\"snapshot\",\"epoch\":\"e1\",\"generation\":1," SELF "}");
	want(s, "{\"type\":\"ack\",\"generation\":1}");
}

static void test_bad_answers(void **state)
{
	struct node n;

	(void)state;
	node_start(&n, bad_answers);
	n.stop_at = 1;
	assert_int_equal(run_for(&n, 20), 0);
	node_end(&n);
	assert_int_equal(server_wait(&n.server), 0);
}

static void wrong_pin(struct server *s)
{
	char byte;

	/* The client ends it before it says a word of HTTP. */
	if (server_accept(s))
		server_check(SSL_read(s->line, &byte, 1) <= 0);
}

static void test_wrong_pin(void **state)
{
	struct node n;

	(void)state;
	node_start(&n, wrong_pin);
	strcpy(n.identity.pin, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
	assert_int_equal(run_script(&n), 0);
	assert_false(kk_link_connected(n.link));
	node_end(&n);
}

static void silent(struct server *s)
{
	for (;;)
		accept(s->listener, NULL, NULL);
}

static uint64_t monotonic_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static int on_turn(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct node *n = userdata;
	uint64_t now;

	(void)usec;
	sd_event_now(n->event, CLOCK_MONOTONIC, &now);
	if (n->last_turn && now - n->last_turn > n->longest_turn)
		n->longest_turn = now - n->last_turn;
	n->last_turn = now;
	sd_event_source_set_time_relative(source, 10000);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* What a daemon's loop feels while Control's machine takes connections and says nothing. */
static void test_never_blocks(void **state)
{
	struct node n;

	(void)state;
	node_start(&n, silent);
	assert_true(sd_event_add_time_relative(n.event, NULL, CLOCK_MONOTONIC, 0, 1, on_turn, &n) >=
		    0);
	assert_int_equal(run_for(&n, 2), -ETIME);
	assert_true(n.longest_turn > 0);
	assert_true(n.longest_turn <
		    1500000); /* of the 2 s, in which others have their turns too */
	node_end(&n);
	server_kill(&n.server);
}

/* ---- a name server that is silent ---- */

/* A machine of our own whose name server takes questions and answers none. Returns false without root. */
static bool enter_silent_world(void)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(0x7f000035)};
	static const char text[] = "nameserver 127.0.0.53\noptions timeout:5 attempts:2\n";
	char path[] = "/tmp/kk-test-link-XXXXXX";
	int fd;

	if (geteuid() != 0 || unshare(CLONE_NEWNET | CLONE_NEWNS) < 0)
		return false;
	server_check(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	fd = mkstemp(path);
	server_check(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
	server_check(mount(path, "/etc/resolv.conf", NULL, MS_BIND, NULL) == 0);
	unlink(path);
	server_check(kk_net_link_set("lo", true, 0, NULL) == 0);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	server_check(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	return true;
}

/* In a child, which has left the machine: what ending a try costs while its name is being looked up. */
static void end_in_silence(void)
{
	struct node n;
	uint64_t before, after;

	if (!enter_silent_world())
		_exit(77);
	node_start(&n, silent);
	strcpy(n.identity.url, "https://control.example:8443");
	run_for(&n, 0.3);
	before = monotonic_us();
	kk_link_free(n.link);
	after = monotonic_us();
	server_kill(&n.server);
	server_check(after - before < 500000);
	_exit(0);
}

static void test_silent_name_server(void **state)
{
	int status = 0;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		end_in_silence();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		print_message("skipped: only root can have a name server of its own\n");
		skip();
	}
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_life),
		cmocka_unit_test(test_slow_reader),
		cmocka_unit_test(test_revoked),
		cmocka_unit_test(test_bad_answers),
		cmocka_unit_test(test_wrong_pin),
		cmocka_unit_test(test_never_blocks),
		cmocka_unit_test(test_silent_name_server),
	};

	kk_log_init("test_link", getenv("KK_DEBUG") ? LOG_DEBUG : LOG_INFO);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
