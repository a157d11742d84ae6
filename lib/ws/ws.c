// SPDX-License-Identifier: MIT
#include "ws/ws.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <wslay/wslay.h>

#include "poll/poll.h"
#include "util/cleanup.h"

#define CLOSE_WAIT_US  (5 * 1000000ull) /* for the peer's half of the closing handshake */
#define TIMER_SLACK_US 200000ull
#define READ_BUDGET    (1u << 20) /* bytes in one turn of the loop, so that others get theirs */
#define MESSAGE_COST   128	  /* bytes that a queued message costs beyond its text */
#define SEND_TOGETHER  4096	  /* bytes of a message that go with its frame's head */
#define REASON_MAX     123	  /* a control frame carries 125 bytes, two are the status */

enum state {
	OPEN,
	CLOSING, /* our close frame is queued or sent */
	ENDED,	 /* @closed is due or has been called */
};

struct kk_ws {
	struct kk_ws_config config;
	wslay_event_context_ptr wslay;
	sd_event *event;
	sd_event_source *io; /* NULL where a poll watches */
	sd_event_source *timer, *pump;
	struct kk_poll_entry entry;
	enum state state;
	bool busy;	/* inside a callback of wslay: freeing has to wait */
	bool freed;	/* kk_ws_free() was called while busy */
	bool exhausted; /* the read budget of this turn is used up */
	size_t budget;
	uint8_t head[16]; /* of a frame, held back until its content comes */
	size_t head_len;
	uint64_t heard, pinged, close_by; /* CLOCK_MONOTONIC, microseconds */
	char reason[192];
};

static uint64_t now_us(struct kk_ws *ws)
{
	uint64_t now = 0;

	sd_event_now(ws->event, CLOCK_MONOTONIC, &now);
	return now;
}

static int watch(struct kk_ws *ws, uint32_t events)
{
	int r;

	if (ws->config.poll)
		return kk_poll_watch(ws->config.poll, &ws->entry, events);
	r = sd_event_source_set_io_events(ws->io, events);
	return r < 0 ? r : sd_event_source_set_enabled(ws->io, events ? SD_EVENT_ON : SD_EVENT_OFF);
}

/* Nothing more is read or sent; @closed is called by the next turn of the loop. */
static void end(struct kk_ws *ws, const char *reason)
{
	if (ws->state == ENDED)
		return;
	ws->state = ENDED;
	if (!ws->reason[0])
		snprintf(ws->reason, sizeof(ws->reason), "%s", reason);
	wslay_event_shutdown_read(ws->wslay);
	wslay_event_shutdown_write(ws->wslay);
	watch(ws, 0);
	sd_event_source_set_enabled(ws->timer, SD_EVENT_OFF);
	sd_event_source_set_enabled(ws->pump, SD_EVENT_ONESHOT);
}

static void end_errno(struct kk_ws *ws, const char *what, int code)
{
	char text[128];

	snprintf(text, sizeof(text), "%s: %s", what, strerror(code));
	end(ws, text);
}

static size_t queued(struct kk_ws *ws)
{
	return wslay_event_get_queued_msg_length(ws->wslay) +
	       MESSAGE_COST * wslay_event_get_queued_msg_count(ws->wslay);
}

