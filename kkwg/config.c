// SPDX-License-Identifier: MIT
/* Reading a request, line by line. */
#include "kkwg/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "kkwg/change.h"
#include "util/encode.h"
#include "wg/constants.h"

struct config_change *config_change_new(void)
{
	struct config_change *c = calloc(1, sizeof(*c));

	if (c)
		c->peers_end = &c->peers;
	return c;
}

static void peer_change_free(struct peer_change *p)
{
	while (p->allowed) {
		struct allowed_change *next = p->allowed->next;

		free(p->allowed);
		p->allowed = next;
	}
	wg_zero(p, sizeof(*p));
	free(p);
}

void config_change_free(struct config_change *c)
{
	if (!c)
		return;
	while (c->peers) {
		struct peer_change *next = c->peers->next;

		peer_change_free(c->peers);
		c->peers = next;
	}
	wg_zero(c, sizeof(*c));
	free(c);
}

static int parse_number(const char *text, uint64_t max, uint64_t *ret)
{
	uint64_t n = 0;

	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		n = n * 10 + (uint64_t)(*text - '0');
		if (n > max)
			return -EINVAL;
	}
	*ret = n;
	return 0;
}

/* The flags of the protocol are only ever turned on; our own can be turned off as well. */
static int parse_true(const char *text, bool *ret)
{
	if (strcmp(text, "true") != 0)
		return -EINVAL;
	*ret = true;
	return 0;
}

static int parse_bool(const char *text, bool *ret)
{
	if (strcmp(text, "false") != 0)
		return parse_true(text, ret);
	*ret = false;
	return 0;
}

int config_parse_endpoint(char *text, struct wg_endpoint *ret)
{
	struct wg_endpoint e = {0};
	char *colon = strrchr(text, ':'), *scope, *end;
	uint64_t port;

	if (!colon || parse_number(colon + 1, UINT16_MAX, &port) < 0)
		return -EINVAL;
	*colon = '\0';
	if (*text != '[') {
		e.in.sin_family = AF_INET;
		e.in.sin_port = htons((uint16_t)port);
		if (inet_pton(AF_INET, text, &e.in.sin_addr) != 1)
			return -EINVAL;
		*ret = e;
		return 0;
	}
	end = colon - 1;
	if (*end != ']')
		return -EINVAL;
	*end = '\0';
	e.in6.sin6_family = AF_INET6;
	e.in6.sin6_port = htons((uint16_t)port);
	scope = strchr(text, '%');
	if (scope) {
		uint64_t index = if_nametoindex(scope + 1);

		if (!index && parse_number(scope + 1, UINT32_MAX, &index) < 0)
			return -EINVAL;
		e.in6.sin6_scope_id = (uint32_t)index;
		*scope = '\0';
	}
	if (inet_pton(AF_INET6, text + 1, &e.in6.sin6_addr) != 1)
		return -EINVAL;
	if (IN6_IS_ADDR_V4MAPPED(&e.in6.sin6_addr)) {
		struct wg_endpoint v4 = {
			.in = {.sin_family = AF_INET, .sin_port = e.in6.sin6_port}};

		memcpy(&v4.in.sin_addr, &e.in6.sin6_addr.s6_addr[12], 4);
		e = v4;
	}
	*ret = e;
	return 0;
}

