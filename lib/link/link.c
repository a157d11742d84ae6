// SPDX-License-Identifier: MIT
#include "link/link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "link/backoff.h"
#include "link/dial.h"
#include "util/cleanup.h"
#include "util/json.h"
#include "util/log.h"
#include "ws/ws.h"

#define PATH	      "/api/v1/node"
#define PROTOCOL      1
#define MESSAGE_MAX   (64u << 20)
#define QUEUE_MAX     (32u << 20) /* a report of 65,024 peers has 8 MiB */
#define IDLE_S	      40
#define REPORT_US     (5 * 1000000ull)
#define REFUSED_US    (60 * 1000000ull) /* between tries with a key that was refused */
#define STEADY_US     (10 * 1000000ull) /* a line that held this long ends the back-off */
#define CLOSE_INVALID 1007		/* RFC 6455 section 7.4.1 */
#define CLOSE_STALE   1008

struct kk_link {
	struct kk_link_config config;
	sd_event *event;
	sd_event_source *retry;	 /* when the next try is due */
	sd_event_source *report; /* when the next report is due; off while the line is down */
	struct kk_dial *dial;
	struct kk_ws *ws; /* NULL while the line is down */
	struct kk_backoff backoff;
	uint64_t up_since; /* monotonic, us */
	bool closing;	   /* what still comes in is not ours any more */
	bool stale;	   /* the next hello asks for a snapshot */
	int logged;	   /* errno of the failure that was logged last: each kind once */
	struct kk_config current;
};

static void try_later(struct kk_link *link, uint64_t us)
{
	int r = sd_event_source_set_time_relative(link->retry, us);

	if (r >= 0)
		r = sd_event_source_set_enabled(link->retry, SD_EVENT_ONESHOT);
	if (r < 0)
		kk_error("no further try to reach Control can be timed: %s", strerror(-r));
}

static uint64_t now(struct kk_link *link)
{
	uint64_t us = 0;

	sd_event_now(link->event, CLOCK_MONOTONIC, &us);
	return us;
}

/* ---- sending ---- */

static void send_json(struct kk_link *link, json_t *msg)
{
	KK_CLEANUP_FREE char *text = msg ? kk_json_text(msg) : NULL;
	int r = text ? kk_ws_send(link->ws, text, strlen(text)) : -ENOMEM;

	/* A line that cannot take it is about to close, and the next hello makes up for it. */
	if (r < 0)
		kk_debug("a message to Control is lost: %s", strerror(-r));
	json_decref(msg);
}

static void send_hello(struct kk_link *link)
{
	bool fresh = link->stale || !link->current.generation;
	char key[KK_KEY_BASE64_LEN + 1];

	kk_key_format(link->config.public_key, key);
	send_json(link, json_pack("{s:s, s:i, s:i, s:s, s:s?, s:I, s:s}", "type", "hello",
				  "protocol", PROTOCOL, "model", KK_MODEL, "version", KK_VERSION,
				  "epoch", fresh ? NULL : link->current.epoch, "generation",
				  fresh ? (json_int_t)0 : (json_int_t)link->current.generation,
				  "public_key", key));
}

static void send_nack(struct kk_link *link, int64_t generation, const struct kk_err *err)
{
	json_t *msg = json_pack("{s:s, s:I, s:s}", "type", "nack", "generation",
				(json_int_t)generation, "message", err->msg);

	if (msg && err->field[0])
		json_object_set_new(msg, "field", json_string(err->field));
	send_json(link, msg);
}

static int on_report(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct kk_link *link = userdata;
	json_t *msg;

	(void)usec;
	if (!link->ws || link->closing)
		return 0;
	sd_event_source_set_time_relative(source, REPORT_US);
	sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	if (!link->current.generation)
		return 0;
	msg = link->config.report(link->config.userdata);
	if (!msg)
		return 0;
	json_object_set_new(msg, "type", json_string("report"));
	send_json(link, msg);
	return 0;
}

