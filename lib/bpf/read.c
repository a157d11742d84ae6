// SPDX-License-Identifier: MIT
/* Everything that is configured, read back from the tables. */
#include "bpf/tables.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/all.h"
#include "bpf/guards.h"
#include "bpf/lists.h"
#include "util/cleanup.h"

void kk_datapath_tables_free(struct kk_datapath_tables *tables)
{
	struct kk_tables_all *all = (struct kk_tables_all *)tables;

	if (!all)
		return;
	free(all->listeners);
	free(all->groups);
	free(all->members);
	free(all->guards);
	free(all->lists);
	free(all);
}

static int compare_words(const void *a, const void *b)
{
	__u64 x = *(const __u64 *)a, y = *(const __u64 *)b;

	return (x > y) - (x < y);
}

/* The members of a group that get flows, each once; @ret has room for as many as there are elements. */
static size_t members_of(const struct kk_tables *tables, size_t number, struct kk_member *ret)
{
	__u64 sorted[KK_MAGLEV_SIZE];
	size_t n = 0;

	memcpy(sorted, &tables->groups[number * KK_MAGLEV_SIZE], sizeof(sorted));
	qsort(sorted, KK_MAGLEV_SIZE, sizeof(*sorted), compare_words);
	for (size_t i = 0; i < KK_MAGLEV_SIZE; i++) {
		if (i > 0 && sorted[i] == sorted[i - 1])
			continue;
		ret[n++] = (struct kk_member){
			.address.s_addr = tables->settings.pool | KK_BE32((__u32)sorted[i]),
			.healthy = true,
		};
	}
	return n;
}

static int read_groups(const struct kk_tables *tables, struct kk_tables_all *all)
{
	size_t n = 0, room = 0;

	for (size_t i = 0; i < KK_GROUPS_MAX; i++)
		n += tables->group_ids[i] != 0;
	all->groups = calloc(n ? n : 1, sizeof(*all->groups));
	all->members = calloc(n ? n * KK_MAGLEV_SIZE : 1, sizeof(*all->members));
	if (!all->groups || !all->members)
		return -ENOMEM;
	n = 0;
	for (size_t i = 0; i < KK_GROUPS_MAX; i++) {
		struct kk_member *members = all->members + room;
		size_t n_members;

		if (!tables->group_ids[i])
			continue;
		n_members = members_of(tables, i, members);
		room += n_members;
		all->groups[n++] = (struct kk_group){.id = (uint32_t)tables->group_ids[i],
						     .members = members,
						     .n_members = n_members};
	}
	all->tables.groups = all->groups;
	all->tables.n_groups = n;
	return 0;
}

static bool is_guarded(const union kk_service_slot *slot)
{
	return slot->state == KK_SLOT_USED && slot->policy && slot->policy < KK_POLICIES_MAX;
}

static int read_guards(const struct kk_tables *tables, struct kk_tables_all *all)
{
	size_t n = 0;

	for (size_t i = 0; i < KK_SERVICES_MAX; i++)
		n += is_guarded(&tables->services[i]);
	all->guards = calloc(n ? n : 1, sizeof(*all->guards));
	if (!all->guards)
		return -ENOMEM;
	n = 0;
	for (size_t i = 0; i < KK_SERVICES_MAX; i++)
		if (is_guarded(&tables->services[i]))
			all->guards[n++] =
				kk_guard_of(tables->services[i].id,
					    &tables->policies[tables->services[i].policy]);
	all->tables.guards = all->guards;
	all->tables.n_guards = n;
	return 0;
}

static int read_lists(const struct kk_tables *tables, struct kk_tables_all *all, struct kk_err *err)
{
	const struct kk_table table = kk_tables_lists(tables);
	KK_CLEANUP_FREE void *records = NULL;
	int n = kk_records_read(&table, &records, err);

	if (n < 0)
		return n;
	n = kk_lists_make(records, (size_t)n, &all->lists, err);
	if (n < 0)
		return n;
	all->tables.lists = all->lists;
	all->tables.n_lists = (size_t)n;
	return 0;
}

static int read_all(const struct kk_tables *tables, struct kk_tables_all *all, struct kk_err *err)
{
	int n = kk_tables_list(tables, &all->listeners, err);

	if (n < 0)
		return n;
	all->tables.listeners = all->listeners;
	all->tables.n_listeners = (size_t)n;
	if (read_groups(tables, all) < 0 || read_guards(tables, all) < 0)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	return read_lists(tables, all, err);
}

int kk_tables_read(const struct kk_tables *tables, struct kk_datapath_tables **ret,
		   struct kk_err *err)
{
	struct kk_tables_all *all = calloc(1, sizeof(*all));
	int r;

	if (!all)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	r = read_all(tables, all, err);
	if (r < 0)
		kk_datapath_tables_free(&all->tables);
	else
		*ret = &all->tables;
	return r;
}
