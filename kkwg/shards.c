// SPDX-License-Identifier: MIT
#include "kkwg/shards.h"

#include <errno.h>
#include <stddef.h>

static struct wg_peer *first_from(const struct engine *e, unsigned int i)
{
	for (; i < e->n; i++)
		if (e->workers[i].dev->peers)
			return e->workers[i].dev->peers;
	return NULL;
}

unsigned int shards_number(const struct wg_peer *p)
{
	return ((const struct worker *)p->dev->env.ctx)->number;
}

struct wg_peer *shards_first(const struct engine *e)
{
	return first_from(e, 0);
}

struct wg_peer *shards_next(const struct engine *e, const struct wg_peer *p)
{
	return p->next ? p->next : first_from(e, shards_number(p) + 1);
}

struct wg_peer *shards_find_peer(const struct engine *e, const uint8_t public[WG_KEY_LEN])
{
	struct wg_peer *p = NULL;

	for (unsigned int i = 0; i < e->n && !p; i++)
		p = wg_device_find_peer(e->workers[i].dev, public);
	return p;
}

int shards_add_peer(struct engine *e, const uint8_t public[WG_KEY_LEN], struct wg_peer **ret)
{
	struct wg_device *d = e->workers[0].dev;

	if (shards_find_peer(e, public))
		return -EEXIST;
	for (unsigned int i = 1; i < e->n; i++)
		if (e->workers[i].dev->n_peers < d->n_peers)
			d = e->workers[i].dev;
	return wg_device_add_peer(d, public, ret);
}

void shards_flush_peers(struct engine *e)
{
	for (unsigned int i = 0; i < e->n; i++)
		wg_device_flush_peers(e->workers[i].dev);
}

int shards_reserve(struct engine *e, uint32_t peers, size_t prefixes)
{
	struct wg_allowedips *t = &e->workers[0].dev->allowedips;
	int r = wg_allowedips_reserve(t, prefixes);

	for (unsigned int i = 0; i < e->n && r == 0; i++)
		r = wg_device_reserve(e->workers[i].dev, peers);
	if (r < 0)
		shards_release(e);
	return r;
}

void shards_release(struct engine *e)
{
	wg_allowedips_release(&e->workers[0].dev->allowedips);
	wg_device_release(e->workers[0].dev);
}

void shards_set_identity(struct engine *e, const struct wg_identity *id)
{
	for (unsigned int i = 0; i < e->n; i++)
		wg_device_set_identity(e->workers[i].dev, id);
}

int shards_set_secret(struct engine *e, const uint8_t secret[WG_KEY_LEN])
{
	struct wg_identity id;
	int r = wg_identity_set(&id, secret);

	if (r == 0)
		shards_set_identity(e, &id);
	wg_zero(&id, sizeof(id));
	return r;
}

int shards_set_reply_to_ingress(struct engine *e, bool on)
{
	return wg_device_set_reply_to_ingress(e->workers[0].dev, on);
}

void shards_set_up(struct engine *e, bool up, uint64_t now)
{
	for (unsigned int i = 0; i < e->n; i++) {
		if (up)
			wg_device_up(e->workers[i].dev, now);
		else
			wg_device_down(e->workers[i].dev);
	}
}
