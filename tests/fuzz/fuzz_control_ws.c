// SPDX-License-Identifier: MIT
/*
 * What a node says to Control over its WebSocket. The first byte says who it is (bit 0: the gateway, else an Agent)
 * and how the rest is meant (bit 1: frames as they are, else a message a line). What it changes is taken back.
 */
#include "control_world.h"

#include "controld/push/internal.h"

#define TURNS                                                                                      \
	20 /* of the event loop for one message: its line is always readable, and each turn does one thing */

int fuzz_control_ws(const uint8_t *data, size_t len);

/* What waits for a few milliseconds is done at once. A time that is set is no longer due, so leave it a turn. */
static void run_loop(struct kk_control *control, const struct kk_httpd_upgrade *line)
{
	for (int i = 0; i < TURNS && line->fd >= 0; i++) {
		if (i % 4 == 0) {
			sd_event_source_set_time(control->push->greet, 0);
			sd_event_source_set_time(control->push->flush, 0);
		}
		must(sd_event_run(control->event, 0));
	}
}

/* A final frame of text, masked with zeros (RFC 6455 section 5.2). */
static size_t frame(uint8_t *out, const uint8_t *text, size_t len)
{
	size_t at = 2;

	out[0] = 0x81;
	if (len < 126) {
		out[1] = 0x80 | (uint8_t)len;
	} else {
		out[1] = 0x80 | 126;
		out[2] = (uint8_t)(len >> 8);
		out[3] = (uint8_t)len;
		at = 4;
	}
	memset(out + at, 0, 4);
	memcpy(out + at + 4, text, len);
	return at + 4 + len;
}

static void say_lines(struct kk_control *control, struct kk_httpd_upgrade *line,
		      const uint8_t *data, size_t len)
{
	uint8_t *buf = malloc(len + 8);

	while (buf && len && line->fd >= 0) {
		const uint8_t *end = memchr(data, '\n', len);
		size_t n = end ? (size_t)(end - data) : len;

		if (n > UINT16_MAX)
			break;
		line->in = buf;
		line->len = frame(buf, data, n);
		run_loop(control, line);
		data += n + (end != NULL);
		len -= n + (end != NULL);
	}
	free(buf);
	line->len = 0;
}

int fuzz_control_ws(const uint8_t *data, size_t len)
{
	struct kk_control *control = fuzz_control();
	struct kk_httpd_upgrade line = {.fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK)};
	const enum kk_kind role = len && data[0] & 1 ? KK_GATEWAY : KK_AGENT;

	must(line.fd);
	must(kk_store_begin(control->store, NULL));
	kk_push_open(control->push, role, 1, "192.0.2.1", &line, line.fd);
	if (len && data[0] & 2) {
		line.in = data + 1;
		line.len = len - 1;
		run_loop(control, &line);
	} else if (len) {
		say_lines(control, &line, data + 1, len - 1);
	}
	json_decref(kk_push_report(control->push, role, 1));
	kk_push_forget(control->push, role, 1);
	if (line.fd >= 0)
		abort(); /* a line that nobody has any more is open */
	kk_store_end(control->store, -ECANCELED, NULL);
	kk_store_enter(control->store, 0, "control", "");
	return 0;
}

#ifdef KK_FUZZ
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	return fuzz_control_ws(data, len);
}
#endif
