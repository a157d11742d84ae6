// SPDX-License-Identifier: MIT
/* Names for several hosts. */
#include "controld/store/sql.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The hosts as "ann,bob", so that a group is one row. */
#define SELECT                                                                                     \
	"SELECT g.id, g.name, g.generation, (SELECT group_concat(h.name) FROM group_hosts m "      \
	"JOIN hosts h ON h.id = m.host WHERE m.host_group = g.id) FROM host_groups g "

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void read_row(sqlite3_stmt *stmt, struct kk_group_row *row)
{
	const char *text = (const char *)sqlite3_column_text(stmt, 3);

	*row = (struct kk_group_row){
		.id = sqlite3_column_int64(stmt, 0),
		.generation = sqlite3_column_int64(stmt, 2),
	};
	kk_sql_text(stmt, 1, row->name, sizeof(row->name));
	while (text && *text && row->n_hosts < KK_GROUP_HOSTS_MAX) {
		size_t len = strcspn(text, ",");

		snprintf(row->hosts[row->n_hosts++], sizeof(row->hosts[0]), "%.*s", (int)len, text);
		text += len + (text[len] == ',');
	}
	qsort(row->hosts, row->n_hosts, sizeof(row->hosts[0]), compare);
}

int kk_store_group_get(struct kk_store *store, const char *name, struct kk_group_row *ret,
		       struct kk_err *err)
{
	sqlite3_stmt *stmt =
		kk_sql(store, err, SELECT "WHERE g.org = ? AND g.name = ?", "it", store->org, name);

	return kk_sql_named(kk_sql_one(store, stmt, read_row, ret, err), "group", name, err);
}

int kk_store_group_list(struct kk_store *store,
			int (*row)(const struct kk_group_row *row, void *userdata), void *userdata,
			struct kk_err *err)
{
	sqlite3_stmt *stmt =
		kk_sql(store, err, SELECT "WHERE g.org = ? ORDER BY g.id", "i", store->org);
	struct kk_group_row one;

	return kk_sql_each(store, stmt, read_row, one, row, userdata, err);
}

static bool has(const struct kk_group_row *row, const char *host)
{
	return bsearch(host, row->hosts, row->n_hosts, sizeof(row->hosts[0]), compare) != NULL;
}

static int add_host(struct kk_store *store, const struct kk_group_row *row, const char *host,
		    struct kk_err *err)
{
	int64_t id;
	int r = kk_sql_number(store, &id, err, "SELECT id FROM hosts WHERE org = ? AND name = ?",
			      "it", store->org, host);

	if (r == -ENOENT)
		return kk_err_set(err, EINVAL, "hosts", "hosts: there is no host \"%s\"", host);
	if (r < 0)
		return r;
	return kk_sql_run(store, err,
			  "INSERT INTO group_hosts (host_group, host, org) VALUES (?, ?, ?)", "iii",
			  row->id, id, store->org);
}

/* Touches only what differs, since each change is noted in the audit log. */
static int write_hosts(struct kk_store *store, const struct kk_group_row *before,
		       const struct kk_group_row *row, struct kk_err *err)
{
	static const char drop[] = "DELETE FROM group_hosts WHERE host_group = ? AND host = "
				   "(SELECT id FROM hosts WHERE org = ? AND name = ?)";
	int r = 0;

	for (size_t i = 0; i < before->n_hosts && r == 0; i++)
		if (!has(row, before->hosts[i]))
			r = kk_sql_run(store, err, drop, "iit", row->id, store->org,
				       before->hosts[i]);
	for (size_t i = 0; i < row->n_hosts && r == 0; i++)
		if (!has(before, row->hosts[i]))
			r = add_host(store, row, row->hosts[i], err);
	return r;
}

static int add(struct kk_store *store, struct kk_group_row *row, struct kk_err *err)
{
	static const struct kk_group_row nothing;
	int r = kk_host_name_free(store, row->name, err);

	if (r < 0)
		return r;
	row->generation = kk_tx_generation(store);
	r = kk_sql_run(store, err,
		       "INSERT INTO host_groups (org, name, generation) VALUES (?, ?, ?)", "iti",
		       store->org, row->name, row->generation);
	if (r < 0)
		return r;
	row->id = sqlite3_last_insert_rowid(store->db);
	r = write_hosts(store, &nothing, row, err);
	return r < 0 ? r : kk_tx_change(store, KK_GROUP, KK_ADD, row->id, 0, err);
}

int kk_store_group_add(struct kk_store *store, struct kk_group_row *row, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	return r < 0 ? r : kk_tx_end(store, add(store, row, err), err);
}

static int set(struct kk_store *store, struct kk_group_row *row, struct kk_err *err)
{
	struct kk_group_row before;
	int r = kk_store_group_get(store, row->name, &before, err);

	row->generation = kk_tx_generation(store);
	if (r == 0)
		r = kk_sql_run(store, err, "UPDATE host_groups SET generation = ? WHERE id = ?",
			       "ii", row->generation, row->id);
	if (r == 0)
		r = write_hosts(store, &before, row, err);
	if (r == 0)
		r = kk_tx_change(store, KK_GROUP, KK_SET, row->id, 0, err);
	return r < 0 ? r : kk_access_follow(store, 0, row->id, err);
}

int kk_store_group_set(struct kk_store *store, struct kk_group_row *row, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	return r < 0 ? r : kk_tx_end(store, set(store, row, err), err);
}

static int remove_group(struct kk_store *store, const char *name, struct kk_err *err)
{
	static const char users[] = "SELECT 'rule', name FROM access_rules "
				    "WHERE source_group = ?1 OR host_group = ?1 LIMIT 1";
	struct kk_group_row row;
	int r = kk_store_group_get(store, name, &row, err);

	if (r == 0)
		r = kk_sql_unused(store, kk_sql(store, err, users, "i", row.id), "group", name,
				  err);
	if (r == 0)
		r = kk_sql_run(store, err, "DELETE FROM host_groups WHERE id = ?", "i", row.id);
	return r < 0 ? r : kk_tx_change(store, KK_GROUP, KK_REMOVE, row.id, 0, err);
}

int kk_store_group_remove(struct kk_store *store, const char *name, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	return r < 0 ? r : kk_tx_end(store, remove_group(store, name, err), err);
}
