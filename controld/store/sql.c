// SPDX-License-Identifier: MIT
#include "controld/store/sql.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/log.h"

int kk_sql_failed(struct kk_store *store, struct kk_err *err)
{
	kk_error("the database failed: %s", sqlite3_errmsg(store->db));
	return kk_err_set(err, EIO, NULL, "the database failed: %s", sqlite3_errmsg(store->db));
}

static sqlite3_stmt *prepared(struct kk_store *store, const char *sql, struct kk_err *err)
{
	sqlite3_stmt *stmt;

	for (size_t i = 0; i < store->n_statements; i++)
		if (store->statements[i].sql == sql)
			return store->statements[i].stmt;
	if (store->n_statements == KK_STATEMENTS_MAX) {
		kk_err_set(err, EIO, NULL, "too many kinds of statements");
		return NULL;
	}
	if (sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL) !=
	    SQLITE_OK) {
		kk_sql_failed(store, err);
		return NULL;
	}
	store->statements[store->n_statements].sql = sql;
	store->statements[store->n_statements++].stmt = stmt;
	return stmt;
}

static int bind_one(sqlite3_stmt *stmt, int i, char type, va_list *ap)
{
	const void *data;

	switch (type) {
	case 'i':
		return sqlite3_bind_int64(stmt, i, va_arg(*ap, int64_t));
	case 't':
		data = va_arg(*ap, const char *);
		return sqlite3_bind_text(stmt, i, data, -1, SQLITE_TRANSIENT);
	case 'b':
		data = va_arg(*ap, const void *);
		return data ? sqlite3_bind_blob(stmt, i, data, KK_HASH_LEN, SQLITE_TRANSIENT)
			    : sqlite3_bind_null(stmt, i);
	case 'B':
		data = va_arg(*ap, const void *);
		return sqlite3_bind_blob64(stmt, i, data, (uint64_t)va_arg(*ap, int64_t),
					   SQLITE_TRANSIENT);
	default:
		return SQLITE_MISUSE;
	}
}

sqlite3_stmt *kk_sql(struct kk_store *store, struct kk_err *err, const char *sql, const char *types,
		     ...)
{
	sqlite3_stmt *stmt = prepared(store, sql, err);
	int r = SQLITE_OK;
	va_list ap;

	if (!stmt)
		return NULL;
	va_start(ap, types);
	for (int i = 0; types[i] && r == SQLITE_OK; i++)
		r = bind_one(stmt, i + 1, types[i], &ap);
	va_end(ap);
	if (r != SQLITE_OK) {
		kk_sql_failed(store, err);
		return NULL;
	}
	return stmt;
}

void kk_sql_done(sqlite3_stmt *stmt)
{
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
}

int kk_sql_step(struct kk_store *store, sqlite3_stmt *stmt, struct kk_err *err)
{
	int r;

	if (!stmt)
		return -EIO;
	r = sqlite3_step(stmt);
	if (r == SQLITE_ROW)
		return 1;
	if (r != SQLITE_DONE)
		kk_sql_failed(store, err);
	kk_sql_done(stmt);
	return r == SQLITE_DONE ? 0 : -EIO;
}

int kk_sql_finish(struct kk_store *store, sqlite3_stmt *stmt, struct kk_err *err)
{
	int r = kk_sql_step(store, stmt, err);

	if (r > 0)
		kk_sql_done(stmt);
	return r < 0 ? r : 0;
}

int kk_sql_only(struct kk_store *store, sqlite3_stmt *stmt, int64_t *ret, struct kk_err *err)
{
	int r = kk_sql_step(store, stmt, err);

	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	*ret = sqlite3_column_int64(stmt, 0);
	kk_sql_done(stmt);
	return 0;
}

int kk_sql_free(struct kk_store *store, sqlite3_stmt *stmt, const char *what, const char *name,
		struct kk_err *err)
{
	int64_t id;
	int r = kk_sql_only(store, stmt, &id, err);

	if (r == 0)
		return kk_err_set(err, EEXIST, "name", "name: there is already %s %s", what, name);
	return r == -ENOENT ? 0 : r;
}

int kk_sql_unused(struct kk_store *store, sqlite3_stmt *stmt, const char *what, const char *name,
		  struct kk_err *err)
{
	char kind[16], user[KK_NAME_MAX + 1];
	int r = kk_sql_step(store, stmt, err);

	if (r <= 0)
		return r;
	kk_sql_text(stmt, 0, kind, sizeof(kind));
	kk_sql_text(stmt, 1, user, sizeof(user));
	kk_sql_done(stmt);
	return kk_err_set(err, EBUSY, NULL, "%s %s is in %s %s", what, name, kind, user);
}

int kk_sql_named(int r, const char *what, const char *name, struct kk_err *err)
{
	return r == -ENOENT ? kk_err_set(err, ENOENT, NULL, "there is no %s \"%.64s\"", what, name)
			    : r;
}

int kk_sql_numbered(int r, const char *what, int64_t id, struct kk_err *err)
{
	return r == -ENOENT ? kk_err_set(err, ENOENT, NULL, "there is no %s with id %lld", what,
					 (long long)id)
			    : r;
}

void kk_sql_text(sqlite3_stmt *stmt, int column, char *out, size_t len)
{
	const unsigned char *text = sqlite3_column_text(stmt, column);

	snprintf(out, len, "%s", text ? (const char *)text : "");
}

bool kk_sql_key(sqlite3_stmt *stmt, int column, uint8_t key[KK_KEY_LEN])
{
	const void *blob = sqlite3_column_blob(stmt, column);

	if (!blob || sqlite3_column_bytes(stmt, column) != KK_KEY_LEN)
		return false;
	memcpy(key, blob, KK_KEY_LEN);
	return true;
}

