/* SPDX-License-Identifier: MIT */
/* Receiver indices that we gave out, each to a handshake under way or to a key pair. */
#ifndef WG_INDEX_H
#define WG_INDEX_H

#include <stdint.h>

struct wg_peer;
struct wg_keypair;

/* A census says of how many known indices the low bits are the same; it has so many numbers. */
#define WG_INDEX_CENSUS 32768

struct wg_index_entry {
	uint32_t index; /* 0: the slot is free */
	struct wg_peer *peer;
	struct wg_keypair *keypair; /* NULL while the handshake is under way */
};

struct wg_index_table {
	struct wg_index_entry *slots;
	uint32_t size; /* a power of two, or 0 */
	uint32_t used;
	uint16_t *
		census; /* kept where it is not NULL; several tables may share one, of any thread */
};

/* NULL where @index is unknown. The entry may be changed, all but its index, and moves with the next call. */
struct wg_index_entry *wg_index_find(const struct wg_index_table *t, uint32_t index);
/* Adds @index, which is neither 0 nor known. Returns 0 or -ENOMEM. */
int wg_index_add(struct wg_index_table *t, uint32_t index, struct wg_peer *peer,
		 struct wg_keypair *keypair);
/* Removes @index where it is known. */
void wg_index_del(struct wg_index_table *t, uint32_t index);
void wg_index_clean(struct wg_index_table *t);

#endif
