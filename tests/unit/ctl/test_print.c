// SPDX-License-Identifier: MIT
/* kkctl's output. */
#include "tests/unit/kk_test.h"

#include <time.h>

#include "ctl/api.h"
#include "ctl/print.h"
#include "tests/unit/ctl/capture.h"
#include "util/cleanup.h"
#include "util/json.h"

static void format_sum(const json_t *obj, char *text, size_t size)
{
	snprintf(text, size, "%lld", json_integer_value(json_object_get(obj, "n")) + 1);
}

static const struct ctl_column columns[] = {
	{"NAME", "name", NULL},
	{"N", "n", NULL},
	{"N + 1", NULL, format_sum},
	{"ON", "on", NULL},
};

static void test_list(void **state)
{
	KK_CLEANUP_JSON json_t *items = json_pack(
		"[{s:s, s:i, s:b}, {s:s, s:i, s:b}, {s:s, s:n}]", "name", "a", "n", 9, "on", 1,
		"name", "\xc3\xa4-longer", "n", 1234, "on", 0, "name", "\x1b[31mred\n", "n");
	KK_CLEANUP_JSON json_t *none = json_array();

	(void)state;
	CAPTURE(stdout, ctl_print_list(items, columns, ARRAY_SIZE(columns), "none"));
	assert_string_equal(captured, "NAME       N     N + 1  ON\n"
				      "a          9     10     yes\n"
				      "\xc3\xa4-longer   1234  1235   no\n"
				      "?[31mred?  -     1      -\n");
	CAPTURE(stdout, ctl_print_list(none, columns, ARRAY_SIZE(columns), "There is none."));
	assert_string_equal(captured, "There is none.\n");
}

static void test_object(void **state)
{
	KK_CLEANUP_JSON json_t *obj = json_pack("{s:s, s:i}", "name", "a", "n", 9);

	(void)state;
	CAPTURE(stdout, ctl_print_object(obj, columns, ARRAY_SIZE(columns)));
	assert_string_equal(captured, "NAME   a\nN      9\nN + 1  10\nON     -\n");
	CAPTURE(stdout, ctl_print_json(obj));
	assert_string_equal(captured, "{\n  \"name\": \"a\",\n  \"n\": 9\n}\n");
	CAPTURE(stdout, ctl_print_text("a\tb\x7f\x1b]0;x\a"));
	assert_string_equal(captured, "a?b??]0;x?");
}

static void wanted_ago(int64_t seconds, const char *wanted)
{
	char text[32];

	ctl_format_ago(seconds < 0 ? 0 : time(NULL) - seconds, text, sizeof(text));
	assert_string_equal(text, wanted);
}

static void wanted_bytes(uint64_t bytes, const char *wanted)
{
	char text[32];

	ctl_format_bytes(bytes, text, sizeof(text));
	assert_string_equal(text, wanted);
}

static void test_formats(void **state)
{
	(void)state;
	wanted_ago(-1, "never");
	wanted_ago(0, "now");
	wanted_ago(60, "60 s");
	wanted_ago(600, "10 min");
	wanted_ago(3 * 3600, "3 h");
	wanted_ago(3 * 86400, "3 d");
	wanted_bytes(0, "0 B");
	wanted_bytes(1023, "1023 B");
	wanted_bytes(1024, "1.0 KiB");
	wanted_bytes(1536, "1.5 KiB");
	wanted_bytes(3ull << 30, "3.0 GiB");
	wanted_bytes(UINT64_MAX, "16.0 EiB");
}

/* What an answer's "applied" becomes, and the exit status it means. */
static void wanted_applied(const char *answer, int64_t wait, int code, const char *wanted)
{
	KK_CLEANUP_JSON json_t *obj = json_loads(answer, 0, NULL);
	struct ctl ctl = {.options.wait = wait};
	char text[256];

	assert_non_null(obj);
	assert_int_equal(ctl_applied(&ctl, obj, text, sizeof(text)), code);
	assert_string_equal(text, wanted);
}

static void test_applied(void **state)
{
	(void)state;
	wanted_applied("{\"applied\":{\"gateways\":2,\"acknowledged\":2,\"waiting\":[],"
		       "\"disconnected\":[]}}",
		       10, CTL_DONE, "applied on 2/2 gateways");
	wanted_applied("{\"applied\":{\"gateways\":1,\"acknowledged\":1}}", 10, CTL_DONE,
		       "applied on 1/1 gateways");
	wanted_applied("{\"applied\":{\"gateways\":0,\"acknowledged\":0}}", 10, CTL_DONE,
		       "applied on 0/0 gateways");
	wanted_applied("{\"applied\":{\"gateways\":3,\"acknowledged\":1,\"waiting\":[\"gw2\"],"
		       "\"disconnected\":[\"gw3\"]}}",
		       10, CTL_WAITING,
		       "applied on 1/3 gateways (still waiting for: gw2) (not connected: gw3)");
	wanted_applied("{\"applied\":{\"gateways\":6,\"acknowledged\":0,\"waiting\":[\"a\",\"b\","
		       "\"c\",\"d\",\"e\",\"f\"]}}",
		       10, CTL_WAITING,
		       "applied on 0/6 gateways (still waiting for: a, b, c, d and 2 more)");
	/* who does not wait cannot be too late */
	wanted_applied("{\"applied\":{\"gateways\":2,\"acknowledged\":0}}", 0, CTL_DONE,
		       "applied on 0/2 gateways");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_object),
		cmocka_unit_test(test_formats),
		cmocka_unit_test(test_applied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
