// SPDX-License-Identifier: MIT
#include "wg/device.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "wg/constants.h"
#include "wg/timers.h"

#define FIRST_CAPACITY 4
#define TAI64_EPOCH    (0x4000000000000000ull + 10)
#define STAMP_GRAIN    (1ull << 24) /* timestamps tell the time to 17 ms only */

struct wg_device *wg_device_new(const struct wg_env *env)
{
	struct wg_device *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->env = *env;
	d->first = d;
	d->peers_end = &d->peers;
	d->rekey_after = WG_REKEY_AFTER_TIME;
	d->env.random(d->env.ctx, &d->hash_key, sizeof(d->hash_key));
	return d;
}

void wg_device_free(struct wg_device *d)
{
	if (!d)
		return;
	wg_device_flush_peers(d);
	wg_stage_pool_clean(&d->stage);
	wg_index_clean(&d->indices);
	free(d->ratelimit);
	free(d->strangers);
	free(d->flows);
	free(d->buckets);
	free(d->heap);
	free(d->ids);
	wg_zero(d, sizeof(*d));
	free(d);
}

void wg_device_set_shard(struct wg_device *d, struct wg_device *first, uint32_t shard)
{
	d->first = first;
	d->index_mask = (WG_SHARDS - 1) << WG_SHARD_SHIFT;
	d->index_bits = shard << WG_SHARD_SHIFT;
}

uint32_t wg_message_shard(const uint8_t *msg, size_t len)
{
	size_t at = offsetof(struct wg_msg_data, receiver);
	uint32_t index;

	switch (wg_message_type(msg, len)) {
	case WG_MSG_RESPONSE:
		at = offsetof(struct wg_msg_response, receiver);
		break;
	case WG_MSG_COOKIE:
	case WG_MSG_DATA:
		break;
	default:
		return 0;
	}
	memcpy(&index, msg + at, sizeof(index));
	return le32toh(index) >> WG_SHARD_SHIFT & (WG_SHARDS - 1);
}

/* --- state of the interface --- */

void wg_device_up(struct wg_device *d, uint64_t now)
{
	if (d->up)
		return;
	d->up = true;
	for (struct wg_peer *p = d->peers; p; p = p->next)
		if (p->persistent_keepalive)
			wg_peer_keepalive(p, now);
}

void wg_device_down(struct wg_device *d)
{
	d->up = false;
	for (struct wg_peer *p = d->peers; p; p = p->next) {
		wg_timers_stop(p);
		wg_peer_clear_keys(p);
		wg_stage_flush(&d->stage, &p->staged);
	}
}

int wg_device_set_secret(struct wg_device *d, const uint8_t secret[WG_KEY_LEN])
{
	struct wg_identity id;
	int r = wg_identity_set(&id, secret);

	if (r == 0)
		wg_device_set_identity(d, &id);
	wg_zero(&id, sizeof(id));
	return r;
}

void wg_device_set_identity(struct wg_device *d, const struct wg_identity *id)
{
	struct wg_peer *self;

	if (id->set == d->identity.set && wg_equal(id->secret, d->identity.secret, WG_KEY_LEN))
		return;
	d->identity = *id;
	wg_cookie_checker_init(&d->checker, d->identity.public);
	self = d->identity.set ? wg_device_find_peer(d, d->identity.public) : NULL;
	if (self)
		wg_device_del_peer(d, self);
	for (struct wg_peer *p = d->peers; p; p = p->next) {
		wg_peer_clear_keys(p);
		wg_handshake_identity(&p->handshake, &d->identity);
	}
}

/* Of the peers of a prefix the one added last keeps it. */
static void unshare(struct wg_device *d)
{
	uint8_t addr[16], bits;

	for (uint32_t i = 0; i < d->n_ids; i++) {
		struct wg_peer *p = d->ids[i];
		struct wg_allowed *next;

		for (struct wg_allowed *a = p ? p->allowed : NULL; a; a = next) {
			next = a->next_of_peer;
			if (!wg_allowed_is_newest(a)) {
				int addr_len = wg_allowed_prefix(a, addr, &bits);

				wg_allowedips_del(&d->allowedips, addr, (uint8_t)addr_len, bits, p);
			}
		}
	}
}

void wg_device_set_eager(struct wg_device *d, bool on)
{
	d->first->eager = on;
}

