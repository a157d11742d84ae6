/* SPDX-License-Identifier: MIT */
/*
 * Records of any length from one thread to one other, in order. What is pushed becomes visible by ring_publish(), so
 * that a batch costs one store that the other side sees. Nothing waits: a record that does not fit is refused.
 */
#ifndef KKWG_RING_H
#define KKWG_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define RING_ALIGN 64 /* of records, bytes */

struct ring {
	uint8_t *data;
	uint32_t size; /* bytes, a power of two */
	/* The pushing side's. Positions count bytes since the start; the place in @data is their remainder. */
	_Alignas(RING_ALIGN) uint64_t pushed;
	uint64_t known_free; /* what the other side had released when last looked at */
	_Alignas(RING_ALIGN) _Atomic uint64_t published;
	_Alignas(RING_ALIGN) _Atomic uint64_t released;
	/* The taking side's. */
	_Alignas(RING_ALIGN) uint64_t taken;
	uint64_t known_published;
};

/* @size: a power of two, memory that counts only once used. Returns 0 or -ENOMEM. */
int ring_init(struct ring *r, uint32_t size);
void ring_clean(struct ring *r);

/*
 * Room for a record of @len bytes, aligned to RING_ALIGN, or NULL where it does not fit now. It is part of the ring
 * once ring_publish() was called; records are never given back.
 */
void *ring_push(struct ring *r, uint32_t len);
/* Shows the other side what was pushed. */
void ring_publish(struct ring *r);

/* The oldest record that is published, or NULL; ring_release() makes it the pushing side's again. */
void *ring_first(struct ring *r);
void ring_release(struct ring *r);
/* Whether ring_first() would return NULL; ordered after everything else the taking side has done. */
bool ring_empty(const struct ring *r);

#endif
