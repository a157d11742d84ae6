// SPDX-License-Identifier: MIT
/* Applying a request: wholly, or not at all. */
#include "kkwg/config.h"

#include <errno.h>
#include <string.h>

#include "kkwg/change.h"
#include "kkwg/shards.h"
#include "util/log.h"
#include "wg/constants.h"

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
