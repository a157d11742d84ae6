// SPDX-License-Identifier: MIT
/* The whole of the database: counted, and copied while it is in use (SQLite's backup). */
#include "controld/store/sql.h"

#include <errno.h>

int kk_store_count(struct kk_store *store, struct kk_store_counts *ret, struct kk_err *err)
{
	sqlite3_stmt *stmt =
		kk_sql(store, err,
		       "SELECT (SELECT count(*) FROM organisations), "
		       "(SELECT count(*) FROM gateways), (SELECT count(*) FROM agents), "
		       "(SELECT count(*) FROM services)",
		       "");
	int r = kk_sql_step(store, stmt, err);

	if (r <= 0)
		return r < 0 ? r : -EIO;
	*ret = (struct kk_store_counts){
		.organisations = sqlite3_column_int64(stmt, 0),
		.gateways = sqlite3_column_int64(stmt, 1),
		.agents = sqlite3_column_int64(stmt, 2),
		.services = sqlite3_column_int64(stmt, 3),
	};
	kk_sql_done(stmt);
	return 0;
}

static int copy_all(struct kk_store *store, sqlite3 *copy)
{
	sqlite3_backup *backup = sqlite3_backup_init(copy, "main", store->db, "main");

	if (!backup)
		return sqlite3_errcode(copy);
	sqlite3_backup_step(backup, -1);
	return sqlite3_backup_finish(backup);
}

static int add_file(sqlite3 *copy, const struct kk_store_file *file)
{
	sqlite3_stmt *stmt;
	int r = sqlite3_prepare_v2(copy, "INSERT INTO files VALUES (?, ?)", -1, &stmt, NULL);

	if (r != SQLITE_OK)
		return r;
	sqlite3_bind_text(stmt, 1, file->name, -1, SQLITE_STATIC);
	sqlite3_bind_blob64(stmt, 2, file->data, file->len, SQLITE_STATIC);
	r = sqlite3_step(stmt);
	sqlite3_finalize(stmt);
	return r == SQLITE_DONE ? SQLITE_OK : r;
}

int kk_store_backup(struct kk_store *store, const struct kk_store_file *files, size_t n_files,
		    void **ret, size_t *ret_len, struct kk_err *err)
{
	sqlite3_int64 len = 0;
	sqlite3 *copy;
	void *data = NULL;
	int r = sqlite3_open(":memory:", &copy);

	if (r == SQLITE_OK)
		r = copy_all(store, copy);
	/* A copy of a database with a log beside it says that it has one, too. */
	if (r == SQLITE_OK)
		r = sqlite3_exec(
			copy,
			"PRAGMA journal_mode = DELETE;"
			"CREATE TABLE files (name TEXT PRIMARY KEY, data BLOB NOT NULL) STRICT",
			NULL, NULL, NULL);
	for (size_t i = 0; i < n_files && r == SQLITE_OK; i++)
		r = add_file(copy, &files[i]);
	if (r == SQLITE_OK)
		data = sqlite3_serialize(copy, "main", &len, 0);
	if (!data)
		kk_err_set(err, EIO, NULL, "the database cannot be copied: %s",
			   copy ? sqlite3_errmsg(copy) : "out of memory");
	sqlite3_close(copy);
	if (!data)
		return -EIO;
	*ret = data;
	*ret_len = (size_t)len;
	return 0;
}

void kk_store_backup_free(void *backup)
{
	sqlite3_free(backup);
}