int wg_device_set_reply_to_ingress(struct wg_device *d, bool on)
{
	d = d->first;
	if (on == (d->flows != NULL))
		return 0;
	d->learnt.peer = 0;
	if (on) {
		d->flows = calloc(1, sizeof(*d->flows));
		if (!d->flows)
			return -ENOMEM;
		d->env.random(d->env.ctx, &d->flows->key, sizeof(d->flows->key));
		d->allowedips.shared = true;
		return 0;
	}
	unshare(d);
	d->allowedips.shared = false;
	free(d->flows);
	d->flows = NULL;
	return 0;
}

/* --- peers --- */

static struct wg_peer **bucket_of(const struct wg_device *d, const uint8_t public[WG_KEY_LEN])
{
	return &d->buckets[wg_siphash(&d->hash_key, public, WG_KEY_LEN) & (d->capacity - 1)];
}

struct wg_peer *wg_device_find_peer(const struct wg_device *d, const uint8_t public[WG_KEY_LEN])
{
	struct wg_peer *p;

	if (!d->capacity)
		return NULL;
	for (p = *bucket_of(d, public); p; p = p->hash_next)
		if (memcmp(p->handshake.remote_static, public, WG_KEY_LEN) == 0)
			break;
	return p;
}

/* Makes room for @n more peers in the tables of their device. */
static int reserve_tables(struct wg_device *d, uint32_t n)
{
	uint32_t capacity = d->capacity ? d->capacity : FIRST_CAPACITY;
	struct wg_peer **buckets, **heap;

	while (capacity < d->n_peers + n)
		capacity *= 2;
	if (capacity == d->capacity)
		return 0;
	buckets = calloc(capacity, sizeof(struct wg_peer *));
	heap = calloc(capacity, sizeof(struct wg_peer *));
	if (!buckets || !heap) {
		free(buckets);
		free(heap);
		return -ENOMEM;
	}
	if (d->n_peers)
		memcpy(heap, d->heap, d->n_peers * sizeof(struct wg_peer *));
	free(d->buckets);
	free(d->heap);
	d->buckets = buckets;
	d->heap = heap;
	d->capacity = capacity;
	for (struct wg_peer *p = d->peers; p; p = p->next) {
		struct wg_peer **b = bucket_of(d, p->handshake.remote_static);

		p->hash_next = *b;
		*b = p;
	}
	return 0;
}

/* Makes room for @n more ids, which are one set for all shards. */
static int reserve_ids(struct wg_device *d, uint32_t n)
{
	uint32_t have = 0, size = d->n_ids ? d->n_ids : FIRST_CAPACITY;
	struct wg_peer **ids;

	for (uint32_t i = 0; i < d->n_ids && have < n; i++)
		have += !d->ids[i];
	if (have == n)
		return 0;
	while (size < d->n_ids + n - have)
		size *= 2;
	ids = realloc(d->ids, size * sizeof(struct wg_peer *));
	if (!ids)
		return -ENOMEM;
	memset(ids + d->n_ids, 0, (size - d->n_ids) * sizeof(struct wg_peer *));
	d->ids = ids;
	d->n_ids = size;
	return 0;
}

static uint32_t free_id(const struct wg_device *d)
{
	uint32_t id = 0;

	while (d->ids[id])
		id++;
	return id;
}

int wg_device_reserve(struct wg_device *d, uint32_t n)
{
	struct wg_device *first = d->first;

	if (!n)
		return 0;
	if (reserve_tables(d, n) < 0 || reserve_ids(first, n) < 0)
		return -ENOMEM;
	while (first->n_spare < n) {
		struct wg_peer *p = calloc(1, sizeof(*p));

		if (!p)
			return -ENOMEM;
		p->next = first->spare;
		first->spare = p;
		first->n_spare++;
	}
	return 0;
}

static struct wg_peer *take_spare(struct wg_device *first)
{
	struct wg_peer *p = first->spare;

	if (p) {
		first->spare = p->next;
		first->n_spare--;
		p->next = NULL;
	}
	return p;
}

void wg_device_release(struct wg_device *d)
{
	struct wg_peer *p;

	while ((p = take_spare(d->first)))
		free(p);
}

int wg_device_add_peer(struct wg_device *d, const uint8_t public[WG_KEY_LEN], struct wg_peer **ret)
{
	struct wg_peer *p, **b;
	uint32_t id;

	if (wg_device_find_peer(d, public))
		return -EEXIST;
	if (reserve_tables(d, 1) < 0 || reserve_ids(d->first, 1) < 0)
		return -ENOMEM;
	p = take_spare(d->first);
	if (!p)
		p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	wg_peer_init(p, d, public);
	id = free_id(d->first);
	b = bucket_of(d, public);
	p->hash_next = *b;
	*b = p;
	p->prev = d->peers_end;
	*d->peers_end = p;
	d->peers_end = &p->next;
	d->first->ids[id] = p;
	p->id = id + 1;
	p->heap_index = d->n_peers;
	d->heap[d->n_peers++] = p;
	if (ret)
		*ret = p;
	return 0;
}

