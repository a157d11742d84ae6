// SPDX-License-Identifier: MIT
#include "link/dial.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "http/pinned.h"
#include "link/upgrade.h"
#include "util/cleanup.h"

#define HANDSHAKE_US (10 * 1000000ull)
#define HEADER_MAX   8192
#define SEND_MAX     16384 /* one TLS record */

struct kk_dial {
	struct kk_dial_config config;
	sd_event *event;
	CURLM *multi;
	CURL *curl;
	sd_event_source *timer;	 /* curl's */
	sd_event_source *socket; /* during the handshake; before, curl has its own */
	sd_event_source *deadline;
	int fd;
	char nonce[KK_UPGRADE_NONCE_LEN + 1];
	char request[1024];
	size_t request_len, request_sent;
	char header[HEADER_MAX + 1];
	size_t header_len;
	/* OpenSSL wants a write that it could not finish again from the same place. */
	char held[SEND_MAX];
	size_t held_len;
};

/* The last thing that a handler does: @dial may be gone afterwards. */
static int finish(struct kk_dial *dial, int status, const struct kk_err *err)
{
	dial->socket = sd_event_source_disable_unref(dial->socket);
	dial->deadline = sd_event_source_disable_unref(dial->deadline);
	dial->config.done(dial, status, err, dial->config.userdata);
	return 0;
}

static int fail(struct kk_dial *dial, const struct kk_err *err)
{
	return finish(dial, -err->code, err);
}

static int lost(struct kk_dial *dial, int r)
{
	struct kk_err err = {0};

	kk_err_set(&err, r ? -r : ECONNRESET, NULL, "Control at %s broke off the connection",
		   dial->config.url);
	return fail(dial, &err);
}

static int check_answer(struct kk_dial *dial)
{
	int status = kk_upgrade_answer(dial->header, dial->nonce);
	struct kk_err err = {0};

	if (status == 401)
		kk_err_set(&err, EACCES, NULL,
			   "Control at %s refuses this node's key: it was revoked, or the node was "
			   "joined anew elsewhere",
			   dial->config.url);
	else if (status < 0)
		kk_err_set(&err, -status, NULL, "what answers at %s is not Control",
			   dial->config.url);
	else if (status != 101)
		kk_err_set(&err, EPROTO, NULL, "Control at %s answered with HTTP status %d",
			   dial->config.url, status);
	return finish(dial, status, &err);
}

/*
 * Reads the answer's header byte by byte, so that frames right behind it stay in the TLS session for
 * their reader.
 */
static int read_answer(struct kk_dial *dial)
{
	while (dial->header_len < HEADER_MAX) {
		ssize_t n = kk_dial_recv(dial, dial->header + dial->header_len, 1);

		if (n == -EAGAIN)
			return 0;
		if (n <= 0)
			return lost(dial, (int)n);
		dial->header_len++;
		dial->header[dial->header_len] = '\0';
		if (dial->header_len >= 4 &&
		    strcmp(dial->header + dial->header_len - 4, "\r\n\r\n") == 0)
			return check_answer(dial);
	}
	return lost(dial, -EPROTO);
}

static int on_handshake(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct kk_dial *dial = userdata;

	(void)fd;
	(void)events;
	while (dial->request_sent < dial->request_len) {
		ssize_t n = kk_dial_send(dial, dial->request + dial->request_sent,
					 dial->request_len - dial->request_sent);

		if (n == -EAGAIN)
			return 0;
		if (n < 0)
			return lost(dial, (int)n);
		dial->request_sent += (size_t)n;
	}
	sd_event_source_set_io_events(source, EPOLLIN);
	return read_answer(dial);
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct kk_dial *dial = userdata;
	struct kk_err err = {0};

	(void)source;
	(void)usec;
	kk_err_set(&err, ETIMEDOUT, NULL, "Control at %s does not answer in time",
		   dial->config.url);
	return fail(dial, &err);
}

