// SPDX-License-Identifier: MIT
/*
 * libFuzzer: what strangers and nodes send to Control, and Control to nodes. The first byte says which: a join
 * token, or a message as JSON that is read as a snapshot or delta.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/model.h"
#include "proto/token.h"
#include "util/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void fuzz_token(const char *text)
{
	struct kk_token token;
	struct kk_err err = {0};

	if (kk_token_parse(text, &token, &err) == 0) {
		struct kk_token again;
		char *whole = kk_token_format(&token);

		/* What was read is written so that it reads the same. */
		if (!whole || kk_token_parse(whole, &again, &err) < 0 ||
		    strcmp(again.secret, token.secret) != 0 || strcmp(again.url, token.url) != 0)
			abort();
		free(whole);
	} else if (!err.msg[0]) {
		abort();
	}
}

static void fuzz_message(const char *text, size_t len)
{
	struct kk_config old = {0}, next = {0};
	struct kk_err err = {0};
	json_t *msg = kk_json_parse(text, len, &err);

	if (msg && kk_config_next(&old, msg, &next, &err) == 0)
		kk_config_clean(&next);
	json_decref(msg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text;

	if (!len)
		return 0;
	text = malloc(len);
	if (!text)
		return 0;
	memcpy(text, data + 1, len - 1);
	text[len - 1] = '\0';
	if (data[0] % 2)
		fuzz_token(text);
	else
		fuzz_message(text, len - 1);
	free(text);
	return 0;
}
