// SPDX-License-Identifier: MIT
#include "bpf/snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

int kk_tables_snapshot(const struct kk_tables *tables, struct kk_user **ret, struct kk_err *err)
{
	KK_CLEANUP(user_freep) struct kk_user *user = kk_user_new();
	const struct kk_table origins = kk_tables_origins(tables), lists = kk_tables_lists(tables),
			      bans = kk_tables_bans(tables), sources = kk_tables_sources(tables),
			      snat = kk_tables_snat(tables);
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
	r = copy_map(&origins, &user->origins, err);
	if (r == 0)
		r = copy_map(&lists, &user->lists, err);
	if (r == 0)
		r = copy_map(&bans, &user->bans, err);
	if (r == 0)
		r = copy_map(&sources, &user->sources, err);
	if (r == 0)
		r = copy_map(&snat, &user->snat, err);
	if (r == 0)
		*ret = KK_STEAL(user);
	return r;
}
