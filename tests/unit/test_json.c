// SPDX-License-Identifier: MIT
#include "kk_test.h"

#include <errno.h>

#include "util/json.h"

struct thing {
	const char *name, *note;
	int64_t port, count;
	bool on;
	json_t *any;
};

static const struct kk_json_field fields[] = {
	KK_JSON_FIELD("name", KK_JSON_STRING, KK_JSON_REQUIRED, struct thing, name, .min = 1,
		      .max = 8),
	KK_JSON_FIELD("note", KK_JSON_STRING, KK_JSON_NULLABLE, struct thing, note),
	KK_JSON_FIELD("port", KK_JSON_INT, KK_JSON_REQUIRED, struct thing, port, .min = 1,
		      .max = 65535),
	KK_JSON_FIELD("count", KK_JSON_INT, 0, struct thing, count, .min = -5, .max = INT64_MAX),
	KK_JSON_FIELD("on", KK_JSON_BOOL, 0, struct thing, on),
	KK_JSON_FIELD("any", KK_JSON_ANY, 0, struct thing, any),
};

static json_t *parse(const char *text)
{
	struct kk_err err = {0};
	json_t *obj = kk_json_parse(text, strlen(text), &err);

	if (!obj)
		fail_msg("the test's own JSON is bad: %s: %s", text, err.msg);
	return obj;
}

static void test_good(void **state)
{
	KK_CLEANUP_JSON json_t *obj = parse("{\"name\":\"12345678\",\"port\":65535,\"on\":true,"
					    "\"any\":[1],\"note\":null}");
	struct thing thing = {.count = 7, .note = "kept"};
	struct kk_err err = {0};

	(void)state;
	if (kk_json_read(obj, fields, ARRAY_SIZE(fields), &thing, &err) != 0)
		fail_msg("%s", err.msg);
	assert_string_equal(thing.name, "12345678");
	assert_int_equal(thing.port, 65535);
	assert_true(thing.on);
	assert_int_equal(json_array_size(thing.any), 1);
	/* what is absent or null keeps the caller's value */
	assert_int_equal(thing.count, 7);
	assert_string_equal(thing.note, "kept");
}

static void refuse(const char *text, int code, const char *field, const char *part)
{
	KK_CLEANUP_JSON json_t *obj = parse(text);
	struct thing thing = {0};
	struct kk_err err = {0};

	if (kk_json_read(obj, fields, ARRAY_SIZE(fields), &thing, &err) != -code)
		fail_msg("taken, or another error (%s): %s", err.msg, text);
	assert_err(&err, field, part);
	assert_int_equal(err.code, code);
}

#define WITH(more) "{\"name\":\"a\",\"port\":1" more "}"

static void test_bad(void **state)
{
	(void)state;
	refuse("[]", EINVAL, "", "a JSON object is wanted");
	refuse("{}", EINVAL, "name", "name: is missing");
	refuse("{\"name\":\"a\"}", EINVAL, "port", "port: is missing");
	refuse("{\"name\":null,\"port\":1}", EINVAL, "name", "name: null is not a text");
	refuse("{\"name\":7,\"port\":1}", EINVAL, "name", "name: 7 is not a text");
	refuse("{\"name\":{\"a\":[1]},\"port\":1}", EINVAL, "name", "{\"a\":[1]} is not a text");
	refuse("{\"name\":\"\",\"port\":1}", EINVAL, "name", "empty or too short");
	refuse("{\"name\":\"123456789\",\"port\":1}", EINVAL, "name", "9 bytes, 8 at most");
	refuse("{\"name\":\"a\",\"port\":\"22\"}", EINVAL, "port",
	       "port: \"22\" is not a whole number");
	refuse("{\"name\":\"a\",\"port\":22.0}", EINVAL, "port", "is not a whole number");
	refuse("{\"name\":\"a\",\"port\":true}", EINVAL, "port", "is not a whole number");
	refuse("{\"name\":\"a\",\"port\":0}", ERANGE, "port",
	       "port: 0 is out of range (1 to 65535)");
	refuse("{\"name\":\"a\",\"port\":70000}", ERANGE, "port",
	       "port: 70000 is out of range (1 to 65535)");
	refuse("{\"name\":\"a\",\"port\":-22}", ERANGE, "port", "out of range");
	refuse(WITH(",\"count\":-6"), ERANGE, "count", "out of range (-5 to 9223372036854775807)");
	refuse(WITH(",\"on\":1"), EINVAL, "on", "on: 1 is not true or false");
	refuse(WITH(",\"on\":\"true\""), EINVAL, "on", "is not true or false");
	refuse(WITH(",\"colour\":1"), EINVAL, "colour", "colour: there is no such field");
	refuse(WITH(",\"Name\":\"b\""), EINVAL, "Name", "there is no such field");
}

static void test_embedded_nul(void **state)
{
	struct thing thing = {0};
	struct kk_err err = {0};
	KK_CLEANUP_JSON json_t *obj =
		json_pack("{s:o, s:i}", "name", json_stringn("a\0b", 3), "port", 1);

	(void)state;
	assert_non_null(obj);
	assert_int_equal(kk_json_read(obj, fields, ARRAY_SIZE(fields), &thing, &err), -EINVAL);
	assert_err(&err, "name", "NUL");
}

static void test_lax(void **state)
{
	KK_CLEANUP_JSON json_t *obj = parse(WITH(",\"colour\":1"));
	struct thing thing = {0};
	struct kk_err err = {0};

	(void)state;
	assert_int_equal(kk_json_read_lax(obj, fields, ARRAY_SIZE(fields), &thing, &err), 0);
	assert_int_equal(thing.port, 1);
	json_object_set_new(obj, "port", json_integer(0));
	assert_int_equal(kk_json_read_lax(obj, fields, ARRAY_SIZE(fields), &thing, &err), -ERANGE);
}

static void test_parse(void **state)
{
	static const char *const bad[] = {
		"",
		" ",
		"{",
		"}",
		"{\"a\":1,}",
		"{\"a\" 1}",
		"{'a':1}",
		"nul",
		"{\"a\":1} x",
		"{\"a\":1,\"a\":2}",
		"[1,2",
		"\"text\"",
		"7",
		"{\"a\":\"\xff\"}",
		"{\"a\":01}",
		"{\"a\":99999999999999999999}",
		"{\"a\":\"\\u0000\"}",
		"{\"a\":NaN}",
	};
	char deep[8192];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct kk_err err = {0};
		json_t *obj = kk_json_parse(bad[i], strlen(bad[i]), &err);

		if (obj)
			fail_msg("taken: %s", bad[i]);
		assert_err(&err, "", "not JSON: ");
	}
	/* nesting that would overflow a naive parser's stack */
	memset(deep, '[', sizeof(deep));
	assert_null(kk_json_parse(deep, sizeof(deep), NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),	     cmocka_unit_test(test_bad),
		cmocka_unit_test(test_embedded_nul), cmocka_unit_test(test_lax),
		cmocka_unit_test(test_parse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
