// SPDX-License-Identifier: MIT
#include "kk_test.h"

#include <errno.h>
#include <stdlib.h>

#include "proto/token.h"
#include "util/encode.h"

#define PIN    "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
#define SECRET "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"

static const struct kk_token good = {
	.url = "https://control.example:8443",
	.pin = PIN,
	.secret = SECRET,
	.role = "gateway",
	.node = "gw1",
};

static void test_round(void **state)
{
	char *text = kk_token_format(&good);
	struct kk_token back = {0};
	struct kk_err err = {0};

	(void)state;
	assert_non_null(text);
	assert_memory_equal(text, "kkj1.", 5);
	assert_null(strpbrk(text, "+/= \n"));
	assert_int_equal(kk_token_parse(text, &back, &err), 0);
	assert_memory_equal(&back, &good, sizeof(good));
	free(text);
}

static void refuse_text(const char *text, const char *part)
{
	struct kk_token out, before;
	struct kk_err err = {0};

	memset(&out, 0x5a, sizeof(out));
	before = out;
	assert_int_equal(kk_token_parse(text, &out, &err), -EINVAL);
	assert_err(&err, "token", part);
	assert_memory_equal(&out, &before, sizeof(out));
}

static void test_bad_text(void **state)
{
	char longer[4096], *text = kk_token_format(&good);

	(void)state;
	refuse_text("", "not a join token");
	refuse_text("kkj2.abc", "not a join token");
	refuse_text("kka_abcdef", "not a join token");
	refuse_text("kkj1.", "damaged");
	refuse_text("kkj1.!!!!", "damaged");
	refuse_text("kkj1.AAAA", "damaged");
	memset(longer, 'A', sizeof(longer) - 1);
	memcpy(longer, "kkj1.", 5);
	longer[sizeof(longer) - 1] = '\0';
	refuse_text(longer, "too long");
	/* Every cut of a good token is damaged. */
	for (size_t len = strlen(text) - 1; len >= 5; len--) {
		text[len] = '\0';
		refuse_text(text, "damaged");
	}
	free(text);
}

static void refuse_json(const char *json, const char *part)
{
	char text[4096] = "kkj1.";

	kk_base64url(json, strlen(json), text + 5);
	refuse_text(text, part);
}

#define JSON(url, pin, secret, role, node)                                                         \
	"{\"url\":\"" url "\",\"pin\":\"" pin "\",\"secret\":\"" secret "\",\"role\":\"" role      \
	"\",\"node\":\"" node "\"}"
#define URL "https://h:1"

static void test_bad_parts(void **state)
{
	(void)state;
	refuse_json("[]", "object is wanted");
	refuse_json("{}", "url: is missing");
	refuse_json("{\"url\":7}", "url: 7 is not a text");
	refuse_json("{\"url\":\"" URL "\",\"url\":\"" URL "\"}", "damaged");
	refuse_json(JSON("http://h:1", PIN, SECRET, "agent", "a"), "address is not valid");
	refuse_json(JSON("https://h", PIN, SECRET, "agent", "a"), "address is not valid");
	refuse_json(JSON("https://h:0", PIN, SECRET, "agent", "a"), "address is not valid");
	refuse_json(JSON("https://h:70000", PIN, SECRET, "agent", "a"), "address is not valid");
	refuse_json(JSON("https://u@h:1", PIN, SECRET, "agent", "a"), "address is not valid");
	refuse_json(JSON("https://h:1/x", PIN, SECRET, "agent", "a"), "address is not valid");
	refuse_json(JSON(URL, "", SECRET, "agent", "a"), "pin is not valid");
	refuse_json(JSON(URL, "abcd", SECRET, "agent", "a"), "pin is not valid");
	refuse_json(JSON(URL, SECRET "=", SECRET, "agent", "a"), "pin is not valid");
	refuse_json(JSON(URL, PIN, "", "agent", "a"), "secret: the text is empty");
	refuse_json(JSON(URL, PIN, "a+b", "agent", "a"), "secret is not valid");
	refuse_json(JSON(URL, PIN, SECRET SECRET, "agent", "a"), "secret: a text of 86 bytes");
	refuse_json(JSON(URL, PIN, SECRET, "control", "a"), "role is not valid");
	refuse_json(JSON(URL, PIN, SECRET, "agent", ""), "node is not valid");
	refuse_json(JSON(URL, PIN, SECRET, "agent", "A b"), "node is not valid");
	refuse_json(JSON(URL, PIN, SECRET, "agent", "a\\u0000b"), "damaged");
}

static void test_newer(void **state)
{
	static const char json[] = "{\"url\":\"" URL "\",\"pin\":\"" PIN "\",\"secret\":\"" SECRET
				   "\",\"role\":\"agent\",\"node\":\"a\",\"later\":[1]}";
	char text[1024] = "kkj1.";
	struct kk_err err = {0};
	struct kk_token out;

	(void)state;
	kk_base64url(json, strlen(json), text + 5);
	assert_int_equal(kk_token_parse(text, &out, &err), 0);
	assert_string_equal(out.url, URL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round),
		cmocka_unit_test(test_bad_text),
		cmocka_unit_test(test_bad_parts),
		cmocka_unit_test(test_newer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
