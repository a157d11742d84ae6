// SPDX-License-Identifier: MIT
#include "wg/stage.h"

#include <stdlib.h>
#include <string.h>

static struct wg_staged *slot_get(struct wg_stage_pool *pool)
{
	struct wg_staged *s = pool->free;

	if (s) {
		pool->free = s->next;
		return s;
	}
	/* Large enough that malloc maps it: pages cost nothing until they are used. */
	if (!pool->slots)
		pool->slots = malloc(WG_STAGE_SLOTS * sizeof(*pool->slots));
	if (!pool->slots || pool->used == WG_STAGE_SLOTS)
		return NULL;
	return &pool->slots[pool->used++];
}

void wg_stage_push(struct wg_stage_pool *pool, struct wg_stage_queue *q, const void *data,
		   size_t len, size_t padded, uint8_t ecn)
{
	struct wg_staged *s;

	if (len > WG_STAGE_MTU)
		return;
	s = q->count >= WG_STAGE_PER_PEER ? wg_stage_pop(q) : slot_get(pool);
	if (!s)
		return;
	memcpy(s->data, data, len);
	memset(s->data + len, 0, WG_PADDING);
	s->len = (uint16_t)len;
	s->padded = (uint16_t)padded;
	s->ecn = ecn;
	s->next = NULL;
	if (q->tail)
		q->tail->next = s;
	else
		q->head = s;
	q->tail = s;
	q->count++;
}

struct wg_staged *wg_stage_pop(struct wg_stage_queue *q)
{
	struct wg_staged *s = q->head;

	if (s) {
		q->head = s->next;
		if (!q->head)
			q->tail = NULL;
		q->count--;
	}
	return s;
}

void wg_stage_free(struct wg_stage_pool *pool, struct wg_staged *s)
{
	s->next = pool->free;
	pool->free = s;
}

void wg_stage_flush(struct wg_stage_pool *pool, struct wg_stage_queue *q)
{
	struct wg_staged *s;

	while ((s = wg_stage_pop(q)))
		wg_stage_free(pool, s);
}

void wg_stage_pool_clean(struct wg_stage_pool *pool)
{
	if (pool->slots)
		wg_zero(pool->slots, pool->used * sizeof(*pool->slots));
	free(pool->slots);
	memset(pool, 0, sizeof(*pool));
}
