// SPDX-License-Identifier: MIT
/* Names for where somebody may come from, or be: prefixes. */
#include "controld/store/sql.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The prefixes as "192.0.2.0/24,2001:db8::1", so that a host is one row. */
#define SELECT                                                                                     \
	"SELECT h.id, h.name, h.generation, (SELECT group_concat(p.prefix) FROM host_prefixes p "  \
	"WHERE p.host = h.id) FROM hosts h "

static int compare(const void *a, const void *b)
{
	const struct kk_prefix *x = a, *y = b;
	int order = kk_address_compare(&x->addr, &y->addr);

	return order ? order : (int)x->len - (int)y->len;
}

static void read_row(sqlite3_stmt *stmt, struct kk_host_row *row)
{
	const char *text = (const char *)sqlite3_column_text(stmt, 3);

	*row = (struct kk_host_row){
		.id = sqlite3_column_int64(stmt, 0),
		.generation = sqlite3_column_int64(stmt, 2),
	};
	kk_sql_text(stmt, 1, row->name, sizeof(row->name));
	while (text && *text && row->n_prefixes < KK_HOST_PREFIXES_MAX) {
		size_t len = strcspn(text, ",");
		char prefix[KK_PREFIX_TEXT];

		snprintf(prefix, sizeof(prefix), "%.*s", (int)len, text);
		kk_parse_prefix("prefix", prefix, &row->prefixes[row->n_prefixes++], NULL);
		text += len + (text[len] == ',');
	}
	qsort(row->prefixes, row->n_prefixes, sizeof(row->prefixes[0]), compare);
}

int kk_store_host_get(struct kk_store *store, const char *name, struct kk_host_row *ret,
		      struct kk_err *err)
{
	sqlite3_stmt *stmt =
		kk_sql(store, err, SELECT "WHERE h.org = ? AND h.name = ?", "it", store->org, name);

	return kk_sql_named(kk_sql_one(store, stmt, read_row, ret, err), "host", name, err);
}

int kk_store_host_list(struct kk_store *store,
		       int (*row)(const struct kk_host_row *row, void *userdata), void *userdata,
		       struct kk_err *err)
{
	sqlite3_stmt *stmt =
		kk_sql(store, err, SELECT "WHERE h.org = ? ORDER BY h.id", "i", store->org);
	struct kk_host_row one;

	return kk_sql_each(store, stmt, read_row, one, row, userdata, err);
}

int kk_host_name_free(struct kk_store *store, const char *name, struct kk_err *err)
{
	sqlite3_stmt *host = kk_sql(store, err, "SELECT id FROM hosts WHERE org = ? AND name = ?",
				    "it", store->org, name);
	sqlite3_stmt *group;
	int r = kk_sql_free(store, host, "a host", name, err);

	if (r < 0)
		return r;
	group = kk_sql(store, err, "SELECT id FROM host_groups WHERE org = ? AND name = ?", "it",
		       store->org, name);
	return kk_sql_free(store, group, "a group", name, err);
}

static bool has(const struct kk_host_row *row, const struct kk_prefix *prefix)
{
	for (size_t i = 0; i < row->n_prefixes; i++)
		if (kk_prefix_equal(&row->prefixes[i], prefix))
			return true;
	return false;
}

/* Touches only what differs, since each change is noted in the audit log. */
static int write_prefixes(struct kk_store *store, const struct kk_host_row *before,
			  const struct kk_host_row *row, struct kk_err *err)
{
	static const char drop[] = "DELETE FROM host_prefixes WHERE host = ? AND prefix = ?";
	static const char put[] = "INSERT INTO host_prefixes (host, org, prefix) VALUES (?, ?, ?)";
	char text[KK_PREFIX_TEXT];
	int r = 0;

	for (size_t i = 0; i < before->n_prefixes && r == 0; i++)
		if (!has(row, &before->prefixes[i]))
			r = kk_sql_run(store, err, drop, "it", row->id,
				       kk_prefix_text(&before->prefixes[i], text));
	for (size_t i = 0; i < row->n_prefixes && r == 0; i++)
		if (!has(before, &row->prefixes[i]))
			r = kk_sql_run(store, err, put, "iit", row->id, store->org,
				       kk_prefix_text(&row->prefixes[i], text));
	return r;
}

static int add(struct kk_store *store, struct kk_host_row *row, struct kk_err *err)
{
	static const struct kk_host_row nothing;
	int r = kk_host_name_free(store, row->name, err);

	if (r < 0)
		return r;
	row->generation = kk_tx_generation(store);
	r = kk_sql_run(store, err, "INSERT INTO hosts (org, name, generation) VALUES (?, ?, ?)",
		       "iti", store->org, row->name, row->generation);
	if (r < 0)
		return r;
	row->id = sqlite3_last_insert_rowid(store->db);
	r = write_prefixes(store, &nothing, row, err);
	return r < 0 ? r : kk_tx_change(store, KK_HOST, KK_ADD, row->id, 0, err);
}

int kk_store_host_add(struct kk_store *store, struct kk_host_row *row, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	return r < 0 ? r : kk_tx_end(store, add(store, row, err), err);
}

static int set(struct kk_store *store, struct kk_host_row *row, struct kk_err *err)
{
	struct kk_host_row before;
	int r = kk_store_host_get(store, row->name, &before, err);

	row->generation = kk_tx_generation(store);
	if (r == 0)
		r = kk_sql_run(store, err, "UPDATE hosts SET generation = ? WHERE id = ?", "ii",
			       row->generation, row->id);
	if (r == 0)
		r = write_prefixes(store, &before, row, err);
	if (r == 0)
		r = kk_tx_change(store, KK_HOST, KK_SET, row->id, 0, err);
	return r < 0 ? r : kk_access_follow(store, row->id, 0, err);
}

int kk_store_host_set(struct kk_store *store, struct kk_host_row *row, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	return r < 0 ? r : kk_tx_end(store, set(store, row, err), err);
}

static int remove_host(struct kk_store *store, const char *name, struct kk_err *err)
{
	static const char users[] =
		"SELECT 'group', g.name FROM group_hosts m JOIN host_groups g ON g.id = m.host_group "
		"WHERE m.host = ?1 UNION ALL "
		"SELECT 'rule', name FROM access_rules WHERE source_host = ?1 OR host = ?1 LIMIT 1";
	struct kk_host_row row;
	int r = kk_store_host_get(store, name, &row, err);

	if (r == 0)
		r = kk_sql_unused(store, kk_sql(store, err, users, "i", row.id), "host", name, err);
	if (r == 0)
		r = kk_sql_run(store, err, "DELETE FROM hosts WHERE id = ?", "i", row.id);
	return r < 0 ? r : kk_tx_change(store, KK_HOST, KK_REMOVE, row.id, 0, err);
}

int kk_store_host_remove(struct kk_store *store, const char *name, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	return r < 0 ? r : kk_tx_end(store, remove_host(store, name, err), err);
}