static ssize_t on_recv(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, int flags,
		       void *userdata)
{
	struct kk_ws *ws = userdata;
	ssize_t n;

	(void)flags;
	/* Pings make wslay queue pongs: a peer that never reads them must not fill the memory. */
	if (queued(ws) > ws->config.queue_max)
		end(ws, "the peer does not read its answers");
	if (ws->state == ENDED || ws->freed)
		goto fail;
	if (!ws->budget) {
		ws->exhausted = true;
		wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	n = ws->config.recv(buf, len < ws->budget ? len : ws->budget, ws->config.userdata);
	if (n > 0) {
		ws->budget -= (size_t)n;
		ws->heard = now_us(ws);
		return n;
	}
	if (n == -EAGAIN) {
		wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	if (n == 0)
		end(ws, "the peer went away");
	else
		end_errno(ws, "receiving failed", (int)-n);
fail:
	wslay_event_set_error(ctx, WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

/* Sends @len bytes behind what was held back; returns how many of them went, or as the transport does. */
static ssize_t send_behind_head(struct kk_ws *ws, const uint8_t *data, size_t len)
{
	uint8_t both[SEND_TOGETHER];
	size_t part = len < sizeof(both) - ws->head_len ? len : sizeof(both) - ws->head_len;
	ssize_t n;

	if (!ws->head_len)
		return ws->config.send(data, len, ws->config.userdata);
	memcpy(both, ws->head, ws->head_len);
	memcpy(both + ws->head_len, data, part);
	n = ws->config.send(both, ws->head_len + part, ws->config.userdata);
	if (n <= 0)
		return n;
	if ((size_t)n < ws->head_len) {
		ws->head_len -= (size_t)n;
		memmove(ws->head, ws->head + n, ws->head_len);
		return -EAGAIN;
	}
	n -= (ssize_t)ws->head_len;
	ws->head_len = 0;
	return n ? n : -EAGAIN;
}

static ssize_t on_send(wslay_event_context_ptr ctx, const uint8_t *data, size_t len, int flags,
		       void *userdata)
{
	struct kk_ws *ws = userdata;
	ssize_t n;

	/* A frame's head goes with what follows: behind TLS it would be a record of its own. */
	if (flags & WSLAY_MSG_MORE && !ws->head_len && len <= sizeof(ws->head)) {
		memcpy(ws->head, data, len);
		ws->head_len = len;
		return (ssize_t)len;
	}
	n = send_behind_head(ws, data, len);
	if (n > 0)
		return n;
	if (n == -EAGAIN) {
		wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	if (n == 0)
		end(ws, "the peer went away");
	else
		end_errno(ws, "sending failed", (int)-n);
	wslay_event_set_error(ctx, WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static int on_genmask(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, void *userdata)
{
	(void)userdata;
	/* Requests of up to 256 bytes are never cut short or interrupted (getrandom(2)). */
	if (getrandom(buf, len, 0) == (ssize_t)len)
		return 0;
	wslay_event_set_error(ctx, WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static void on_close_frame(struct kk_ws *ws, const struct wslay_event_on_msg_recv_arg *arg)
{
	int len = arg->msg_length > 2 ? (int)arg->msg_length - 2 : 0;

	if (ws->reason[0])
		return;
	if (!arg->status_code)
		snprintf(ws->reason, sizeof(ws->reason), "closed by the peer");
	else if (!len)
		snprintf(ws->reason, sizeof(ws->reason), "closed by the peer (%u)",
			 arg->status_code);
	else
		snprintf(ws->reason, sizeof(ws->reason), "closed by the peer (%u: %.*s)",
			 arg->status_code, len, (const char *)arg->msg + 2);
}

static void on_message(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *arg,
		       void *userdata)
{
	struct kk_ws *ws = userdata;
	KK_CLEANUP_FREE char *text = NULL;

	(void)ctx;
	if (ws->freed || ws->state == ENDED)
		return;
	if (arg->opcode == WSLAY_CONNECTION_CLOSE) {
		on_close_frame(ws, arg);
		return;
	}
	if (wslay_is_ctrl_frame(arg->opcode) || ws->state != OPEN)
		return;
	if (arg->opcode != WSLAY_TEXT_FRAME) {
		kk_ws_close(ws, WSLAY_CODE_UNSUPPORTED_DATA, "only text is spoken here");
		return;
	}
	text = malloc(arg->msg_length + 1);
	if (!text) {
		end_errno(ws, "receiving failed", ENOMEM);
		return;
	}
	if (arg->msg_length)
		memcpy(text, arg->msg, arg->msg_length);
	text[arg->msg_length] = '\0';
	ws->config.message(ws, text, arg->msg_length, ws->config.userdata);
}

static const struct wslay_event_callbacks callbacks = {
	.recv_callback = on_recv,
	.send_callback = on_send,
	.genmask_callback = on_genmask,
	.on_msg_recv_callback = on_message,
};

static void set_timer(struct kk_ws *ws);

/* The closing handshake is over, or the peer broke the rules and was told so. */
static void end_closed(struct kk_ws *ws)
{
	uint16_t sent = wslay_event_get_status_code_sent(ws->wslay);
	char text[64] = "closed";

	if (sent == WSLAY_CODE_MESSAGE_TOO_BIG)
		snprintf(text, sizeof(text), "the peer sent a message that is too long");
	else if (sent == WSLAY_CODE_INVALID_FRAME_PAYLOAD_DATA)
		snprintf(text, sizeof(text), "the peer sent text that is not UTF-8");
	else if (sent == WSLAY_CODE_PROTOCOL_ERROR)
		snprintf(text, sizeof(text), "the peer broke the protocol");
	end(ws, text);
}

/* Asks the loop for what is wanted next, and notices the end of the closing handshake. */
static void settle(struct kk_ws *ws)
{
	bool want_read = wslay_event_want_read(ws->wslay);
	bool want_write = wslay_event_want_write(ws->wslay);

	if (ws->state == ENDED)
		return;
	if (!want_read && !want_write) {
		end_closed(ws);
		return;
	}
	if (!want_read && ws->state == OPEN) {
		/* wslay closes, for a breach of the protocol or because the peer does */
		ws->state = CLOSING;
		ws->close_by = now_us(ws) + CLOSE_WAIT_US;
		set_timer(ws);
	}
	watch(ws, (want_read ? EPOLLIN : 0) | (want_write ? EPOLLOUT : 0));
	if (ws->exhausted)
		sd_event_source_set_enabled(ws->pump, SD_EVENT_ONESHOT);
}

static void receive(struct kk_ws *ws)
{
	int r;

	ws->budget = READ_BUDGET;
	ws->exhausted = false;
	r = wslay_event_recv(ws->wslay);
	if (r == 0 || ws->freed || ws->state == ENDED)
		return;
	if (r == WSLAY_ERR_NOMEM)
		end_errno(ws, "receiving failed", ENOMEM);
	else if (!ws->reason[0])
		snprintf(ws->reason, sizeof(ws->reason), "the peer broke the protocol");
}

static void transmit(struct kk_ws *ws)
{
	if (wslay_event_send(ws->wslay) != 0)
		end(ws, "sending failed");
}

static void destroy(struct kk_ws *ws)
{
	if (ws->config.poll)
		kk_poll_forget(ws->config.poll, &ws->entry);
	sd_event_source_disable_unref(ws->io);
	sd_event_source_disable_unref(ws->timer);
	sd_event_source_disable_unref(ws->pump);
	wslay_event_context_free(ws->wslay);
	free(ws);
}

/* Runs one turn; @ws may be gone afterwards. */
static void turn(struct kk_ws *ws, bool read)
{
	ws->busy = true;
	if (read && ws->state != ENDED)
		receive(ws);
	if (ws->state != ENDED && !ws->freed)
		transmit(ws);
	ws->busy = false;
	if (ws->freed)
		destroy(ws);
	else
		settle(ws);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	(void)source;
	(void)fd;
	turn(userdata, revents & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP));
	return 0;
}

/* Goes on with a read that used up its budget, or tells the owner of the end. */
static int on_pump(sd_event_source *source, void *userdata)
{
	struct kk_ws *ws = userdata;

	(void)source;
	if (ws->state == ENDED)
		ws->config.closed(ws, ws->reason, ws->config.userdata);
	else
		turn(ws, true);
	return 0;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void set_timer(struct kk_ws *ws)
{
	uint64_t next = UINT64_MAX;

	if (ws->config.idle_s)
		next = earlier(next, ws->heard + ws->config.idle_s * 1000000ull);
	if (ws->config.ping_s && ws->state == OPEN)
		next = earlier(next, ws->pinged + ws->config.ping_s * 1000000ull);
	if (ws->state == CLOSING)
		next = earlier(next, ws->close_by);
	sd_event_source_set_time(ws->timer, next);
	sd_event_source_set_enabled(ws->timer,
				    next == UINT64_MAX ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	static const struct wslay_event_msg ping = {.opcode = WSLAY_PING};
	struct kk_ws *ws = userdata;
	uint64_t now = now_us(ws);
	char text[64];

	(void)source;
	(void)usec;
	if (ws->config.idle_s && now >= ws->heard + ws->config.idle_s * 1000000ull) {
		snprintf(text, sizeof(text), "nothing heard for %u s", ws->config.idle_s);
		end(ws, text);
		return 0;
	}
	if (ws->state == CLOSING && now >= ws->close_by) {
		end(ws, "the peer did not answer the closing handshake");
		return 0;
	}
	if (ws->config.ping_s && ws->state == OPEN &&
	    now >= ws->pinged + ws->config.ping_s * 1000000ull) {
		ws->pinged = now;
		if (wslay_event_queue_msg(ws->wslay, &ping) == WSLAY_ERR_NOMEM) {
			end_errno(ws, "sending a ping failed", ENOMEM);
			return 0;
		}
		transmit(ws);
		settle(ws);
	}
	if (ws->state != ENDED)
		set_timer(ws);
	return 0;
}

static void on_ready(struct kk_poll_entry *entry, uint32_t revents)
{
	struct kk_ws *ws = (struct kk_ws *)((char *)entry - offsetof(struct kk_ws, entry));

	on_io(NULL, entry->fd, revents, ws);
}

static int add_sources(struct kk_ws *ws, sd_event *event)
{
	int r;

	ws->event = event;
	ws->entry = (struct kk_poll_entry){.fd = ws->config.fd, .ready = on_ready};
	if (ws->config.poll)
		r = kk_poll_watch(ws->config.poll, &ws->entry, EPOLLIN);
	else
		r = sd_event_add_io(event, &ws->io, ws->config.fd, EPOLLIN, on_io, ws);
	if (r < 0)
		return r;
	r = sd_event_add_time(event, &ws->timer, CLOCK_MONOTONIC, UINT64_MAX, TIMER_SLACK_US,
			      on_timer, ws);
	if (r < 0)
		return r;
	r = sd_event_add_defer(event, &ws->pump, on_pump, ws);
	if (r < 0)
		return r;
	/* The peer may have written, and its TLS session read ahead, before we came. */
	return sd_event_source_set_enabled(ws->pump, SD_EVENT_ONESHOT);
}

int kk_ws_new(sd_event *event, const struct kk_ws_config *config, struct kk_ws **ret)
{
	struct kk_ws *ws = calloc(1, sizeof(*ws));
	int r;

	if (!ws)
		return -ENOMEM;
	ws->config = *config;
	r = config->server ? wslay_event_context_server_init(&ws->wslay, &callbacks, ws)
			   : wslay_event_context_client_init(&ws->wslay, &callbacks, ws);
	if (r != 0) {
		free(ws);
		return -ENOMEM;
	}
	wslay_event_config_set_max_recv_msg_length(ws->wslay, config->message_max);
	r = add_sources(ws, event);
	if (r < 0) {
		destroy(ws);
		return r;
	}
	ws->heard = ws->pinged = now_us(ws);
	set_timer(ws);
	*ret = ws;
	return 0;
}

void kk_ws_free(struct kk_ws *ws)
{
	if (!ws)
		return;
	if (!ws->busy) {
		destroy(ws);
		return;
	}
	/* wslay is on the stack below us: stop it, and go when it has returned. The descriptor may go before. */
	ws->freed = true;
	watch(ws, 0);
	wslay_event_shutdown_read(ws->wslay);
}

int kk_ws_send(struct kk_ws *ws, const char *text, size_t len)
{
	struct wslay_event_msg msg = {WSLAY_TEXT_FRAME, (const uint8_t *)text, len};
	int r;

	if (ws->state != OPEN)
		return -EPIPE;
	if (queued(ws) + len + MESSAGE_COST > ws->config.queue_max) {
		end(ws, "the peer does not take what it is sent");
		return -ENOBUFS;
	}
	r = wslay_event_queue_msg(ws->wslay, &msg);
	if (r != 0)
		return r == WSLAY_ERR_NOMEM ? -ENOMEM : -EPIPE;
	transmit(ws);
	settle(ws);
	return 0;
}

void kk_ws_close(struct kk_ws *ws, unsigned int status, const char *reason)
{
	size_t len = strlen(reason);

	if (ws->state != OPEN)
		return;
	ws->state = CLOSING;
	ws->close_by = now_us(ws) + CLOSE_WAIT_US;
	snprintf(ws->reason, sizeof(ws->reason), "%s", reason);
	if (wslay_event_queue_close(ws->wslay, (uint16_t)status, (const uint8_t *)reason,
				    len < REASON_MAX ? len : REASON_MAX) == WSLAY_ERR_NOMEM) {
		end_errno(ws, "closing failed", ENOMEM);
		return;
	}
	transmit(ws);
	settle(ws);
	if (ws->state != ENDED)
		set_timer(ws);
}
