// SPDX-License-Identifier: MIT
/* Replays the corpora of the fuzz targets (tests/fuzz) as ordinary tests. */
#include "../wg_test.h"

int fuzz_wg_message(const uint8_t *data, size_t len);
int fuzz_kkwg_uapi(const uint8_t *data, size_t len);
int fuzz_kkwg_offload(const uint8_t *data, size_t len);

#include "../corpus.h"

#include "../../fuzz/fuzz_kkwg_offload.c"
#include "../../fuzz/fuzz_kkwg_uapi.c"
#include "../../fuzz/fuzz_wg_message.c"

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
