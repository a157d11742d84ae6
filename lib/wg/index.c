// SPDX-License-Identifier: MIT
#include "wg/index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SIZE 16

/* Indices are random already, so they are their own hash. */
static uint32_t home(const struct wg_index_table *t, uint32_t index)
{
	return index & (t->size - 1);
}

struct wg_index_entry *wg_index_find(const struct wg_index_table *t, uint32_t index)
{
	if (!t->size || !index)
		return NULL;
	for (uint32_t i = home(t, index); t->slots[i].index; i = (i + 1) & (t->size - 1))
		if (t->slots[i].index == index)
			return &t->slots[i];
	return NULL;
}

static void insert(struct wg_index_table *t, const struct wg_index_entry *e)
{
	uint32_t i = home(t, e->index);

	while (t->slots[i].index)
		i = (i + 1) & (t->size - 1);
	t->slots[i] = *e;
}

/* @by: 1 or -1 */
static void count(struct wg_index_table *t, uint32_t index, int by)
{
	if (t->census)
		__atomic_fetch_add(&t->census[index % WG_INDEX_CENSUS], (uint16_t)by,
				   __ATOMIC_RELAXED);
}

static int grow(struct wg_index_table *t)
{
	struct wg_index_table bigger = {
		.size = t->size ? 2 * t->size : FIRST_SIZE, .used = t->used, .census = t->census};

	bigger.slots = calloc(bigger.size, sizeof(*bigger.slots));
	if (!bigger.slots)
		return -ENOMEM;
	for (uint32_t i = 0; i < t->size; i++)
		if (t->slots[i].index)
			insert(&bigger, &t->slots[i]);
	free(t->slots);
	*t = bigger;
	return 0;
}

int wg_index_add(struct wg_index_table *t, uint32_t index, struct wg_peer *peer,
		 struct wg_keypair *keypair)
{
	struct wg_index_entry e = {.index = index, .peer = peer, .keypair = keypair};

	if (2 * t->used >= t->size && grow(t) < 0)
		return -ENOMEM;
	insert(t, &e);
	count(t, index, 1);
	t->used++;
	return 0;
}

void wg_index_del(struct wg_index_table *t, uint32_t index)
{
	struct wg_index_entry *e = wg_index_find(t, index);
	uint32_t hole, mask = t->size - 1;

	if (!e)
		return;
	count(t, index, -1);
	hole = (uint32_t)(e - t->slots);
	/* Moves later entries back over the hole, so that no search ends early. */
	for (uint32_t i = (hole + 1) & mask; t->slots[i].index; i = (i + 1) & mask) {
		uint32_t from_home = (i - home(t, t->slots[i].index)) & mask;

		if (from_home >= ((i - hole) & mask)) {
			t->slots[hole] = t->slots[i];
			hole = i;
		}
	}
	memset(&t->slots[hole], 0, sizeof(t->slots[hole]));
	t->used--;
}

void wg_index_clean(struct wg_index_table *t)
{
	for (uint32_t i = 0; i < t->size; i++)
		if (t->slots[i].index)
			count(t, t->slots[i].index, -1);
	free(t->slots);
	memset(t, 0, sizeof(*t));
}
