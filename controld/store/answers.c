// SPDX-License-Identifier: MIT
#include "controld/store/answers.h"

#include <errno.h>
#include <string.h>

#include "controld/store/sql.h"

int kk_store_answer_add(struct kk_store *store, const uint8_t id[KK_HASH_LEN],
			const struct kk_answer_row *row, int64_t now, struct kk_err *err)
{
	static const char insert[] =
		"INSERT OR REPLACE INTO answers (hash, request, status, sealed, created_at) "
		"VALUES (?, ?, ?, ?, ?)";
	int r = kk_sql_run(store, err, "DELETE FROM answers WHERE created_at <= ?", "i",
			   now - KK_ANSWER_KEPT_S);

	return r < 0 ? r
		     : kk_sql_run(store, err, insert, "bbiBi", id, row->request,
				  (int64_t)row->status, row->sealed, (int64_t)row->len, now);
}

int kk_store_answer_get(struct kk_store *store, const uint8_t id[KK_HASH_LEN], int64_t now,
			struct kk_answer_row *ret, struct kk_err *err)
{
	sqlite3_stmt *stmt = kk_sql(store, err,
				    "SELECT request, status, sealed FROM answers "
				    "WHERE hash = ? AND created_at > ?",
				    "bi", id, now - KK_ANSWER_KEPT_S);
	int r = kk_sql_step(store, stmt, err);

	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	memcpy(ret->request, sqlite3_column_blob(stmt, 0), KK_HASH_LEN);
	ret->status = (unsigned int)sqlite3_column_int(stmt, 1);
	ret->len = (size_t)sqlite3_column_bytes(stmt, 2);
	ret->sealed = malloc(ret->len + 1);
	if (ret->sealed)
		memcpy(ret->sealed, sqlite3_column_blob(stmt, 2), ret->len);
	kk_sql_done(stmt);
	return ret->sealed ? 0 : kk_err_set(err, ENOMEM, NULL, "out of memory");
}

int kk_store_answer_remove(struct kk_store *store, const uint8_t id[KK_HASH_LEN],
			   struct kk_err *err)
{
	return kk_sql_run(store, err, "DELETE FROM answers WHERE hash = ?", "b", id);
}