/* TLS is up: say what the connection is for. */
static int start_handshake(struct kk_dial *dial, struct kk_err *err)
{
	curl_socket_t fd;
	int r;

	if (curl_easy_getinfo(dial->curl, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK ||
	    fd == CURL_SOCKET_BAD)
		return kk_err_set(err, ECONNRESET, NULL, "Control at %s broke off the connection",
				  dial->config.url);
	dial->fd = fd;
	r = kk_upgrade_nonce(dial->nonce);
	if (r == 0)
		r = kk_upgrade_request(dial->config.url + strlen("https://"), dial->config.path,
				       dial->config.key, dial->nonce, dial->request,
				       sizeof(dial->request));
	if (r >= 0) {
		dial->request_len = (size_t)r;
		r = sd_event_add_io(dial->event, &dial->socket, fd, EPOLLIN | EPOLLOUT,
				    on_handshake, dial);
	}
	if (r >= 0)
		r = sd_event_add_time_relative(dial->event, &dial->deadline, CLOCK_MONOTONIC,
					       HANDSHAKE_US, 0, on_deadline, dial);
	if (r < 0)
		return kk_err_set(err, -r, NULL, "the handshake with Control cannot begin: %s",
				  strerror(-r));
	return 0;
}

/* Looks whether curl is through. */
static int check_connected(struct kk_dial *dial)
{
	struct kk_err err = {0};
	CURLMsg *msg;
	int left;

	do {
		msg = curl_multi_info_read(dial->multi, &left);
		if (!msg)
			return 0;
	} while (msg->msg != CURLMSG_DONE);
	if (msg->data.result != CURLE_OK)
		kk_pinned_error(msg->data.result, dial->config.url, &err);
	else
		start_handshake(dial, &err);
	return err.code ? fail(dial, &err) : 0;
}

static int on_socket(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct kk_dial *dial = userdata;
	int bits = 0, running;

	(void)source;
	if (events & EPOLLIN)
		bits |= CURL_CSELECT_IN;
	if (events & EPOLLOUT)
		bits |= CURL_CSELECT_OUT;
	if (events & (EPOLLERR | EPOLLHUP))
		bits |= CURL_CSELECT_ERR;
	curl_multi_socket_action(dial->multi, fd, bits, &running);
	return check_connected(dial);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct kk_dial *dial = userdata;
	int running;

	(void)source;
	(void)usec;
	curl_multi_socket_action(dial->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	return check_connected(dial);
}

/* curl wants @fd watched; its source is kept in @socket_data. */
static int watch_socket(CURL *curl, curl_socket_t fd, int what, void *userdata, void *socket_data)
{
	sd_event_source *source = socket_data;
	struct kk_dial *dial = userdata;
	uint32_t events = 0;

	(void)curl;
	if (what == CURL_POLL_REMOVE) {
		sd_event_source_disable_unref(source);
		curl_multi_assign(dial->multi, fd, NULL);
		return 0;
	}
	if (what & CURL_POLL_IN)
		events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		events |= EPOLLOUT;
	if (source)
		return sd_event_source_set_io_events(source, events) < 0 ? -1 : 0;
	if (sd_event_add_io(dial->event, &source, fd, events, on_socket, dial) < 0)
		return -1;
	curl_multi_assign(dial->multi, fd, source);
	return 0;
}

static int set_timer(CURLM *multi, long ms, void *userdata)
{
	struct kk_dial *dial = userdata;

	(void)multi;
	if (ms < 0)
		return sd_event_source_set_enabled(dial->timer, SD_EVENT_OFF) < 0 ? -1 : 0;
	if (sd_event_source_set_time_relative(dial->timer, (uint64_t)ms * 1000) < 0)
		return -1;
	return sd_event_source_set_enabled(dial->timer, SD_EVENT_ONESHOT) < 0 ? -1 : 0;
}

static int start_curl(struct kk_dial *dial)
{
	CURLMcode code;

	curl_easy_setopt(dial->curl, CURLOPT_CONNECT_ONLY, 1L);
	/* Ending a try must not wait for a name server that is silent; curl's thread for it ends by itself. */
	curl_easy_setopt(dial->curl, CURLOPT_QUICK_EXIT, 1L);
	curl_multi_setopt(dial->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(dial->multi, CURLMOPT_SOCKETDATA, dial);
	curl_multi_setopt(dial->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(dial->multi, CURLMOPT_TIMERDATA, dial);
	code = curl_multi_add_handle(dial->multi, dial->curl);
	return code == CURLM_OK ? 0 : -EIO;
}

int kk_dial_new(sd_event *event, const struct kk_dial_config *config, struct kk_dial **ret,
		struct kk_err *err)
{
	struct kk_dial *dial = calloc(1, sizeof(*dial));
	int r = -ENOMEM;

	if (!dial)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	dial->config = *config;
	dial->event = sd_event_ref(event);
	dial->fd = -1;
	dial->multi = curl_multi_init();
	if (dial->multi)
		r = kk_pinned_new(config->url, "", config->pin, &dial->curl, err);
	/* Far in the future and off: set_timer decides. */
	if (r == 0)
		r = sd_event_add_time(event, &dial->timer, CLOCK_MONOTONIC, UINT64_MAX, 1, on_timer,
				      dial);
	if (r >= 0)
		r = start_curl(dial);
	if (r < 0) {
		kk_dial_free(dial);
		return kk_err_set(err, -r, NULL, "no connection to Control can begin: %s",
				  strerror(-r));
	}
	*ret = dial;
	return 0;
}

void kk_dial_free(struct kk_dial *dial)
{
	if (!dial)
		return;
	sd_event_source_disable_unref(dial->socket);
	sd_event_source_disable_unref(dial->deadline);
	/* Taking the handle out closes its connection; this still calls watch_socket and set_timer. */
	if (dial->curl && dial->multi)
		curl_multi_remove_handle(dial->multi, dial->curl);
	curl_easy_cleanup(dial->curl);
	curl_multi_cleanup(dial->multi);
	sd_event_source_disable_unref(dial->timer);
	sd_event_unref(dial->event);
	free(dial);
}

int kk_dial_fd(const struct kk_dial *dial)
{
	return dial->fd;
}

ssize_t kk_dial_recv(struct kk_dial *dial, void *buf, size_t len)
{
	size_t n;
	CURLcode code = curl_easy_recv(dial->curl, buf, len, &n);

	if (code == CURLE_AGAIN)
		return -EAGAIN;
	return code == CURLE_OK ? (ssize_t)n : -ECONNRESET;
}

ssize_t kk_dial_send(struct kk_dial *dial, const void *buf, size_t len)
{
	CURLcode code;
	size_t n = 0;

	if (!len)
		return 0;
	if (!dial->held_len) {
		dial->held_len = len < SEND_MAX ? len : SEND_MAX;
		memcpy(dial->held, buf, dial->held_len);
	}
	code = curl_easy_send(dial->curl, dial->held, dial->held_len, &n);
	if (code == CURLE_AGAIN)
		return -EAGAIN;
	dial->held_len = 0;
	return code == CURLE_OK ? (ssize_t)n : -ECONNRESET;
}