void kk_link_report(struct kk_link *link)
{
	if (!link->ws)
		return;
	/* From the loop and not from here: several causes at once make one report. */
	sd_event_source_set_time_relative(link->report, 0);
	sd_event_source_set_enabled(link->report, SD_EVENT_ONESHOT);
}

/* ---- configurations ---- */

static bool right_role(const struct kk_link *link, const struct kk_config *config)
{
	return (config->self.subnet.len != 0) ==
	       (strcmp(link->config.identity->role, "agent") == 0);
}

/* Takes @next over if the machine can be brought to it; else leaves it to the caller. */
static int apply(struct kk_link *link, struct kk_config *next, struct kk_err *err)
{
	int r;

	if (!right_role(link, next))
		return kk_err_set(err, EINVAL, "self", "self: this node is no %s",
				  next->self.subnet.len ? "Agent" : "gateway");
	r = link->config.apply(&link->current, next, link->config.userdata, err);
	if (r < 0)
		return kk_err_set(err, -r, NULL, "the change could not be made: %s", strerror(-r));
	kk_config_clean(&link->current);
	link->current = *next;
	*next = (struct kk_config){0};
	link->stale = false;
	return 0;
}

static void take_change(struct kk_link *link, const json_t *msg)
{
	KK_CLEANUP(kk_config_clean) struct kk_config next = {0};
	int64_t generation = json_integer_value(json_object_get(msg, "generation"));
	struct kk_err err = {0};
	int r;

	r = kk_config_next(&link->current, msg, &next, &err);
	if (r == -ESTALE) {
		kk_info("asking Control for the whole configuration: %s", err.msg);
		link->stale = true;
		link->closing = true;
		kk_ws_close(link->ws, CLOSE_STALE, "stale");
		return;
	}
	if (r == 0)
		r = apply(link, &next, &err);
	if (r < 0) {
		kk_error("generation %lld is rejected, %lld stays in force: %s",
			 (long long)generation, (long long)link->current.generation, err.msg);
		send_nack(link, generation, &err);
		return;
	}
	kk_debug("generation %lld is in force", (long long)generation);
	send_json(link,
		  json_pack("{s:s, s:I}", "type", "ack", "generation", (json_int_t)generation));
	kk_link_report(link);
}

static void on_message(struct kk_ws *ws, const char *text, size_t len, void *userdata)
{
	KK_CLEANUP_JSON json_t *msg = NULL;
	struct kk_link *link = userdata;
	struct kk_err err = {0};
	const char *type;

	if (link->closing)
		return;
	msg = kk_json_parse(text, len, &err);
	type = json_string_value(json_object_get(msg, "type"));
	if (!type) {
		kk_error("Control sent what is no message: %s", msg ? "it has no type" : err.msg);
		link->closing = true;
		kk_ws_close(ws, CLOSE_INVALID, "no message");
		return;
	}
	if (strcmp(type, "snapshot") == 0 || strcmp(type, "delta") == 0)
		take_change(link, msg);
	else
		kk_debug("a message of the unknown type %.32s is passed over", type);
}

/* ---- the line ---- */

static void drop_line(struct kk_link *link)
{
	kk_ws_free(link->ws);
	link->ws = NULL;
	kk_dial_free(link->dial);
	link->dial = NULL;
	link->closing = false;
	sd_event_source_set_enabled(link->report, SD_EVENT_OFF);
}

static void on_closed(struct kk_ws *ws, const char *reason, void *userdata)
{
	struct kk_link *link = userdata;

	(void)ws;
	if (!link->closing)
		kk_warn("the line to Control at %s is lost (%s), what was applied stays in force",
			link->config.identity->url, reason);
	if (now(link) - link->up_since >= STEADY_US)
		kk_backoff_reset(&link->backoff);
	drop_line(link);
	try_later(link, kk_backoff_next(&link->backoff));
}

