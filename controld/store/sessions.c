// SPDX-License-Identifier: MIT
#include "controld/store/accounts.h"

#include <errno.h>
#include <stdio.h>

#include "controld/store/sql.h"

static int add(struct kk_store *store, const uint8_t hash[KK_HASH_LEN], int64_t user,
	       const char *address, int64_t now, int64_t expires_at, struct kk_err *err)
{
	static const char insert[] = "INSERT INTO sessions (org, user, address, hash, created_at, "
				     "expires_at) VALUES (?, ?, ?, ?, ?, ?)";
	int r = kk_sql_run(store, err, "DELETE FROM sessions WHERE expires_at <= ?", "i", now);

	return r < 0 ? r
		     : kk_sql_run(store, err, insert, "iitbii", store->org, user, address, hash,
				  now, expires_at);
}

int kk_store_session_add(struct kk_store *store, const uint8_t hash[KK_HASH_LEN], int64_t user,
			 const char *address, int64_t now, int64_t expires_at, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	return r < 0 ? r
		     : kk_tx_end(store, add(store, hash, user, address, now, expires_at, err), err);
}

int kk_store_session_find(struct kk_store *store, const uint8_t hash[KK_HASH_LEN], int64_t now,
			  struct kk_caller *ret, struct kk_err *err)
{
	static const char select[] =
		"SELECT s.org, s.user, s.id, u.role, u.name, o.name FROM sessions s "
		"JOIN users u ON u.id = s.user JOIN organisations o ON o.id = s.org "
		"WHERE s.hash = ? AND s.expires_at > ?";
	sqlite3_stmt *stmt = kk_sql(store, err, select, "bi", hash, now);
	int r = kk_sql_step(store, stmt, err);

	if (r < 0)
		return r;
	if (r == 0)
		return kk_err_set(err, EACCES, NULL, "the session is unknown or over");
	*ret = (struct kk_caller){
		.org = sqlite3_column_int64(stmt, 0),
		.user = sqlite3_column_int64(stmt, 1),
		.session = sqlite3_column_int64(stmt, 2),
		.access = (enum kk_access)sqlite3_column_int(stmt, 3),
	};
	kk_sql_text(stmt, 4, ret->name, sizeof(ret->name));
	kk_sql_text(stmt, 5, ret->org_name, sizeof(ret->org_name));
	kk_sql_done(stmt);
	snprintf(ret->who, sizeof(ret->who), "user %s", ret->name);
	return 0;
}

static void read_row(sqlite3_stmt *stmt, struct kk_session_row *row)
{
	row->id = sqlite3_column_int64(stmt, 0);
	row->created_at = sqlite3_column_int64(stmt, 1);
	row->expires_at = sqlite3_column_int64(stmt, 2);
	kk_sql_text(stmt, 3, row->user, sizeof(row->user));
	kk_sql_text(stmt, 4, row->address, sizeof(row->address));
}

int kk_store_session_list(struct kk_store *store, int64_t now,
			  int (*row)(const struct kk_session_row *row, void *userdata),
			  void *userdata, struct kk_err *err)
{
	static const char select[] =
		"SELECT s.id, s.created_at, s.expires_at, u.name, s.address FROM sessions s "
		"JOIN users u ON u.id = s.user WHERE s.org = ? AND s.expires_at > ? ORDER BY s.id";
	sqlite3_stmt *stmt = kk_sql(store, err, select, "ii", store->org, now);
	struct kk_session_row one;

	return kk_sql_each(store, stmt, read_row, one, row, userdata, err);
}

static int remove_session(struct kk_store *store, int64_t id, struct kk_err *err)
{
	int r = kk_sql_run(store, err, "DELETE FROM sessions WHERE org = ? AND id = ?", "ii",
			   store->org, id);

	if (r == 0 && sqlite3_changes(store->db) == 0)
		return kk_err_set(err, ENOENT, NULL, "there is no session %lld", (long long)id);
	return r;
}

int kk_store_session_remove(struct kk_store *store, int64_t id, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	return r < 0 ? r : kk_tx_end(store, remove_session(store, id, err), err);
}
