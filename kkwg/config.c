// SPDX-License-Identifier: MIT
#include "kkwg/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "kkwg/shards.h"
#include "util/encode.h"
#include "util/log.h"
#include "wg/constants.h"

struct allowed_change {
	struct allowed_change *next;
	uint8_t addr[16];
	uint8_t addr_len, bits;
	bool remove;
};

struct peer_change {
	struct peer_change *next;
	uint8_t public[WG_KEY_LEN], psk[WG_KEY_LEN];
	struct wg_endpoint endpoint;
	uint16_t keepalive;
	bool remove, update_only, replace_allowed;
	bool has_psk, has_endpoint, has_keepalive;
	struct allowed_change *allowed, **allowed_end;
};

struct config_change {
	uint8_t secret[WG_KEY_LEN];
	uint32_t mark;
	uint16_t port;
	bool has_secret, has_mark, has_port, has_reply, reply_to_ingress, replace_peers;
	bool has_forwarding, forwarding, has_eager, eager;
	struct peer_change *peers, **peers_end, *last;
};

/* --- reading --- */

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

/* --- applying --- */

static int apply_allowed(struct wg_peer *p, const struct peer_change *c)
{
	struct wg_allowedips *t = &p->dev->first->allowedips;

	if (c->replace_allowed)
		wg_allowedips_flush(t, p);
	for (const struct allowed_change *a = c->allowed; a; a = a->next) {
		if (a->remove)
			wg_allowedips_del(t, a->addr, a->addr_len, a->bits, p);
		else if (wg_allowedips_add(t, a->addr, a->addr_len, a->bits, p) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int apply_peer(struct engine *e, const struct peer_change *c, uint64_t now)
{
	struct wg_peer *p = shards_find_peer(e, c->public);
	const struct wg_identity *self = &e->workers[0].dev->identity;
	bool fresh = !p;
	int r;

	if (c->remove) {
		if (p)
			wg_device_del_peer(p->dev, p);
		return 0;
	}
	/* Nobody is a peer of itself. */
	if (self->set && wg_equal(self->public, c->public, WG_KEY_LEN))
		return 0;
	if (!p) {
		if (c->update_only)
			return 0;
		r = shards_add_peer(e, c->public, &p);
		if (r < 0)
			return r;
	}
	if (c->has_psk)
		memcpy(p->handshake.psk, c->psk, WG_KEY_LEN);
	if (c->has_endpoint)
		wg_peer_set_endpoint(p, &c->endpoint);
	r = apply_allowed(p, c);
	if (r < 0)
		return r;
	if (c->has_keepalive)
		wg_device_set_keepalive(p->dev, p, c->keepalive, now);
	if (!fresh && c->has_endpoint && p->staged.head)
		wg_peer_send_staged(p, now);
	return 0;
}

/* Memory for all that the request adds, at most. */
static int reserve(const struct config_change *c, struct engine *e)
{
	uint32_t peers = 0;
	size_t prefixes = 0;
	bool removes = c->replace_peers;

	for (const struct peer_change *p = c->peers; p && !removes; p = p->next)
		removes = p->remove;
	for (const struct peer_change *p = c->peers; p; p = p->next) {
		if (p->remove)
			continue;
		/* One that is there may be removed, and added again, by the same request. */
		peers += removes || !shards_find_peer(e, p->public);
		for (const struct allowed_change *a = p->allowed; a; a = a->next)
			prefixes += !a->remove;
	}
	return shards_reserve(e, peers, prefixes);
}

/* What belongs to the sockets; a refusal leaves both as they were. */
static int apply_sockets(const struct config_change *c, struct engine *e)
{
	uint32_t old_mark = engine_mark(e);
	struct kk_err err = {0};
	int r;

	if (c->has_mark && c->mark != old_mark) {
		r = engine_set_mark(e, c->mark);
		if (r < 0)
			return r;
	}
	if (c->has_port && c->port != engine_port(e)) {
		r = engine_set_port(e, c->port, &err);
		if (r < 0) {
			kk_warn("%s", err.msg);
			if (engine_mark(e) != old_mark)
				engine_set_mark(e, old_mark);
			return r;
		}
	}
	return 0;
}

/* What can be refused comes first, so that a refusal leaves everything as it was. */
static int apply_device(const struct config_change *c, struct engine *e)
{
	bool replied = e->workers[0].dev->flows != NULL;
	struct wg_identity id = {0};
	int r = 0;

	if (c->has_secret)
		r = wg_identity_set(&id, c->secret);
	if (r == 0 && c->has_reply && c->reply_to_ingress)
		r = shards_set_reply_to_ingress(e, true);
	if (r == 0)
		r = apply_sockets(c, e);
	if (r < 0) {
		/* Nothing was added to the shared table yet. */
		if (!replied)
			shards_set_reply_to_ingress(e, false);
		wg_zero(&id, sizeof(id));
		return r;
	}
	if (c->has_reply && !c->reply_to_ingress)
		shards_set_reply_to_ingress(e, false);
	if (c->has_secret)
		shards_set_identity(e, &id);
	wg_zero(&id, sizeof(id));
	if (c->has_forwarding)
		engine_set_forwarding(e, c->forwarding);
	if (c->has_eager)
		wg_device_set_eager(e->workers[0].dev, c->eager);
	return 0;
}

int config_change_apply(struct config_change *c, struct engine *e)
{
	uint64_t now = worker_now();
	int r = reserve(c, e);

	if (r < 0)
		return r;
	r = apply_device(c, e);
	if (r == 0 && c->replace_peers)
		shards_flush_peers(e);
	for (const struct peer_change *p = c->peers; r == 0 && p; p = p->next)
		r = apply_peer(e, p, now);
	shards_release(e);
	return r;
}

/* --- printing --- */

static void print_key(FILE *f, const char *name, const uint8_t key[WG_KEY_LEN])
{
	char hex[2 * WG_KEY_LEN + 1];

	kk_hex(key, WG_KEY_LEN, hex);
	fprintf(f, "%s=%s\n", name, hex);
	wg_zero(hex, sizeof(hex));
}

static void print_endpoint(FILE *f, const struct wg_endpoint *e)
{
	char text[INET6_ADDRSTRLEN], scope[IF_NAMESIZE + 1] = "";

	if (e->sa.sa_family == AF_INET) {
		inet_ntop(AF_INET, &e->in.sin_addr, text, sizeof(text));
		fprintf(f, "endpoint=%s:%u\n", text, ntohs(e->in.sin_port));
	} else if (e->sa.sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &e->in6.sin6_addr, text, sizeof(text));
		if (e->in6.sin6_scope_id) {
			scope[0] = '%';
			if (!if_indextoname(e->in6.sin6_scope_id, scope + 1))
				snprintf(scope + 1, sizeof(scope) - 1, "%u", e->in6.sin6_scope_id);
		}
		fprintf(f, "endpoint=[%s%s]:%u\n", text, scope, ntohs(e->in6.sin6_port));
	}
}

static void print_peer(FILE *f, const struct wg_peer *p)
{
	char text[INET6_ADDRSTRLEN];
	uint8_t addr[16], bits;

	print_key(f, "public_key", p->handshake.remote_static);
	print_key(f, "preshared_key", p->handshake.psk);
	fprintf(f, "protocol_version=1\n");
	print_endpoint(f, &p->endpoint);
	fprintf(f, "last_handshake_time_sec=%llu\nlast_handshake_time_nsec=%llu\n",
		(unsigned long long)(p->last_handshake_realtime / WG_SEC),
		(unsigned long long)(p->last_handshake_realtime % WG_SEC));
	fprintf(f, "tx_bytes=%llu\nrx_bytes=%llu\npersistent_keepalive_interval=%u\n",
		(unsigned long long)p->tx_bytes, (unsigned long long)p->rx_bytes,
		p->persistent_keepalive);
	for (const struct wg_allowed *a = p->allowed; a; a = a->next_of_peer) {
		int len = wg_allowed_prefix(a, addr, &bits);

		inet_ntop(len == 4 ? AF_INET : AF_INET6, addr, text, sizeof(text));
		fprintf(f, "allowed_ip=%s/%u\n", text, bits);
	}
}

void config_print(const struct engine *e, FILE *f)
{
	const struct wg_device *d = e->workers[0].dev;

	if (d->identity.set)
		print_key(f, "private_key", d->identity.secret);
	if (engine_port(e))
		fprintf(f, "listen_port=%u\n", engine_port(e));
	if (engine_mark(e))
		fprintf(f, "fwmark=%u\n", engine_mark(e));
	if (d->flows)
		fprintf(f, "reply_to_ingress=true\n");
	if (e->forwarding)
		fprintf(f, "forwarding=true\n");
	if (d->eager)
		fprintf(f, "eager=true\n");
	for (const struct wg_peer *p = shards_first(e); p; p = shards_next(e, p))
		print_peer(f, p);
}
