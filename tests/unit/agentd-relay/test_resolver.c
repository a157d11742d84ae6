// SPDX-License-Identifier: MIT
/* Look-ups in a thread of their own, by a getaddrinfo() that hangs as long as the test wants it to. */
#include "agentd/relay/resolver.h"

#include <dirent.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/kk_test.h"

#define LIMIT_MS 20000

static int entered, release; /* eventfds: a look-up hangs, and may go on */

/* In the place of the C library's. */
int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
		struct addrinfo **ret)
{
	struct sockaddr_in *addr = calloc(1, sizeof(*addr));
	struct addrinfo *one = calloc(1, sizeof(*one));
	uint64_t n;

	(void)host, (void)hints;
	if (write(entered, &(uint64_t){1}, sizeof(n)) < 0 || read(release, &n, sizeof(n)) < 0)
		abort();
	*addr = (struct sockaddr_in){.sin_family = AF_INET,
				     .sin_port = htons((uint16_t)atoi(port)),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	*one = (struct addrinfo){.ai_addr = (struct sockaddr *)addr, .ai_addrlen = sizeof(*addr)};
	*ret = one;
	return 0;
}

void freeaddrinfo(struct addrinfo *list)
{
	free(list->ai_addr);
	free(list);
}

static void wait_entered(void)
{
	struct pollfd pfd = {.fd = entered, .events = POLLIN};
	uint64_t n;

	assert_int_equal(poll(&pfd, 1, LIMIT_MS), 1);
	assert_int_equal(read(entered, &n, sizeof(n)), sizeof(n));
}

static void let_go(void)
{
	assert_int_equal(write(release, &(uint64_t){1}, sizeof(uint64_t)), sizeof(uint64_t));
}

static int count_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static int set_up(void **state)
{
	struct loop *loop = malloc(sizeof(*loop));

	*state = loop;
	entered = eventfd(0, EFD_CLOEXEC);
	release = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
	return loop ? loop_init(loop) : -1;
}

static int tear_down(void **state)
{
	loop_clean(*state);
	free(*state);
	close(entered);
	close(release);
	return 0;
}

struct asked {
	struct resolver_query query;
	struct loop *loop;
	size_t n;
	uint16_t port;
};

static void answered(struct resolver_query *query, const struct sockaddr_storage *addrs, size_t n,
		     const char *error)
{
	struct asked *asked = (struct asked *)query;

	assert_string_equal(error, "");
	asked->n = n;
	asked->port = ntohs(((const struct sockaddr_in *)addrs)->sin_port);
	asked->loop->quit = true;
}

static void test_answer_comes_from_the_loop(void **state)
{
	struct asked asked = {.query = {.host = "a.lan", .port = 22, .done = answered},
			      .loop = *state};
	struct resolver *r;

	assert_int_equal(resolver_new(*state, &r), 0);
	assert_int_equal(resolver_ask(r, &asked.query), 0);
	wait_entered();
	let_go();
	assert_int_equal(loop_run(*state), 0);
	assert_int_equal(asked.n, 1);
	assert_int_equal(asked.port, 22);
	resolver_free(r);
}

/* Those that wait behind it are freed with the rest, by the thread. */
static void test_one_that_hangs_is_left(void **state)
{
	struct asked asked[2] = {{.query = {.host = "a.lan", .done = answered}},
				 {.query = {.host = "b.lan", .done = answered}}};
	const int files = count_files();
	struct timespec pause = {.tv_nsec = 10000000};
	struct resolver *r;

	assert_int_equal(resolver_new(*state, &r), 0);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(resolver_ask(r, &asked[i].query), 0);
	wait_entered();
	for (size_t i = 0; i < 2; i++)
		resolver_cancel(&asked[i].query);
	resolver_free(r);
	assert_int_equal(count_files(), files + 1);
	let_go();
	for (int ms = 0; ms < LIMIT_MS && count_files() != files; ms += 10)
		nanosleep(&pause, NULL);
	assert_int_equal(count_files(), files);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answer_comes_from_the_loop, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_one_that_hangs_is_left, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
