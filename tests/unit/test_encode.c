// SPDX-License-Identifier: MIT
#include "kk_test.h"

#include <errno.h>

#include "util/encode.h"

/* RFC 4648 section 10, and bytes that tell the two alphabets apart. */
static const struct {
	const char *data;
	size_t len;
	const char *base64, *base64url;
} vectors[] = {
	{"", 0, "", ""},
	{"f", 1, "Zg==", "Zg"},
	{"fo", 2, "Zm8=", "Zm8"},
	{"foo", 3, "Zm9v", "Zm9v"},
	{"foob", 4, "Zm9vYg==", "Zm9vYg"},
	{"fooba", 5, "Zm9vYmE=", "Zm9vYmE"},
	{"foobar", 6, "Zm9vYmFy", "Zm9vYmFy"},
	{"\xfb\xff\xbf", 3, "+/+/", "-_-_"},
	{"\0\0", 2, "AAA=", "AAA"},
};

static void test_base64(void **state)
{
	char text[16], back[16];

	(void)state;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		kk_base64(vectors[i].data, vectors[i].len, text);
		assert_string_equal(text, vectors[i].base64);
		kk_base64url(vectors[i].data, vectors[i].len, text);
		assert_string_equal(text, vectors[i].base64url);
		assert_int_equal(kk_unbase64url(text, back, sizeof(back)), (int)vectors[i].len);
		assert_memory_equal(back, vectors[i].data, vectors[i].len);
	}
}

static void test_bad_base64url(void **state)
{
	static const char *const bad[] = {
		"A",	"AAAAA", "Zg==",    "Zm9v\n", " Zm9v", "Zm+v",
		"Zm/v", "Zm=v",	 "Zm\x80v", "=",      "Zh", /* left-over bits */
		"Zm9",
	};
	char back[16];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (kk_unbase64url(bad[i], back, sizeof(back)) != -EINVAL)
			fail_msg("\"%s\" was taken", bad[i]);
}

static void test_base64url_room(void **state)
{
	char back[4] = "\x5a\x5a\x5a\x5a";

	(void)state;
	assert_int_equal(kk_unbase64url("Zm9vYg", back, 3), -E2BIG);
	assert_int_equal(kk_unbase64url("Zm9v", back, 2), -E2BIG);
	assert_int_equal(kk_unbase64url("Zm8", back, 1), -E2BIG);
	assert_int_equal(kk_unbase64url("Zm9v", back, 3), 3);
	assert_int_equal(back[3], 0x5a);
}

#define KEY "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="

static void test_key(void **state)
{
	static const char *const bad[] = {
		"",
		"hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo",
		"hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo==",
		"hSDwCYkwp1R0i33ctD73Wg2_Og0mOBr066SpjqqbTmo=",
		"hSDwCYkwp1R0i33ctD73Wg2-Og0mOBr066SpjqqbTmo=",
		"hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmp=",
		"hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTm==",
		"hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066Spjqqb\nmo=",
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	};
	uint8_t key[KK_KEY_LEN], before[KK_KEY_LEN];
	char text[KK_KEY_BASE64_LEN + 1];

	(void)state;
	assert_int_equal(kk_key_parse(KEY, key), 0);
	kk_key_format(key, text);
	assert_string_equal(text, KEY);
	memcpy(before, key, sizeof(key));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (kk_key_parse(bad[i], key) != -EINVAL)
			fail_msg("\"%s\" was taken", bad[i]);
		assert_memory_equal(key, before, sizeof(key));
	}
}

static void test_hex(void **state)
{
	static const char *const bad[] = {"",	    "0",       "00ff1", "00ff1g",
					  "00 f12", "00ff122", "0x00f1"};
	uint8_t bytes[3];
	char text[7];

	(void)state;
	kk_hex("\x00\xff\x12", 3, text);
	assert_string_equal(text, "00ff12");
	assert_int_equal(kk_unhex("00FF12", bytes, 3), 0);
	assert_memory_equal(bytes, "\x00\xff\x12", 3);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (kk_unhex(bad[i], bytes, 3) != -EINVAL)
			fail_msg("\"%s\" was taken", bad[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_base64),
		cmocka_unit_test(test_bad_base64url),
		cmocka_unit_test(test_base64url_room),
		cmocka_unit_test(test_key),
		cmocka_unit_test(test_hex),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
