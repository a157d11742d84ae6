// SPDX-License-Identifier: MIT
/* Any text of a set request, applied to an engine without sockets; then the answer to a get request. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kkwg/config.h"

static void fu_random(void *ctx, void *buf, size_t len)
{
	(void)ctx;
	memset(buf, 7, len);
}

static uint64_t fu_realtime(void *ctx)
{
	(void)ctx;
	return 1;
}

static void fu_transmit(void *ctx, struct wg_endpoint *to, const void *data, size_t len,
			uint8_t ecn)
{
	(void)ctx;
	(void)to;
	(void)data;
	(void)len;
	(void)ecn;
}

static char *fu_get(const struct engine *e)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	config_print(e, f);
	fclose(f);
	return text;
}

int fuzz_kkwg_uapi(const uint8_t *data, size_t len)
{
	static struct worker *w;
	struct wg_env env = {.random = fu_random, .realtime = fu_realtime, .transmit = fu_transmit};
	struct engine engine = {.n = 1}, *e = &engine;
	struct config_change *c = config_change_new();
	char *line, *text, *rest, *before, *after;
	int r = 0;

	if (!w) {
		w = calloc(1, sizeof(*w));
		wg_crypto_init();
		wg_noise_init();
	}
	text = malloc(len + 1);
	if (!w || !c || !text)
		abort();
	e->workers = env.ctx = w;
	w->dev = wg_device_new(&env);
	w->udp.fd4 = w->udp.fd6 = -1;
	w->udp.port = 1;
	memcpy(text, data, len);
	text[len] = '\0';
	before = fu_get(e);
	rest = text;
	while (!r && (line = strsep(&rest, "\n"))) {
		/* Neither sockets nor the marks of them are at hand. */
		if (strncmp(line, "listen_port", 11) != 0 && strncmp(line, "fwmark", 6) != 0 &&
		    *line)
			r = config_change_line(c, line);
	}
	after = fu_get(e);
	/* Reading alone changes nothing. */
	if (strcmp(before, after) != 0)
		abort();
	if (!r)
		config_change_apply(c, e);
	free(after);
	after = fu_get(e);
	free(after);
	free(before);
	free(text);
	config_change_free(c);
	wg_device_free(w->dev);
	return 0;
}

#ifdef KK_FUZZ
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	return fuzz_kkwg_uapi(data, len);
}
#endif