struct kk_address kk_sql_address(sqlite3_stmt *stmt, int column)
{
	struct kk_address address = {0};
	char text[KK_ADDRESS_TEXT];

	kk_sql_text(stmt, column, text, sizeof(text));
	if (text[0])
		kk_parse_address("address", text, &address, NULL);
	return address;
}

struct kk_prefix kk_sql_prefix(sqlite3_stmt *stmt, int column)
{
	struct kk_prefix prefix = {0};
	char text[KK_PREFIX_TEXT];

	kk_sql_text(stmt, column, text, sizeof(text));
	kk_parse_prefix("prefix", text, &prefix, NULL);
	return prefix;
}

/* What is written to a file without a name is lost with the process, so it must not be acknowledged. */
static int check_file(struct kk_store *store, struct kk_err *err)
{
	int moved = 0;

	if (sqlite3_file_control(store->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) != SQLITE_OK ||
	    !moved)
		return 0;
	return kk_err_set(
		err, EIO, "state",
		"the database file was removed or replaced while kkcontrold runs; restart "
		"it to go on with what is there now");
}

int kk_tx_begin(struct kk_store *store, struct kk_err *err)
{
	int r = 0;

	if (store->depth == 0) {
		r = check_file(store, err);
		store->n_changes = 0;
		store->failed = store->released = false;
		store->check_access = store->check_rules = false;
		if (r == 0)
			r = kk_sql_run(store, err, "BEGIN IMMEDIATE", "");
	}
	if (r == 0)
		store->depth++;
	return r;
}

int64_t kk_tx_generation(const struct kk_store *store)
{
	return store->generation + 1;
}

static int note(struct kk_store *store, const struct kk_change *change)
{
	if (store->n_changes == store->changes_size) {
		size_t size = store->changes_size ? store->changes_size * 2 : 16;
		struct kk_change *bigger = reallocarray(store->changes, size, sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		store->changes = bigger;
		store->changes_size = size;
	}
	store->changes[store->n_changes++] = *change;
	return 0;
}

int kk_tx_change(struct kk_store *store, enum kk_kind kind, enum kk_op op, int64_t id,
		 int64_t agent, struct kk_err *err)
{
	static const char insert[] = "INSERT INTO changes (generation, kind, op, id, agent, org) "
				     "VALUES (?, ?, ?, ?, ?, ?)";
	struct kk_change change = {kk_tx_generation(store), kind, op, id, agent, store->org};

	if (note(store, &change) < 0)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	return kk_sql_run(store, err, insert, "iiiiii", change.generation, (int64_t)kind,
			  (int64_t)op, id, agent, change.org);
}

/* The log is bounded in generations and, since one may hold many changes, in these. */
static int next_generation(struct kk_store *store, struct kk_err *err)
{
	static const char forget[] =
		"DELETE FROM changes WHERE generation <= max(?, ifnull((SELECT generation FROM "
		"changes WHERE seq = (SELECT max(seq) FROM changes) - ?), 0))";
	int r = kk_sql_run(store, err, "UPDATE control SET generation = ?", "i",
			   kk_tx_generation(store));

	if (r < 0)
		return r;
	return kk_sql_run(store, err, forget, "ii", kk_tx_generation(store) - KK_CHANGES_MAX,
			  (int64_t)KK_CHANGE_ROWS_MAX);
}

/* Who gave up his ports must have some again. */
static int check_released(struct kk_store *store, struct kk_err *err)
{
	int64_t id;
	int r = kk_sql_number(store, &id, err, "SELECT id FROM services WHERE moving <> 0 LIMIT 1",
			      "");

	if (r == -ENOENT)
		return 0;
	return r < 0 ? r
		     : kk_err_set(err, EIO, NULL, "service %lld was left without ports",
				  (long long)id);
}

static int commit(struct kk_store *store, int r, struct kk_err *err)
{
	if (r == 0 && store->failed)
		r = kk_err_set(err, EIO, NULL, "a part of the change failed");
	if (r == 0 && store->released)
		r = check_released(store, err);
	if (r == 0)
		r = kk_access_check(store, err);
	if (r == 0 && store->n_changes)
		r = next_generation(store, err);
	if (r == 0)
		r = kk_sql_run(store, err, "COMMIT", "");
	if (r == 0)
		return 0;
	/* After some failures SQLite has rolled back by itself. */
	if (!sqlite3_get_autocommit(store->db))
		kk_sql_run(store, NULL, "ROLLBACK", "");
	store->agent_hint = 0;
	store->n_changes = 0;
	return r;
}

int kk_tx_end(struct kk_store *store, int r, struct kk_err *err)
{
	size_t n;

	if (--store->depth) {
		store->failed |= r < 0;
		return r;
	}
	r = commit(store, r, err);
	n = store->n_changes;
	if (r < 0 || !n)
		return r;
	store->generation++;
	store->n_changes = 0;
	if (store->changed)
		store->changed(store->changes, n, store->userdata);
	return 0;
}

int kk_store_check(struct kk_store *store, struct kk_err *err)
{
	return kk_access_check(store, err);
}

int kk_store_begin(struct kk_store *store, struct kk_err *err)
{
	return kk_tx_begin(store, err);
}

int kk_store_end(struct kk_store *store, int r, struct kk_err *err)
{
	return kk_tx_end(store, r, err);
}

void kk_store_read_begin(struct kk_store *store)
{
	if (store->depth == 0 && sqlite3_get_autocommit(store->db))
		kk_sql_run(store, NULL, "BEGIN", "");
}

void kk_store_read_end(struct kk_store *store)
{
	if (store->depth == 0 && !sqlite3_get_autocommit(store->db))
		kk_sql_run(store, NULL, "COMMIT", "");
}
