// SPDX-License-Identifier: MIT
/* Replays the corpora of Control's fuzz targets (tests/fuzz) as ordinary tests. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "../../fuzz/fuzz_control.c"
#include "../../fuzz/fuzz_control_rest.c"
#include "../../fuzz/fuzz_control_ws.c"

#include "util/file.h"

static void replay(const char *name, int (*target)(const uint8_t *data, size_t len))
{
	const char *root = getenv("KK_ROOT");
	char path[512];
	struct dirent *e;
	int n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/%s", root ? root : ".", name);
	d = opendir(path);
	if (!d)
		fail_msg("%s: %s (run from the top of the tree, or set KK_ROOT)", path,
			 strerror(errno));
	while ((e = readdir(d))) {
		char file[1024], *data;
		size_t len;

		if (e->d_name[0] == '.')
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
		assert_int_equal(kk_file_read(file, 1 << 20, &data, &len), 0);
		target((const uint8_t *)data, len);
		free(data);
		n++;
	}
	closedir(d);
	assert_true(n > 0);
}

static void messages_and_tokens(void **state)
{
	(void)state;
	replay("control", LLVMFuzzerTestOneInput);
}

static void requests(void **state)
{
	(void)state;
	replay("control_rest", fuzz_control_rest);
}

static void web_sockets(void **state)
{
	(void)state;
	replay("control_ws", fuzz_control_ws);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_and_tokens),
		cmocka_unit_test(requests),
		cmocka_unit_test(web_sockets),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	fuzz_control_clean();
	return failed;
}
