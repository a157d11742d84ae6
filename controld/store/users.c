// SPDX-License-Identifier: MIT
#include "controld/store/accounts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "controld/store/sql.h"

#define COLUMNS "id, name, role, created_at, password"

static void read_row(sqlite3_stmt *stmt, struct kk_user_row *row)
{
	row->id = sqlite3_column_int64(stmt, 0);
	kk_sql_text(stmt, 1, row->name, sizeof(row->name));
	row->access = (enum kk_access)sqlite3_column_int(stmt, 2);
	row->created_at = sqlite3_column_int64(stmt, 3);
	kk_sql_text(stmt, 4, row->password, sizeof(row->password));
}

int kk_store_user_get(struct kk_store *store, const char *name, struct kk_user_row *ret,
		      struct kk_err *err)
{
	sqlite3_stmt *stmt =
		kk_sql(store, err, "SELECT " COLUMNS " FROM users WHERE org = ? AND name = ?", "it",
		       store->org, name);

	return kk_sql_named(kk_sql_one(store, stmt, read_row, ret, err), "user", name, err);
}

int kk_store_user_list(struct kk_store *store,
		       int (*row)(const struct kk_user_row *row, void *userdata), void *userdata,
		       struct kk_err *err)
{
	sqlite3_stmt *stmt =
		kk_sql(store, err, "SELECT " COLUMNS " FROM users WHERE org = ? ORDER BY id", "i",
		       store->org);
	struct kk_user_row one;

	return kk_sql_each(store, stmt, read_row, one, row, userdata, err);
}

static int add(struct kk_store *store, struct kk_user_row *row, struct kk_err *err)
{
	sqlite3_stmt *same = kk_sql(store, err, "SELECT id FROM users WHERE org = ? AND name = ?",
				    "it", store->org, row->name);
	int r = kk_sql_free(store, same, "a user", row->name, err);

	if (r < 0)
		return r;
	row->created_at = time(NULL);
	r = kk_sql_run(store, err,
		       "INSERT INTO users (org, name, role, password, created_at) "
		       "VALUES (?, ?, ?, ?, ?)",
		       "ititi", store->org, row->name, (int64_t)row->access, row->password,
		       row->created_at);
	row->id = sqlite3_last_insert_rowid(store->db);
	return r;
}

int kk_store_user_add(struct kk_store *store, struct kk_user_row *row, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	return r < 0 ? r : kk_tx_end(store, add(store, row, err), err);
}

static int check_owner(struct kk_store *store, const char *name, struct kk_err *err)
{
	char what[KK_NAME_MAX + 16];

	snprintf(what, sizeof(what), "user %s", name);
	return kk_store_check_owner(store, what, err);
}

static int set(struct kk_store *store, const struct kk_user_row *row, struct kk_err *err)
{
	struct kk_user_row now;
	int r = kk_store_user_get(store, row->name, &now, err);

	if (r == 0)
		r = kk_sql_run(store, err, "UPDATE users SET role = ?, password = ? WHERE id = ?",
			       "iti", (int64_t)row->access, row->password, row->id);
	if (r == 0 && strcmp(now.password, row->password) != 0)
		r = kk_sql_run(store, err, "DELETE FROM sessions WHERE user = ?", "i", row->id);
	if (r == 0 && now.access == KK_OWNER)
		r = check_owner(store, row->name, err);
	return r;
}

int kk_store_user_set(struct kk_store *store, const struct kk_user_row *row, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	return r < 0 ? r : kk_tx_end(store, set(store, row, err), err);
}

static int remove_user(struct kk_store *store, const char *name, struct kk_err *err)
{
	struct kk_user_row row;
	int r = kk_store_user_get(store, name, &row, err);

	if (r == 0)
		r = kk_sql_run(store, err, "DELETE FROM users WHERE id = ?", "i", row.id);
	if (r == 0 && row.access == KK_OWNER)
		r = check_owner(store, name, err);
	return r;
}

int kk_store_user_remove(struct kk_store *store, const char *name, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	return r < 0 ? r : kk_tx_end(store, remove_user(store, name, err), err);
}
