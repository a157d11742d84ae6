// SPDX-License-Identifier: MIT
#include "controld/store/accounts.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "controld/store/sql.h"

#define COLUMNS "id, name, role, created_at, expires_at"

static void read_row(sqlite3_stmt *stmt, struct kk_api_key_row *row)
{
	row->id = sqlite3_column_int64(stmt, 0);
	kk_sql_text(stmt, 1, row->name, sizeof(row->name));
	row->access = (enum kk_access)sqlite3_column_int(stmt, 2);
	row->created_at = sqlite3_column_int64(stmt, 3);
	row->expires_at = sqlite3_column_int64(stmt, 4);
}

static int add(struct kk_store *store, const uint8_t hash[KK_HASH_LEN], struct kk_api_key_row *row,
	       struct kk_err *err)
{
	sqlite3_stmt *same =
		kk_sql(store, err, "SELECT id FROM api_keys WHERE org = ? AND name = ?", "it",
		       store->org, row->name);
	int r = kk_sql_free(store, same, "a key", row->name, err);

	if (r < 0)
		return r;
	row->created_at = time(NULL);
	r = kk_sql_run(store, err,
		       "INSERT INTO api_keys (org, name, role, hash, created_at, expires_at) "
		       "VALUES (?, ?, ?, ?, ?, ?)",
		       "itibii", store->org, row->name, (int64_t)row->access, hash, row->created_at,
		       row->expires_at);
	row->id = sqlite3_last_insert_rowid(store->db);
	return r;
}

int kk_store_api_key_add(struct kk_store *store, const uint8_t hash[KK_HASH_LEN],
			 struct kk_api_key_row *row, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	return r < 0 ? r : kk_tx_end(store, add(store, hash, row, err), err);
}

int kk_store_api_key_put(struct kk_store *store, const uint8_t hash[KK_HASH_LEN], const char *name,
			 struct kk_err *err)
{
	static const char upsert[] =
		"INSERT INTO api_keys (org, name, role, hash, created_at, expires_at) "
		"VALUES (?, ?, 4, ?, ?, 0) ON CONFLICT (org, name) DO UPDATE SET role = 4, "
		"hash = excluded.hash, created_at = excluded.created_at, expires_at = 0";

	return kk_sql_run(store, err, upsert, "itbi", store->org, name, hash, (int64_t)time(NULL));
}

int kk_store_api_key_find(struct kk_store *store, const uint8_t hash[KK_HASH_LEN], int64_t now,
			  struct kk_caller *ret, struct kk_err *err)
{
	static const char select[] =
		"SELECT k.org, k.id, k.role, k.name, o.name, k.expires_at FROM api_keys k "
		"JOIN organisations o ON o.id = k.org WHERE k.hash = ?";
	sqlite3_stmt *stmt = kk_sql(store, err, select, "b", hash);
	int64_t expires_at;
	int r = kk_sql_step(store, stmt, err);

	if (r < 0)
		return r;
	if (r == 0)
		return kk_err_set(err, EACCES, NULL, "the key is unknown or revoked");
	*ret = (struct kk_caller){
		.org = sqlite3_column_int64(stmt, 0),
		.key = sqlite3_column_int64(stmt, 1),
		.access = (enum kk_access)sqlite3_column_int(stmt, 2),
	};
	kk_sql_text(stmt, 3, ret->name, sizeof(ret->name));
	kk_sql_text(stmt, 4, ret->org_name, sizeof(ret->org_name));
	expires_at = sqlite3_column_int64(stmt, 5);
	kk_sql_done(stmt);
	if (expires_at && expires_at <= now)
		return kk_err_set(err, EACCES, NULL, "the key has expired");
	snprintf(ret->who, sizeof(ret->who), "key %s", ret->name);
	return 0;
}

int kk_store_api_key_get(struct kk_store *store, const char *name, struct kk_api_key_row *ret,
			 struct kk_err *err)
{
	sqlite3_stmt *stmt =
		kk_sql(store, err, "SELECT " COLUMNS " FROM api_keys WHERE org = ? AND name = ?",
		       "it", store->org, name);

	return kk_sql_named(kk_sql_one(store, stmt, read_row, ret, err), "key", name, err);
}

int kk_store_api_key_list(struct kk_store *store,
			  int (*row)(const struct kk_api_key_row *row, void *userdata),
			  void *userdata, struct kk_err *err)
{
	sqlite3_stmt *stmt =
		kk_sql(store, err, "SELECT " COLUMNS " FROM api_keys WHERE org = ? ORDER BY id",
		       "i", store->org);
	struct kk_api_key_row one;

	return kk_sql_each(store, stmt, read_row, one, row, userdata, err);
}

static int remove_key(struct kk_store *store, const char *name, struct kk_err *err)
{
	struct kk_api_key_row row;
	char what[KK_NAME_MAX + 16];
	int r = kk_store_api_key_get(store, name, &row, err);

	if (r == 0)
		r = kk_sql_run(store, err, "DELETE FROM api_keys WHERE id = ?", "i", row.id);
	if (r < 0 || row.access != KK_OWNER || row.expires_at)
		return r;
	snprintf(what, sizeof(what), "key %s", name);
	return kk_store_check_owner(store, what, err);
}

int kk_store_api_key_remove(struct kk_store *store, const char *name, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	return r < 0 ? r : kk_tx_end(store, remove_key(store, name, err), err);
}