static ssize_t ws_recv(void *buf, size_t len, void *userdata)
{
	struct kk_link *link = userdata;

	return kk_dial_recv(link->dial, buf, len);
}

static ssize_t ws_send(const void *buf, size_t len, void *userdata)
{
	struct kk_link *link = userdata;

	return kk_dial_send(link->dial, buf, len);
}

static int open_line(struct kk_link *link)
{
	struct kk_ws_config config = {
		.fd = kk_dial_fd(link->dial),
		.recv = ws_recv,
		.send = ws_send,
		.message_max = MESSAGE_MAX,
		.queue_max = QUEUE_MAX,
		.idle_s = IDLE_S,
		.message = on_message,
		.closed = on_closed,
		.userdata = link,
	};
	int r = kk_ws_new(link->event, &config, &link->ws);

	if (r < 0)
		return r;
	link->up_since = now(link);
	link->logged = 0;
	kk_info("connected to Control at %s", link->config.identity->url);
	send_hello(link);
	kk_link_report(link);
	return 0;
}

/* Each kind of failure is worth one line, not one every 15 s. */
static void log_failure(struct kk_link *link, const struct kk_err *err)
{
	if (err->code == link->logged)
		kk_debug("%s", err->msg);
	else
		kk_warn("%s; trying again %s", err->msg,
			err->code == EACCES ? "every minute" : "until it works");
	link->logged = err->code;
}

static void on_dialled(struct kk_dial *dial, int status, const struct kk_err *cause, void *userdata)
{
	struct kk_link *link = userdata;
	struct kk_err err = *cause;
	int r;

	(void)dial;
	if (status == 101) {
		r = open_line(link);
		if (r == 0)
			return;
		kk_err_set(&err, -r, NULL, "no WebSocket to Control: %s", strerror(-r));
	}
	log_failure(link, &err);
	drop_line(link);
	try_later(link,
		  status == 401 ? kk_backoff_jitter(REFUSED_US) : kk_backoff_next(&link->backoff));
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct kk_link *link = userdata;
	const struct kk_identity *identity = link->config.identity;
	struct kk_dial_config config = {
		.url = identity->url,
		.pin = identity->pin,
		.path = PATH,
		.key = identity->key,
		.done = on_dialled,
		.userdata = link,
	};
	struct kk_err err = {0};

	(void)source;
	(void)usec;
	if (kk_dial_new(link->event, &config, &link->dial, &err) < 0) {
		log_failure(link, &err);
		try_later(link, kk_backoff_next(&link->backoff));
	}
	return 0;
}

int kk_link_new(sd_event *event, const struct kk_link_config *config, struct kk_link **ret)
{
	struct kk_link *link = calloc(1, sizeof(*link));
	int r;

	if (!link)
		return -ENOMEM;
	link->config = *config;
	link->event = sd_event_ref(event);
	kk_backoff_reset(&link->backoff);
	r = sd_event_add_time_relative(event, &link->retry, CLOCK_MONOTONIC, 0, 1, on_retry, link);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &link->report, CLOCK_MONOTONIC, REPORT_US, 0,
					       on_report, link);
	if (r >= 0)
		r = sd_event_source_set_enabled(link->report, SD_EVENT_OFF);
	if (r < 0) {
		kk_link_free(link);
		return r;
	}
	*ret = link;
	return 0;
}

void kk_link_free(struct kk_link *link)
{
	if (!link)
		return;
	drop_line(link);
	sd_event_source_disable_unref(link->retry);
	sd_event_source_disable_unref(link->report);
	sd_event_unref(link->event);
	kk_config_clean(&link->current);
	free(link);
}

void kk_link_ask_again(struct kk_link *link)
{
	if (!kk_link_connected(link))
		return;
	link->closing = true;
	kk_ws_close(link->ws, CLOSE_STALE, "again");
}

bool kk_link_connected(const struct kk_link *link)
{
	return link->ws && !link->closing;
}

const struct kk_config *kk_link_config(const struct kk_link *link)
{
	return &link->current;
}
