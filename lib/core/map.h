/* SPDX-License-Identifier: MIT */
/* A hash table in plain memory with keys and values of fixed sizes, as BPF has them. */
#ifndef KK_CORE_MAP_H
#define KK_CORE_MAP_H

#include <stddef.h>
#include <stdint.h>

/* Zero-initialise it but for the sizes; it grows as it is filled. */
struct kk_map {
	size_t key_size, value_size;
	size_t max; /* entries that it takes; 0: any number */
	size_t n, room;
	uint8_t *slots;
};

/* The value of @key, which stays where it is until the next kk_map_put(), or NULL. */
void *kk_map_get(const struct kk_map *map, const void *key);
/* Enters @value, or all zero if it is NULL, in place of an older one. NULL: no memory, or full. */
void *kk_map_put(struct kk_map *map, const void *key, const void *value);
/* An entry from number *@at on, which is set behind it; @ret_key points to its key. NULL: no more. */
void *kk_map_next(const struct kk_map *map, size_t *at, const void **ret_key);
void kk_map_clear(struct kk_map *map);
void kk_map_clean(struct kk_map *map);

#endif
