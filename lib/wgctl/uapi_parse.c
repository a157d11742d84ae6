// SPDX-License-Identifier: MIT
#include "wgctl/uapi.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "wgctl/ops.h"

#define LINE_MAX_LEN 256

struct parser {
	struct wgctl_device *device;
	struct wgctl_peer *peer; /* the one that lines belong to; NULL before the first */
	struct kk_err *err;
	bool ended; /* errno= was there */
	int error;
};

static int bad(struct parser *p, const char *key)
{
	/* Values may be keys, so only the name of the line is shown. */
	return kk_err_set(p->err, EBADMSG, "tunnel",
			  "the WireGuard engine's answer has a line \"%.40s\" that cannot be read",
			  key);
}

static int number(const char *text, uint64_t max, uint64_t *ret)
{
	uint64_t value = 0;

	if (!*text)
		return -EBADMSG;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EBADMSG;
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value) || value > max)
			return -EBADMSG;
	}
	*ret = value;
	return 0;
}

/* ADDRESS:PORT or [IPv6]:PORT; the zone of a link-local address is of no use to others. */
static int endpoint(const char *text, union kk_sockaddr *ret)
{
	char host[KK_ADDRESS_TEXT];
	const char *colon = strrchr(text, ':');
	struct kk_address address;
	uint64_t port;
	size_t len;

	if (!colon || number(colon + 1, UINT16_MAX, &port) < 0)
		return -EBADMSG;
	len = (size_t)(colon - text);
	if (text[0] == '[' && len >= 2 && text[len - 1] == ']') {
		len -= 2;
		text++;
	}
	if (len >= sizeof(host))
		return -EBADMSG;
	memcpy(host, text, len);
	host[len] = '\0';
	host[strcspn(host, "%")] = '\0';
	if (kk_parse_address("endpoint", host, &address, NULL) < 0)
		return -EBADMSG;
	*ret = kk_sockaddr_make(&address, (uint16_t)port);
	return 0;
}

static int allowed_ip(const char *text, struct wgctl_peer *peer)
{
	char host[KK_ADDRESS_TEXT];
	const char *slash = strchr(text, '/');
	struct kk_prefix prefix = {0};
	uint64_t len;

	if (!slash || (size_t)(slash - text) >= sizeof(host))
		return -EBADMSG;
	memcpy(host, text, (size_t)(slash - text));
	host[slash - text] = '\0';
	if (kk_parse_address("allowed_ip", host, &prefix.addr, NULL) < 0 ||
	    number(slash + 1, prefix.addr.family == AF_INET6 ? 128 : 32, &len) < 0)
		return -EBADMSG;
	prefix.len = (uint8_t)len;
	wgctl_peer_allow(peer, &prefix);
	return 0;
}

static int device_line(struct parser *p, const char *key, const char *value)
{
	uint64_t n;

	if (strcmp(key, "private_key") == 0)
		return kk_unhex(value, p->device->private_key, KK_KEY_LEN);
	if (strcmp(key, "listen_port") == 0) {
		if (number(value, UINT16_MAX, &n) < 0)
			return -EBADMSG;
		p->device->listen_port = (uint16_t)n;
	}
	return 0;
}

static int peer_line(struct wgctl_peer *peer, const char *key, const char *value)
{
	uint64_t n;

	if (strcmp(key, "endpoint") == 0)
		return endpoint(value, &peer->endpoint);
	if (strcmp(key, "allowed_ip") == 0)
		return allowed_ip(value, peer);
	if (strcmp(key, "persistent_keepalive_interval") == 0) {
		if (number(value, UINT16_MAX, &n) < 0)
			return -EBADMSG;
		peer->keepalive = (uint16_t)n;
	} else if (strcmp(key, "last_handshake_time_sec") == 0) {
		if (number(value, INT64_MAX, &n) < 0)
			return -EBADMSG;
		peer->last_handshake = (int64_t)n;
	} else if (strcmp(key, "rx_bytes") == 0) {
		return number(value, UINT64_MAX, &peer->rx_bytes);
	} else if (strcmp(key, "tx_bytes") == 0) {
		return number(value, UINT64_MAX, &peer->tx_bytes);
	}
	return 0;
}

