// SPDX-License-Identifier: MIT
#include "controld/store/sql.h"

#include <errno.h>
#include <time.h>

int kk_store_api_key_add(struct kk_store *store, const uint8_t hash[KK_HASH_LEN],
			 struct kk_api_key_row *row, struct kk_err *err)
{
	int64_t id;
	int r = kk_sql_number(store, &id, err, "SELECT id FROM api_keys WHERE name = ?", "t",
			      row->name);

	if (r == 0)
		return kk_err_set(err, EEXIST, "name", "name: there is already a key %s",
				  row->name);
	if (r != -ENOENT)
		return r;
	row->created_at = time(NULL);
	return kk_sql_run(store, err,
			  "INSERT INTO api_keys (name, hash, created_at) VALUES (?, ?, ?)", "tbi",
			  row->name, hash, row->created_at);
}

int kk_store_api_key_put(struct kk_store *store, const uint8_t hash[KK_HASH_LEN], const char *name,
			 struct kk_err *err)
{
	static const char upsert[] =
		"INSERT INTO api_keys (name, hash, created_at) VALUES (?, ?, ?) "
		"ON CONFLICT (name) DO UPDATE SET hash = excluded.hash, "
		"created_at = excluded.created_at";

	return kk_sql_run(store, err, upsert, "tbi", name, hash, (int64_t)time(NULL));
}

int kk_store_api_key_find(struct kk_store *store, const uint8_t hash[KK_HASH_LEN],
			  struct kk_err *err)
{
	int64_t id;
	int r = kk_sql_number(store, &id, err, "SELECT id FROM api_keys WHERE hash = ?", "b", hash);

	if (r == -ENOENT)
		return kk_err_set(err, EACCES, NULL, "the key is unknown or revoked");
	return r;
}

int kk_store_api_key_count(struct kk_store *store, int64_t *ret, struct kk_err *err)
{
	return kk_sql_number(store, ret, err, "SELECT count(*) FROM api_keys", "");
}

int kk_store_api_key_list(struct kk_store *store,
			  int (*row)(const struct kk_api_key_row *row, void *userdata),
			  void *userdata, struct kk_err *err)
{
	sqlite3_stmt *stmt =
		kk_sql(store, err, "SELECT name, created_at FROM api_keys ORDER BY id", "");
	int r;

	while ((r = kk_sql_step(store, stmt, err)) > 0) {
		struct kk_api_key_row one = {.created_at = sqlite3_column_int64(stmt, 1)};

		kk_sql_text(stmt, 0, one.name, sizeof(one.name));
		r = row(&one, userdata);
		if (r) {
			kk_sql_done(stmt);
			return r;
		}
	}
	return r;
}

static int remove_key(struct kk_store *store, const char *name, struct kk_err *err)
{
	int64_t id, n;
	int r = kk_sql_number(store, &id, err, "SELECT id FROM api_keys WHERE name = ?", "t", name);

	if (r == -ENOENT)
		return kk_err_set(err, ENOENT, NULL, "there is no key \"%.64s\"", name);
	if (r == 0)
		r = kk_store_api_key_count(store, &n, err);
	if (r < 0)
		return r;
	if (n == 1)
		return kk_err_set(err, EBUSY, NULL,
				  "key %s is the last one, and nobody could come in without it",
				  name);
	return kk_sql_run(store, err, "DELETE FROM api_keys WHERE id = ?", "i", id);
}

int kk_store_api_key_remove(struct kk_store *store, const char *name, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	if (r < 0)
		return r;
	return kk_tx_end(store, remove_key(store, name, err), err);
}
