// SPDX-License-Identifier: MIT
#include "kkwg/ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* In front of each record, in a place of its own so that the record is aligned. */
struct head {
	_Alignas(RING_ALIGN) uint32_t bytes; /* up to the next head, this one included */
	bool empty;			     /* only fills the end of the ring */
};

int ring_init(struct ring *r, uint32_t size)
{
	void *data;

	memset(r, 0, sizeof(*r));
	if (posix_memalign(&data, 4096, size))
		return -ENOMEM;
	r->data = data;
	r->size = size;
	return 0;
}

void ring_clean(struct ring *r)
{
	free(r->data);
	r->data = NULL;
}

static struct head *head_at(const struct ring *r, uint64_t at)
{
	return (struct head *)(r->data + (at & (r->size - 1)));
}

static bool has_room(struct ring *r, uint64_t bytes)
{
	if (r->pushed + bytes - r->known_free <= r->size)
		return true;
	r->known_free = atomic_load_explicit(&r->released, memory_order_acquire);
	return r->pushed + bytes - r->known_free <= r->size;
}

void *ring_push(struct ring *r, uint32_t len)
{
	uint64_t bytes = sizeof(struct head) +
			 (((uint64_t)len + RING_ALIGN - 1) & ~(uint64_t)(RING_ALIGN - 1));
	uint64_t to_end = r->size - (r->pushed & (r->size - 1));
	struct head *h;

	/* A record is in one piece: the rest up to the end is passed over. */
	if (bytes > to_end) {
		if (!has_room(r, to_end + bytes))
			return NULL;
		h = head_at(r, r->pushed);
		h->bytes = (uint32_t)to_end;
		h->empty = true;
		r->pushed += to_end;
	} else if (!has_room(r, bytes)) {
		return NULL;
	}
	h = head_at(r, r->pushed);
	h->bytes = (uint32_t)bytes;
	h->empty = false;
	r->pushed += bytes;
	return h + 1;
}

void ring_publish(struct ring *r)
{
	/* Sequentially consistent, as is ring_empty(): who goes to sleep and who wakes him must not miss each other. */
	atomic_store(&r->published, r->pushed);
}

void *ring_first(struct ring *r)
{
	struct head *h;

	if (r->taken == r->known_published)
		r->known_published = atomic_load_explicit(&r->published, memory_order_acquire);
	if (r->taken == r->known_published)
		return NULL;
	h = head_at(r, r->taken);
	if (h->empty) {
		r->taken += h->bytes;
		h = head_at(r, r->taken);
	}
	return h + 1;
}

void ring_release(struct ring *r)
{
	r->taken += head_at(r, r->taken)->bytes;
	atomic_store_explicit(&r->released, r->taken, memory_order_release);
}

bool ring_empty(const struct ring *r)
{
	return r->taken == atomic_load(&r->published);
}