/* The specification's errno is positive, wireguard-go's negative. */
static int error_line(const char *value, int *ret)
{
	uint64_t n;

	if (number(value + (value[0] == '-'), 4095, &n) < 0)
		return -EBADMSG;
	*ret = -(int)n;
	return 0;
}

static int one_line(struct parser *p, const char *key, const char *value)
{
	int r;

	if (strcmp(key, "errno") == 0) {
		p->ended = true;
		r = error_line(value, &p->error);
	} else if (strcmp(key, "public_key") == 0) {
		p->peer = wgctl_device_grow(p->device);
		if (!p->peer)
			return kk_err_set(p->err, ENOMEM, NULL, "out of memory");
		r = kk_unhex(value, p->peer->public_key, KK_KEY_LEN);
	} else if (p->peer) {
		r = peer_line(p->peer, key, value);
	} else {
		r = device_line(p, key, value);
	}
	return r < 0 ? bad(p, key) : 0;
}

static int each_line(struct parser *p, const char *text)
{
	while (*text && *text != '\n') {
		size_t len = strcspn(text, "\n");
		char line[LINE_MAX_LEN], *equals;
		int r;

		if (p->ended || !text[len])
			return bad(p, "(after the end)");
		if (len >= sizeof(line))
			return bad(p, "(too long)");
		memcpy(line, text, len);
		line[len] = '\0';
		equals = strchr(line, '=');
		if (!equals)
			return bad(p, "(without =)");
		*equals = '\0';
		r = one_line(p, line, equals + 1);
		explicit_bzero(line, sizeof(line));
		if (r < 0)
			return r;
		text += len + 1;
	}
	return p->ended ? 0 : bad(p, "(no errno)");
}

int uapi_parse_get(const char *answer, struct wgctl_device *ret, struct kk_err *err)
{
	static const uint8_t none[KK_KEY_LEN];
	struct parser parser = {.device = ret, .err = err};
	int r;

	r = each_line(&parser, answer);
	if (r < 0)
		return r;
	if (parser.error)
		return kk_err_set(err, -parser.error, "tunnel",
				  "the WireGuard engine cannot say its state: %s",
				  strerror(-parser.error));
	if (memcmp(ret->private_key, none, KK_KEY_LEN) != 0 &&
	    wgctl_pubkey(ret->private_key, ret->public_key) < 0)
		return kk_err_set(err, EIO, "tunnel", "cannot compute a public key");
	return 0;
}

int uapi_parse_set(const char *answer)
{
	char line[LINE_MAX_LEN];
	size_t len = strcspn(answer, "\n");
	int error = 0;

	if (strncmp(answer, "errno=", 6) != 0 || len >= sizeof(line) ||
	    strcmp(answer + len, "\n\n") != 0)
		return -EBADMSG;
	memcpy(line, answer, len);
	line[len] = '\0';
	if (error_line(line + 6, &error) < 0)
		return -EBADMSG;
	return error;
}

void uapi_write_peer(FILE *f, const struct wgctl_peer *peer)
{
	char key[2 * KK_KEY_LEN + 1], address[INET_ADDRSTRLEN], text[KK_ENDPOINT_TEXT];

	kk_hex(peer->public_key, KK_KEY_LEN, key);
	fprintf(f, "public_key=%s\n", key);
	if (peer->endpoint.any.sa_family)
		fprintf(f, "endpoint=%s\n", kk_sockaddr_text(&peer->endpoint, text));
	fprintf(f, "persistent_keepalive_interval=%u\nreplace_allowed_ips=true\n", peer->keepalive);
	for (size_t i = 0; i < peer->n_allowed; i++) {
		inet_ntop(AF_INET, &peer->allowed[i].addr, address, sizeof(address));
		fprintf(f, "allowed_ip=%s/%u\n", address, peer->allowed[i].len);
	}
	for (size_t i = 0; i < peer->n_allowed6; i++)
		fprintf(f, "allowed_ip=%s\n", kk_prefix_text(&peer->allowed6[i], text));
}
