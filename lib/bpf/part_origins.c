// SPDX-License-Identifier: MIT
/* The ways back from Agents in a part of the tables. */
#include <string.h>
#include <bpf/bpf.h>

#include "bpf/part.h"

static const struct kk_origin_record *find_origin(const struct kk_part *part,
						  const struct kk_part_side *side,
						  const struct kk_origin_key *key)
{
	size_t low = 0, high = side->n_origins;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int c = memcmp(&side->origins[middle].key, key, part->origins_table.key_size);

		if (c == 0)
			return &side->origins[middle];
		*(c < 0 ? &low : &high) = c < 0 ? middle + 1 : middle;
	}
	return NULL;
}

/* Whether a listener that stays has it. */
static bool is_taken(const struct kk_part *part, const struct kk_origin_record *origin)
{
	const struct kk_settings *set = &part->tables->settings;
	const struct kk_origin_key *key = &origin->key;
	uint32_t index =
		kk_listener_index(kk_slot(key->family, 0), key->protocol, KK_HOST16(key->port));
	struct kk_origin value;
	__u64 word;

	if (bpf_map_lookup_elem(part->origins_table.fd, key, &value) == 0)
		return true;
	if (index >= part->tables->n_slots * KK_LISTENERS_PER_ADDRESS ||
	    kk_part_entry(&part->old, index))
		return false;
	word = part->tables->listeners[index];
	return word && !(word & (KK_LISTENER_GROUP | KK_LISTENER_SNAT)) &&
	       kk_listener_port(word) == KK_HOST16(key->port) &&
	       kk_listener_agent(word) == kk_pool_offset(key->address, set->pool_mask);
}

/* Those that the table of origins has; the word of their listener is in @side. */
static void drop_plain(struct kk_part_side *side)
{
	size_t kept = 0;

	for (size_t i = 0; i < side->n_origins; i++) {
		const struct kk_origin_record *o = &side->origins[i];
		const struct kk_listener_entry *entry =
			kk_part_entry(side, kk_listener_index(o->value.slot, o->key.protocol,
							      KK_HOST16(o->value.port)));

		if (!kk_origin_is_plain(o, entry->word))
			side->origins[kept++] = *o;
	}
	side->n_origins = kept;
}

int kk_part_plan_origins(struct kk_part *part, struct kk_err *err)
{
	const struct kk_table *table = &part->origins_table;
	const struct kk_origin_record *twin;

	kk_records_sort(table, part->old.origins, part->old.n_origins);
	kk_records_sort(table, part->next.origins, part->next.n_origins);
	twin = kk_records_twin(table, part->next.origins, part->next.n_origins);
	for (size_t i = 0; i < part->next.n_origins && !twin; i++) {
		const struct kk_origin_record *origin = &part->next.origins[i];

		if (!find_origin(part, &part->old, &origin->key) && is_taken(part, origin))
			twin = origin;
	}
	if (twin)
		return kk_origin_twice(twin, err);
	drop_plain(&part->old);
	drop_plain(&part->next);
	return kk_change_plan_part(&part->origins, table, part->old.origins, part->old.n_origins,
				   part->next.origins, part->next.n_origins, err);
}
