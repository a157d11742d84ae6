// SPDX-License-Identifier: MIT
#include "core/map.h"

#include <stdlib.h>
#include <string.h>

/* Values are read as what they are, so they are aligned. */
static size_t aligned(size_t size)
{
	return (size + 7) & ~(size_t)7;
}

#define MARK 8 /* whether a slot is taken, before its key */

static size_t slot_size(const struct kk_map *map)
{
	return MARK + aligned(map->key_size) + aligned(map->value_size);
}

static uint8_t *slot_at(const struct kk_map *map, size_t i)
{
	return map->slots + i * slot_size(map);
}

static uint8_t *key_of(uint8_t *slot)
{
	return slot + MARK;
}

static void *value_of(const struct kk_map *map, uint8_t *slot)
{
	return slot + MARK + aligned(map->key_size);
}

/* FNV-1a with a last mix: keys that follow each other shall not fill neighbouring slots. */
static size_t hash(const struct kk_map *map, const uint8_t *key)
{
	uint64_t h = 14695981039346656037ULL;

	for (size_t i = 0; i < map->key_size; i++)
		h = (h ^ key[i]) * 1099511628211ULL;
	return (size_t)(h ^ h >> 32);
}

/* The slot of @key, or the free one where it would be. One is always free, so the search ends. */
static uint8_t *find(const struct kk_map *map, const void *key)
{
	size_t i = hash(map, key) & (map->room - 1);

	while (*slot_at(map, i) && memcmp(key_of(slot_at(map, i)), key, map->key_size) != 0)
		i = (i + 1) & (map->room - 1);
	return slot_at(map, i);
}

void *kk_map_get(const struct kk_map *map, const void *key)
{
	uint8_t *slot;

	if (!map->room)
		return NULL;
	slot = find(map, key);
	return *slot ? value_of(map, slot) : NULL;
}

/* Keeps a quarter free. */
static int grow(struct kk_map *map)
{
	struct kk_map next = *map;

	if ((map->n + 1) * 4 <= map->room * 3)
		return 0;
	next.room = map->room ? map->room * 2 : 64;
	next.slots = calloc(next.room, slot_size(map));
	if (!next.slots)
		return -1;
	for (size_t i = 0; i < map->room; i++)
		if (*slot_at(map, i))
			memcpy(find(&next, key_of(slot_at(map, i))), slot_at(map, i),
			       slot_size(map));
	free(map->slots);
	*map = next;
	return 0;
}

void *kk_map_put(struct kk_map *map, const void *key, const void *value)
{
	uint8_t *slot;
	void *to;

	if (grow(map) < 0)
		return NULL;
	slot = find(map, key);
	if (!*slot) {
		if (map->max && map->n == map->max)
			return NULL;
		*slot = 1;
		memcpy(key_of(slot), key, map->key_size);
		map->n++;
	}
	to = value_of(map, slot);
	if (value)
		memcpy(to, value, map->value_size);
	else
		memset(to, 0, map->value_size);
	return to;
}

void *kk_map_next(const struct kk_map *map, size_t *at, const void **ret_key)
{
	while (*at < map->room) {
		uint8_t *slot = slot_at(map, (*at)++);

		if (!*slot)
			continue;
		*ret_key = key_of(slot);
		return value_of(map, slot);
	}
	return NULL;
}

void kk_map_clear(struct kk_map *map)
{
	if (map->slots)
		memset(map->slots, 0, map->room * slot_size(map));
	map->n = 0;
}

void kk_map_clean(struct kk_map *map)
{
	free(map->slots);
	map->slots = NULL;
	map->n = map->room = 0;
}
