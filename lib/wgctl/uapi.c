// SPDX-License-Identifier: MIT
#include "wgctl/uapi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "util/cleanup.h"
#include "wgctl/engine.h"
#include "wgctl/ops.h"

/* About 250 bytes a peer, so this is beyond every number of Agents there can be. */
#define ANSWER_MAX (64u << 20)

/* A new peer takes wireguard-go some milliseconds: an answer has to come before our patience ends. */
#define PEERS_A_REQUEST 256

/* Text that may hold keys: wiped whenever it moves and when it goes. */
struct text {
	char *data;
	size_t len, size;
};

static void text_clean(struct text *t)
{
	if (t->data)
		OPENSSL_cleanse(t->data, t->size);
	free(t->data);
	*t = (struct text){0};
}

static int text_grow(struct text *t)
{
	struct text bigger = {.len = t->len, .size = t->size ? 2 * t->size : 4096};

	bigger.data = malloc(bigger.size);
	if (!bigger.data)
		return -ENOMEM;
	if (t->len)
		memcpy(bigger.data, t->data, t->len);
	text_clean(t);
	*t = bigger;
	return 0;
}

static int send_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Reads to the empty line that ends an answer. */
static int receive_answer(int fd, struct text *answer)
{
	for (;;) {
		ssize_t n;

		if (answer->len + 1 >= answer->size) {
			if (answer->size >= ANSWER_MAX)
				return -EFBIG;
			if (text_grow(answer) < 0)
				return -ENOMEM;
		}
		n = recv(fd, answer->data + answer->len, answer->size - answer->len - 1, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		if (n == 0)
			return -EPIPE;
		if (memchr(answer->data + answer->len, '\0', (size_t)n))
			return -EBADMSG;
		answer->len += (size_t)n;
		answer->data[answer->len] = '\0';
		if (answer->len >= 2 && strcmp(answer->data + answer->len - 2, "\n\n") == 0)
			return 0;
	}
}

/* One request over a connection of its own: an engine that died is noticed here. Returns the connection. */
static int ask(const struct wgctl *wg, const char *request, size_t len, struct text *answer,
	       struct kk_err *err)
{
	KK_CLEANUP_CLOSE int fd = wgctl_engine_connect(wg->ifname);
	int r = fd;

	if (fd == -ENOENT || fd == -ECONNREFUSED)
		return kk_err_set(err, -fd, "tunnel", "the WireGuard engine of %s is gone",
				  wg->ifname);
	if (fd >= 0)
		r = send_all(fd, request, len);
	if (r >= 0)
		r = receive_answer(fd, answer);
	if (r < 0)
		return kk_err_set(err, -r, "tunnel",
				  "no answer from the WireGuard engine of %s: %s", wg->ifname,
				  strerror(-r));
	return kk_steal_fd(&fd);
}

static int transact(const struct wgctl *wg, const char *request, size_t len, struct text *answer,
		    struct kk_err *err)
{
	int fd = ask(wg, request, len, answer, err);

	kk_close(fd);
	return fd < 0 ? fd : 0;
}

/* A request in the making: a memory stream whose text is wiped in the end. */
struct request {
	char *text;
	size_t len;
	FILE *f;
};

static int request_begin(struct request *request, struct kk_err *err)
{
	*request = (struct request){0};
	request->f = open_memstream(&request->text, &request->len);
	if (!request->f)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	fputs("set=1\n", request->f);
	return 0;
}

/* Sends it and frees it; @what says in an error what it was to do. */
static int request_send(const struct wgctl *wg, struct request *request, const char *what,
			struct kk_err *err)
{
	struct text answer = {0};
	int r;

	fputc('\n', request->f);
	r = fclose(request->f) == 0 ? 0 : kk_err_set(err, ENOMEM, NULL, "out of memory");
	if (r == 0)
		r = transact(wg, request->text, request->len, &answer, err);
	if (r == 0) {
		r = uapi_parse_set(answer.data);
		if (r < 0)
			kk_err_set(err, -r, "tunnel", "the WireGuard engine of %s cannot %s: %s",
				   wg->ifname, what, strerror(-r));
	}
	text_clean(&answer);
	if (request->text)
		OPENSSL_cleanse(request->text, request->len);
	free(request->text);
	return r;
}

static int set_device(struct wgctl *wg, const uint8_t private_key[KK_KEY_LEN], uint16_t listen_port,
		      struct kk_err *err)
{
	char key[2 * KK_KEY_LEN + 1], what[48];
	struct request request;
	int r;

	r = request_begin(&request, err);
	if (r < 0)
		return r;
	kk_hex(private_key, KK_KEY_LEN, key);
	fprintf(request.f, "private_key=%s\nlisten_port=%u\n", key, listen_port);
	OPENSSL_cleanse(key, sizeof(key));
	snprintf(what, sizeof(what), "listen on UDP port %u", listen_port);
	return request_send(wg, &request, what, err);
}

static int send_peers(const struct wgctl *wg, const struct wgctl_peer *peers, size_t n,
		      struct kk_err *err)
{
	struct request request;
	int r;

	r = request_begin(&request, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		uapi_write_peer(request.f, &peers[i]);
	return request_send(wg, &request, "set its peers", err);
}

static int set_peers(struct wgctl *wg, const struct wgctl_peer *peers, size_t n, struct kk_err *err)
{
	int r = 0;

	for (size_t done = 0; r == 0 && done < n; done += PEERS_A_REQUEST) {
		size_t part = n - done < PEERS_A_REQUEST ? n - done : PEERS_A_REQUEST;

		r = send_peers(wg, peers + done, part, err);
	}
	return r;
}

static int remove_peer(struct wgctl *wg, const uint8_t public_key[KK_KEY_LEN], struct kk_err *err)
{
	char key[2 * KK_KEY_LEN + 1];
	struct request request;
	int r;

	r = request_begin(&request, err);
	if (r < 0)
		return r;
	kk_hex(public_key, KK_KEY_LEN, key);
	/* Without update_only a peer that is not there would be made first. */
	fprintf(request.f, "public_key=%s\nupdate_only=true\nremove=true\n", key);
	return request_send(wg, &request, "remove a peer", err);
}

static int get(struct wgctl *wg, struct wgctl_device *ret, struct kk_err *err)
{
	static const char request[] = "get=1\n\n";
	struct text answer = {0};
	int r;

	r = transact(wg, request, strlen(request), &answer, err);
	if (r == 0)
		r = uapi_parse_get(answer.data, ret, err);
	text_clean(&answer);
	return r;
}

/* Sets one of kkwg's own switches. An engine says -EINVAL to a key that it does not know: -EOPNOTSUPP here. */
static int set_switch(struct wgctl *wg, const char *line, const char *what, struct kk_err *err)
{
	struct kk_err why = {0};
	struct request request;
	int r;

	r = request_begin(&request, err);
	if (r < 0)
		return r;
	fprintf(request.f, "%s\n", line);
	r = request_send(wg, &request, what, &why);
	if (r == -EINVAL)
		return kk_err_set(err, EOPNOTSUPP, "engine",
				  "the WireGuard engine of %s cannot %s, as kkwg can", wg->ifname,
				  what);
	return r < 0 ? kk_err_set(err, -r, why.field, "%s", why.msg) : 0;
}

static int reply_to_ingress(struct wgctl *wg, struct kk_err *err)
{
	return set_switch(wg, "reply_to_ingress=true", "reply to ingress", err);
}

static int eager(struct wgctl *wg, struct kk_err *err)
{
	return set_switch(wg, "eager=true", "begin handshakes eagerly", err);
}

static int forwarding(struct wgctl *wg, bool on, struct kk_err *err)
{
	struct kk_err why = {0};
	int r = set_switch(wg, on ? "forwarding=true" : "forwarding=false",
			   "keep what is forwarded whole", &why);

	if (r < 0 && r != -EOPNOTSUPP)
		return kk_err_set(err, -r, why.field, "%s", why.msg);
	return 0;
}

static int flows(struct wgctl *wg, struct kk_err *err)
{
	static const char request[] = "flow=1\n\n";
	struct text answer = {0};
	int fd = ask(wg, request, strlen(request), &answer, err);

	if (fd >= 0 && uapi_parse_set(answer.data) < 0) {
		fd = kk_close(fd);
		kk_err_set(err, EOPNOTSUPP, "engine",
			   "the WireGuard engine of %s cannot tell its flows, as kkwg can",
			   wg->ifname);
		fd = -EOPNOTSUPP;
	}
	text_clean(&answer);
	return fd;
}

static int destroy(struct wgctl *wg, struct kk_err *err)
{
	return wgctl_engine_stop(wg->ifname, err);
}

const struct wgctl_ops wgctl_uapi_ops = {
	.kind = WGCTL_USERSPACE,
	.set_device = set_device,
	.set_peers = set_peers,
	.remove_peer = remove_peer,
	.get = get,
	.reply_to_ingress = reply_to_ingress,
	.eager = eager,
	.forwarding = forwarding,
	.flows = flows,
	.destroy = destroy,
};
