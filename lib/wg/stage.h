/* SPDX-License-Identifier: MIT */
/*
 * Packets that wait for a handshake. All peers of a device share one fixed pool; a peer keeps its
 * newest WG_STAGE_PER_PEER packets.
 */
#ifndef WG_STAGE_H
#define WG_STAGE_H

#include <stdint.h>
#include <stddef.h>

#include "wg/crypto.h"
#include "wg/message.h"

#define WG_STAGE_SLOTS	  256
#define WG_STAGE_PER_PEER 64
#define WG_STAGE_MTU	  2048 /* longer packets are not kept */

struct wg_staged {
	struct wg_staged *next;
	uint16_t len;	 /* bytes of the packet */
	uint16_t padded; /* what it is to be padded to */
	uint8_t ecn;
	uint8_t headroom[WG_AEAD_HEADROOM];
	uint8_t data[WG_STAGE_MTU + WG_PADDING];
	uint8_t tailroom[WG_AEAD_TAILROOM];
};

struct wg_stage_queue {
	struct wg_staged *head, *tail;
	unsigned int count;
};

struct wg_stage_pool {
	struct wg_staged *slots, *free; /* slots: mapped on the first use */
	unsigned int used;		/* slots that were ever handed out */
};

/* Copies a packet in; drops the oldest of the queue where it is full, or this one where the pool is. */
void wg_stage_push(struct wg_stage_pool *pool, struct wg_stage_queue *q, const void *data,
		   size_t len, size_t padded, uint8_t ecn);
/* Takes the oldest out, or NULL; give it back by wg_stage_free(). */
struct wg_staged *wg_stage_pop(struct wg_stage_queue *q);
void wg_stage_free(struct wg_stage_pool *pool, struct wg_staged *s);
void wg_stage_flush(struct wg_stage_pool *pool, struct wg_stage_queue *q);
void wg_stage_pool_clean(struct wg_stage_pool *pool);

#endif
