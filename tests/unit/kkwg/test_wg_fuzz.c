// SPDX-License-Identifier: MIT
/* Replays the corpora of the fuzz targets (tests/fuzz) as ordinary tests. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "../wg_test.h"

#include "util/file.h"

int fuzz_wg_message(const uint8_t *data, size_t len);
int fuzz_kkwg_uapi(const uint8_t *data, size_t len);
int fuzz_kkwg_offload(const uint8_t *data, size_t len);

#include "../../fuzz/fuzz_kkwg_offload.c"
#include "../../fuzz/fuzz_kkwg_uapi.c"
#include "../../fuzz/fuzz_wg_message.c"

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

static void message(void **state)
{
	(void)state;
	replay("wg_message", fuzz_wg_message);
}

static void uapi(void **state)
{
	(void)state;
	replay("kkwg_uapi", fuzz_kkwg_uapi);
}

static void offload(void **state)
{
	(void)state;
	replay("kkwg_offload", fuzz_kkwg_offload);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(message),
		cmocka_unit_test(uapi),
		cmocka_unit_test(offload),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
