// SPDX-License-Identifier: MIT
/* Replays the corpora of Control's fuzz targets (tests/fuzz) as ordinary tests. */
#include "../corpus.h"

#include "../../fuzz/fuzz_control.c"
#include "../../fuzz/fuzz_control_rest.c"
#include "../../fuzz/fuzz_control_ws.c"

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
