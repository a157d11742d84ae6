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

int shards_set_secret(struct engine *e, const uint8_t secret[WG_KEY_LEN])
{
	int r = 0;

	/* What one takes all take: nothing but the key decides. */
	for (unsigned int i = 0; i < e->n && !r; i++)
		r = wg_device_set_secret(e->workers[i].dev, secret);
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
