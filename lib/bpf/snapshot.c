// SPDX-License-Identifier: MIT
#include "bpf/snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/bpf.h>

#include "util/cleanup.h"

static void user_freep(struct kk_user **user)
{
	kk_user_free(*user);
}

static int copy_map(const struct kk_table *table, struct kk_map *map, struct kk_err *err)
{
	KK_CLEANUP_FREE uint8_t *records = NULL;
	int n = kk_records_read(table, (void **)&records, err);

	for (int i = 0; i < n; i++) {
		const uint8_t *record = records + (size_t)i * (table->key_size + table->value_size);

		if (!kk_map_put(map, record, record + table->key_size))
			return kk_err_set(err, ENOMEM, NULL, "out of memory");
	}
	return n < 0 ? n : 0;
}

static int copy_place(const struct kk_tables *tables, struct kk_user *user, uint32_t *ret_ifindex,
		      struct kk_err *err)
{
	struct kk_edge_place place;
	const uint32_t zero = 0;

	if (bpf_map_lookup_elem(tables->place_fd, &zero, &place) < 0)
		return kk_err_set(err, errno, NULL, "cannot read the edge's settings: %s",
				  strerror(errno));
	user->edge.settings = place.settings;
	*ret_ifindex = place.ifindex;
	return 0;
}

static int copy_maps(const struct kk_tables *tables, struct kk_user *user, struct kk_err *err)
{
	const struct {
		struct kk_table table;
		struct kk_map *map;
	} maps[] = {
		{kk_tables_origins(tables), &user->origins},
		{kk_tables_lists(tables), &user->lists},
		{kk_tables_bans(tables), &user->bans},
		{kk_tables_sources(tables), &user->sources},
		{kk_tables_snat(tables), &user->snat},
		{kk_tables_fragments(tables), &user->fragments},
		{kk_tables_verified(tables), &user->edge.verified},
		{kk_tables_relays(tables), &user->edge.relays},
	};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(maps) && r == 0; i++)
		r = copy_map(&maps[i].table, maps[i].map, err);
	return r;
}

int kk_tables_snapshot(const struct kk_tables *tables, struct kk_user **ret, uint32_t *ret_ifindex,
		       struct kk_err *err)
{
	KK_CLEANUP(user_freep) struct kk_user *user = kk_user_new();
	int r;

	if (!user)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	user->settings = tables->settings;
	user->features = *tables->features;
	memcpy(user->listeners, tables->listeners,
	       tables->n_slots * KK_LISTENERS_PER_ADDRESS * sizeof(*user->listeners));
	memcpy(user->groups, tables->groups, sizeof(user->groups));
	memcpy(user->services, tables->services, sizeof(user->services));
	memcpy(user->policies, tables->policies, sizeof(user->policies));
	memcpy(user->edge.floods, tables->floods, sizeof(user->edge.floods));
	r = copy_maps(tables, user, err);
	if (r == 0)
		r = copy_place(tables, user, ret_ifindex, err);
	if (r == 0)
		*ret = KK_STEAL(user);
	return r;
}
