// SPDX-License-Identifier: MIT
#include "wg/flow.h"

static uint64_t tag_of(const struct wg_flow_table *t, const struct wg_flow_key *key)
{
	_Static_assert(sizeof(*key) == 40, "the key is hashed as bytes and has no holes");

	return wg_siphash(&t->key, key, sizeof(*key)) | 1;
}

static uint32_t set_of(uint64_t tag)
{
	return (uint32_t)(tag >> 32) % WG_FLOW_SETS;
}

void wg_flow_learn(struct wg_flow_table *t, const struct wg_flow_key *key, uint32_t peer,
		   uint64_t now)
{
	uint64_t tag = tag_of(t, key);
	struct wg_flow_entry *set = t->sets[set_of(tag)], *victim = set;
	uint32_t tick = (uint32_t)(now >> 26);

	for (int i = 0; i < WG_FLOW_WAYS; i++) {
		if (set[i].tag == tag) {
			victim = &set[i];
			break;
		}
		if (!victim->tag)
			continue;
		if (!set[i].tag || tick - set[i].used > tick - victim->used)
			victim = &set[i];
	}
	victim->tag = tag;
	victim->peer = peer;
	victim->used = tick;
}

uint32_t wg_flow_find(const struct wg_flow_table *t, const struct wg_flow_key *key)
{
	uint64_t tag = tag_of(t, key);
	const struct wg_flow_entry *set = t->sets[set_of(tag)];

	for (int i = 0; i < WG_FLOW_WAYS; i++)
		if (set[i].tag == tag)
			return set[i].peer;
	return 0;
}

void wg_flow_flush(struct wg_flow_table *t, uint32_t peer)
{
	for (int s = 0; s < WG_FLOW_SETS; s++)
		for (int i = 0; i < WG_FLOW_WAYS; i++)
			if (t->sets[s][i].peer == peer)
				t->sets[s][i] = (struct wg_flow_entry){0};
}