static void heap_place(struct wg_device *d, struct wg_peer *p, uint32_t at)
{
	d->heap[at] = p;
	p->heap_index = at;
}

void wg_device_wake_at(struct wg_device *d, struct wg_peer *p, uint64_t when)
{
	uint32_t at = p->heap_index, other;

	p->wake = when;
	while (at && d->heap[(at - 1) / 2]->wake > when) {
		heap_place(d, d->heap[(at - 1) / 2], at);
		at = (at - 1) / 2;
	}
	while ((other = 2 * at + 1) < d->n_peers) {
		if (other + 1 < d->n_peers && d->heap[other + 1]->wake < d->heap[other]->wake)
			other++;
		if (d->heap[other]->wake >= when)
			break;
		heap_place(d, d->heap[other], at);
		at = other;
	}
	heap_place(d, p, at);
}

static void heap_remove(struct wg_device *d, struct wg_peer *p)
{
	uint32_t at = p->heap_index;
	struct wg_peer *moved = d->heap[--d->n_peers];

	if (moved == p)
		return;
	heap_place(d, moved, at);
	wg_device_wake_at(d, moved, moved->wake);
}

void wg_device_del_peer(struct wg_device *d, struct wg_peer *p)
{
	struct wg_peer **b = bucket_of(d, p->handshake.remote_static);

	while (*b != p)
		b = &(*b)->hash_next;
	*b = p->hash_next;
	*p->prev = p->next;
	if (p->next)
		p->next->prev = p->prev;
	else
		d->peers_end = p->prev;
	heap_remove(d, p);
	d->first->ids[p->id - 1] = NULL;
	if (d->first->flows)
		wg_flow_flush(d->first->flows, p->id);
	d->learnt.peer = 0;
	wg_allowedips_flush(&d->first->allowedips, p);
	wg_peer_free(p);
}

void wg_device_flush_peers(struct wg_device *d)
{
	while (d->peers)
		wg_device_del_peer(d, d->peers);
}

void wg_device_set_keepalive(struct wg_device *d, struct wg_peer *p, uint16_t interval,
			     uint64_t now)
{
	bool turned_on = interval && !p->persistent_keepalive;

	p->persistent_keepalive = interval;
	if (!interval)
		p->timers[WG_TIMER_PERSISTENT] = 0;
	else if (d->up && turned_on)
		wg_peer_keepalive(p, now);
}

/* --- time --- */

uint64_t wg_device_deadline(const struct wg_device *d)
{
	return d->n_peers ? d->heap[0]->wake : UINT64_MAX;
}

void wg_device_tick(struct wg_device *d, uint64_t now)
{
	while (d->n_peers && d->heap[0]->wake <= now)
		wg_timers_run(d->heap[0], now);
}

void wg_device_timestamp(struct wg_device *d, uint8_t out[WG_TIMESTAMP_LEN])
{
	uint64_t stamp = d->env.realtime(d->env.ctx) & ~(STAMP_GRAIN - 1), sec;
	uint32_t nsec;

	/* A clock that was set back must not make our initiations look old. */
	if (stamp <= d->last_stamp)
		stamp = d->last_stamp + STAMP_GRAIN;
	d->last_stamp = stamp;
	sec = htobe64(TAI64_EPOCH + stamp / WG_SEC);
	nsec = htobe32((uint32_t)(stamp % WG_SEC));
	memcpy(out, &sec, 8);
	memcpy(out + 8, &nsec, 4);
}

/* --- small services --- */

uint32_t wg_device_new_index(struct wg_device *d)
{
	for (int i = 0; i < 64; i++) {
		uint32_t index;

		d->env.random(d->env.ctx, &index, sizeof(index));
		index = (index & ~d->index_mask) | d->index_bits;
		if (index && !wg_index_find(&d->indices, index))
			return index;
	}
	return 0;
}

void wg_device_transmit(struct wg_device *d, struct wg_peer *p, const void *msg, size_t len,
			uint8_t ecn)
{
	p->tx_bytes += len;
	d->env.transmit(d->env.ctx, &p->endpoint, msg, len, ecn);
}
