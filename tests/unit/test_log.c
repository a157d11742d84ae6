// SPDX-License-Identifier: MIT
/* One call makes one line, whatever is quoted in it. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kk_test.h"
#include "util/log.h"

/* What @text as an argument becomes on standard error. */
static void logged(const char *text, char *ret, size_t size)
{
	int ends[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	assert_true(saved >= 0);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
	kk_warn("gateway gw1 says %s", text);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	close(saved);
	close(ends[1]);
	n = read(ends[0], ret, size - 1);
	assert_true(n > 0);
	ret[n] = '\0';
	close(ends[0]);
}

static void test_one_line(void **state)
{
	char line[2048];

	(void)state;
	unsetenv("JOURNAL_STREAM");
	kk_log_init("kktest", LOG_INFO);
	logged("port 22 is taken", line, sizeof(line));
	assert_string_equal(line, "kktest: gateway gw1 says port 22 is taken\n");
	logged("a\nkktest: all is well\r\x1b[2J\x7f", line, sizeof(line));
	assert_string_equal(line, "kktest: gateway gw1 says a?kktest: all is well??[2J?\n");
	logged("caf\xc3\xa9", line, sizeof(line));
	assert_string_equal(line, "kktest: gateway gw1 says caf\xc3\xa9\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