static int parse_allowed(struct peer_change *p, char *text)
{
	struct allowed_change a = {0}, *copy;
	char *slash = strchr(text, '/');
	uint64_t bits;

	/* A minus takes the prefix away again. */
	if (*text == '-') {
		a.remove = true;
		text++;
	}
	if (slash)
		*slash = '\0';
	if (inet_pton(AF_INET, text, a.addr) == 1)
		a.addr_len = 4;
	else if (inet_pton(AF_INET6, text, a.addr) == 1)
		a.addr_len = 16;
	else
		return -EINVAL;
	bits = a.addr_len * 8;
	if (slash && parse_number(slash + 1, bits, &bits) < 0)
		return -EINVAL;
	a.bits = (uint8_t)bits;
	copy = malloc(sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	*copy = a;
	*p->allowed_end = copy;
	p->allowed_end = &copy->next;
	return 0;
}

static int begin_peer(struct config_change *c, const char *value)
{
	struct peer_change *p;
	uint8_t public[WG_KEY_LEN];

	if (kk_unhex(value, public, sizeof(public)) < 0)
		return -EINVAL;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	memcpy(p->public, public, sizeof(public));
	p->allowed_end = &p->allowed;
	*c->peers_end = p;
	c->peers_end = &p->next;
	c->last = p;
	return 0;
}

static int device_line(struct config_change *c, const char *key, const char *value)
{
	uint64_t n;

	if (strcmp(key, "private_key") == 0) {
		c->has_secret = true;
		return kk_unhex(value, c->secret, sizeof(c->secret)) < 0 ? -EINVAL : 0;
	}
	if (strcmp(key, "listen_port") == 0) {
		if (parse_number(value, UINT16_MAX, &n) < 0)
			return -EINVAL;
		c->has_port = true;
		c->port = (uint16_t)n;
		return 0;
	}
	if (strcmp(key, "fwmark") == 0) {
		n = 0;
		if (*value && parse_number(value, UINT32_MAX, &n) < 0)
			return -EINVAL;
		c->has_mark = true;
		c->mark = (uint32_t)n;
		return 0;
	}
	if (strcmp(key, "replace_peers") == 0)
		return parse_true(value, &c->replace_peers);
	if (strcmp(key, "reply_to_ingress") == 0) {
		c->has_reply = true;
		return parse_bool(value, &c->reply_to_ingress);
	}
	if (strcmp(key, "forwarding") == 0) {
		c->has_forwarding = true;
		return parse_bool(value, &c->forwarding);
	}
	if (strcmp(key, "eager") == 0) {
		c->has_eager = true;
		return parse_bool(value, &c->eager);
	}
	return -EINVAL;
}

static int peer_line(struct peer_change *p, const char *key, char *value)
{
	uint64_t n;

	if (strcmp(key, "preshared_key") == 0) {
		p->has_psk = true;
		return kk_unhex(value, p->psk, sizeof(p->psk)) < 0 ? -EINVAL : 0;
	}
	if (strcmp(key, "endpoint") == 0) {
		p->has_endpoint = true;
		return config_parse_endpoint(value, &p->endpoint);
	}
	if (strcmp(key, "persistent_keepalive_interval") == 0) {
		if (parse_number(value, UINT16_MAX, &n) < 0)
			return -EINVAL;
		p->has_keepalive = true;
		p->keepalive = (uint16_t)n;
		return 0;
	}
	if (strcmp(key, "allowed_ip") == 0)
		return parse_allowed(p, value);
	if (strcmp(key, "replace_allowed_ips") == 0) {
		/* Those named before it in the same request would go as well. */
		while (p->allowed) {
			struct allowed_change *next = p->allowed->next;

			free(p->allowed);
			p->allowed = next;
		}
		p->allowed_end = &p->allowed;
		return parse_true(value, &p->replace_allowed);
	}
	if (strcmp(key, "remove") == 0)
		return parse_true(value, &p->remove);
	if (strcmp(key, "update_only") == 0)
		return parse_true(value, &p->update_only);
	if (strcmp(key, "protocol_version") == 0)
		return strcmp(value, "1") == 0 ? 0 : -EINVAL;
	return -EINVAL;
}

int config_change_line(struct config_change *c, char *line)
{
	char *value = strchr(line, '=');

	if (!value || value == line)
		return -EPROTO;
	*value++ = '\0';
	if (strcmp(line, "public_key") == 0)
		return begin_peer(c, value);
	return c->last ? peer_line(c->last, line, value) : device_line(c, line, value);
}
