// SPDX-License-Identifier: MIT
/*
 * What callers say to Control: a request that libmicrohttpd has read, "METHOD PATH?QUERY" in the first line and then
 * the body, through the router, the JSON layer, the operation and the store. Whatever it is, there is one answer, no
 * fault of Control's, and an error in the form of the API. What it changes is taken back.
 */
#include "control_world.h"

int fuzz_control_rest(const uint8_t *data, size_t len);

int fuzz_control_rest(const uint8_t *data, size_t len)
{
	struct kk_control *control = fuzz_control();
	char *text = malloc(len + 1);

	if (!text)
		return 0;
	memcpy(text, data, len);
	text[len] = '\0';
	must(kk_store_begin(control->store, NULL));
	fuzz_ask(control, text, len);
	kk_store_end(control->store, -ECANCELED, NULL);
	free(text);
	return 0;
}

#ifdef KK_FUZZ
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	return fuzz_control_rest(data, len);
}
#endif
