// SPDX-License-Identifier: MIT
/* The daemon's side of the control socket, against a relay that says what it must not. */
#include "agentd/relayctl.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/kk_test.h"
#include "util/cleanup.h"

/* A relay that answers each request with the next of @answers, and with the last one ever after. */
static pid_t play(struct relayctl *ctl, const char *const *answers)
{
	int fds[2];
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	pid = fork();
	if (pid == 0) {
		char buf[4096];

		close(fds[0]);
		while (recv(fds[1], buf, sizeof(buf), 0) > 0) {
			if (send(fds[1], answers[0], strlen(answers[0]), MSG_NOSIGNAL) < 0)
				break;
			if (answers[1])
				answers++;
		}
		_exit(0);
	}
	close(fds[1]);
	*ctl = (struct relayctl){.fd = fds[0]};
	return pid;
}

static void stop(struct relayctl *ctl, pid_t pid)
{
	relayctl_close(ctl);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

#define ROW(service)                                                                               \
	"{\"service\":" #service ",\"protocol\":\"tcp\",\"port\":22,"                              \
	"\"agent_port\":23,\"target\":\"a:1\",\"proxy_protocol\":true,\"address\":\"10.1.0.100\",\"netns\":7,\"new\":1}"
#define LIST(rows, more) "{\"ok\":true,\"listeners\":[" rows "]" more "}"
#define MORE		 ",\"more\":true"

static int list(const char *const *answers, struct relay_listener **items, size_t *n,
		struct kk_err *err)
{
	struct relayctl ctl;
	pid_t pid = play(&ctl, answers);
	int r = relayctl_list(&ctl, items, n, err);

	stop(&ctl, pid);
	return r;
}

static void test_list(void **state)
{
	static const char *const answers[] = {LIST(ROW(1) "," ROW(2), MORE), LIST(ROW(3), ""),
					      NULL};
	KK_CLEANUP_FREE struct relay_listener *items = NULL;
	struct kk_err err = {0};
	size_t n;

	(void)state;
	assert_int_equal(list(answers, &items, &n, &err), 0);
	assert_int_equal(n, 3);
	assert_int_equal(items[1].service, 2);
	assert_int_equal(items[2].service, 3);
	assert_int_equal(items[2].protocol, IPPROTO_TCP);
	assert_int_equal(items[2].port, 22);
	assert_int_equal(items[2].agent_port, 23);
	assert_true(items[2].proxy_protocol);
	assert_string_equal(items[2].target, "a:1");
	assert_int_equal(items[2].addresses[0].v4.s_addr, htonl(0x0a010064));
	assert_int_equal(items[2].netns_cookie, 7);
	assert_string_equal(items[2].error, "");
}

static void test_lists_that_are_not_believed(void **state)
{
	static const struct {
		const char *answer, *wanted;
	} cases[] = {
		{"", "does not answer"},
		{"{", "not JSON"},
		{"[]", "refuses"},
		{"{\"ok\":1}", "refuses"},
		{"{\"ok\":false,\"error\":\"no room\"}", "the relay refuses: no room"},
		{LIST(ROW(2) "," ROW(1), ""), "out of order"},
		{LIST(ROW(1) "," ROW(1), ""), "out of order"},
		{LIST(ROW(1), MORE), "out of order"}, /* the same part for ever */
		{LIST("{}", ""), "is missing"},
		{LIST("7", ""), "JSON object"},
		{LIST(ROW(-1), ""), "out of range"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *const answers[] = {cases[i].answer, NULL};
		struct relay_listener *items = NULL;
		struct kk_err err = {0};
		size_t n;

		if (list(answers, &items, &n, &err) >= 0 || !strstr(err.msg, cases[i].wanted))
			fail_msg("%s: \"%s\" lacks \"%s\"", cases[i].answer, err.msg,
				 cases[i].wanted);
		assert_null(items);
	}
}

/* After a line that broke nothing is taken for an answer any more. */
static void test_broken_line(void **state)
{
	static const char *const answers[] = {"{\"ok\":true}", NULL};
	struct kk_err err = {0};
	struct relayctl ctl;
	pid_t pid = play(&ctl, answers);

	(void)state;
	assert_int_equal(relayctl_unlisten(&ctl, 1, &err), 0);
	shutdown(ctl.fd, SHUT_RDWR);
	assert_true(relayctl_unlisten(&ctl, 1, &err) < 0);
	assert_non_null(strstr(err.msg, "does not answer"));
	assert_true(ctl.fd >= 0);
	stop(&ctl, pid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_lists_that_are_not_believed),
		cmocka_unit_test(test_broken_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
