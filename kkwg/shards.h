/* SPDX-License-Identifier: MIT */
/* The devices of all workers as one: each has a shard of the peers. */
#ifndef KKWG_SHARDS_H
#define KKWG_SHARDS_H

#include "kkwg/engine.h"

/* Walks through all peers; shards_next() needs that @p is still there. NULL at the end. */
struct wg_peer *shards_first(const struct engine *e);
struct wg_peer *shards_next(const struct engine *e, const struct wg_peer *p);

/* Number of the worker that has the peer. */
unsigned int shards_number(const struct wg_peer *p);
struct wg_peer *shards_find_peer(const struct engine *e, const uint8_t public[WG_KEY_LEN]);
/* Adds it to the worker that has the fewest peers. Returns 0, -ENOMEM or -EEXIST. */
int shards_add_peer(struct engine *e, const uint8_t public[WG_KEY_LEN], struct wg_peer **ret);
void shards_flush_peers(struct engine *e);

/*
 * Sets memory aside for @peers more peers and @prefixes more allowed IPs: adding these then does not run out of it.
 * Returns 0 or -ENOMEM with nothing set aside. shards_release() frees what is left of it.
 */
int shards_reserve(struct engine *e, uint32_t peers, size_t prefixes);
void shards_release(struct engine *e);

/* As the functions of wg/device.h of the same name; an error leaves all as they were. */
int shards_set_secret(struct engine *e, const uint8_t secret[WG_KEY_LEN]);
void shards_set_identity(struct engine *e, const struct wg_identity *id);
int shards_set_reply_to_ingress(struct engine *e, bool on);
void shards_set_up(struct engine *e, bool up, uint64_t now);

#endif
