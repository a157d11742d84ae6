// SPDX-License-Identifier: MIT
/* Allowed and denied prefixes: those of a service, and those that are denied by all. */
#include "controld/store/sql.h"

#include <errno.h>
#include <string.h>

static int remove_rule(struct kk_store *store, int64_t id, struct kk_err *err)
{
	int r = kk_sql_run(store, err, "DELETE FROM rules WHERE id = ?", "i", id);

	return r < 0 ? r : kk_tx_change(store, KK_RULE, KK_REMOVE, id, 0, err);
}

/* @service 0: of all. */
static int insert_rule(struct kk_store *store, int64_t service, const struct kk_prefix *prefix,
		       bool allow, int64_t *ret_id, struct kk_err *err)
{
	static const char sql[] = "INSERT INTO rules (org, service, prefix, allow, generation) "
				  "VALUES (?, nullif(?, 0), ?, ?, ?)";
	char text[KK_PREFIX_TEXT];
	int64_t id;
	int r = kk_sql_run(store, err, sql, "iitii", store->org, service,
			   kk_prefix_text(prefix, text), (int64_t)allow, kk_tx_generation(store));

	if (r < 0)
		return r;
	id = sqlite3_last_insert_rowid(store->db);
	if (ret_id)
		*ret_id = id;
	return kk_tx_change(store, KK_RULE, KK_ADD, id, 0, err);
}

/* Removes the rules that are not wanted; @there says which of the wanted ones are there already. */
static int drop_others(struct kk_store *store, const struct kk_service_row *row,
		       bool there[KK_SERVICE_RULES_MAX], struct kk_err *err)
{
	static const char sql[] = "SELECT id, prefix, allow FROM rules WHERE service = ?";
	sqlite3_stmt *stmt = kk_sql(store, err, sql, "i", row->id);
	int64_t gone[KK_SERVICE_RULES_MAX];
	size_t n_gone = 0;
	int r;

	while ((r = kk_sql_step(store, stmt, err)) > 0) {
		const struct kk_prefix prefix = kk_sql_prefix(stmt, 1);
		bool allow = sqlite3_column_int(stmt, 2);
		size_t i = 0;

		while (i < row->n_rules && (row->rules[i].allow != allow ||
					    !kk_prefix_equal(&row->rules[i].prefix, &prefix)))
			i++;
		if (i < row->n_rules)
			there[i] = true;
		else if (n_gone < KK_SERVICE_RULES_MAX)
			gone[n_gone++] = sqlite3_column_int64(stmt, 0);
	}
	for (size_t i = 0; i < n_gone && r == 0; i++)
		r = remove_rule(store, gone[i], err);
	return r;
}

int kk_rules_write(struct kk_store *store, const struct kk_service_row *row, struct kk_err *err)
{
	bool there[KK_SERVICE_RULES_MAX] = {false};
	int r = drop_others(store, row, there, err);

	for (size_t i = 0; i < row->n_rules && r == 0; i++)
		if (!there[i])
			r = insert_rule(store, row->id, &row->rules[i].prefix, row->rules[i].allow,
					NULL, err);
	return r;
}

#define COLUMNS "id, ifnull(service, 0), prefix, allow"

static void read_row(sqlite3_stmt *stmt, struct kk_rule_row *row)
{
	*row = (struct kk_rule_row){
		.id = sqlite3_column_int64(stmt, 0),
		.service = sqlite3_column_int64(stmt, 1),
		.prefix = kk_sql_prefix(stmt, 2),
		.allow = sqlite3_column_int(stmt, 3),
	};
}

int kk_store_rule_get(struct kk_store *store, int64_t id, struct kk_rule_row *ret,
		      struct kk_err *err)
{
	sqlite3_stmt *stmt =
		kk_sql(store, err, "SELECT " COLUMNS " FROM rules WHERE id = ?", "i", id);

	return kk_sql_numbered(kk_sql_one(store, stmt, read_row, ret, err), "rule", id, err);
}

int kk_store_rule_list(struct kk_store *store,
		       int (*row)(const struct kk_rule_row *row, void *userdata), void *userdata,
		       struct kk_err *err)
{
	sqlite3_stmt *stmt =
		kk_sql(store, err, "SELECT " COLUMNS " FROM rules WHERE org = ? ORDER BY id", "i",
		       store->org);
	struct kk_rule_row one;

	return kk_sql_each(store, stmt, read_row, one, row, userdata, err);
}

/* ---- denials ---- */

static int add(struct kk_store *store, struct kk_denial_row *row, struct kk_err *err)
{
	char text[KK_PREFIX_TEXT];
	int64_t n;
	int r;

	kk_prefix_text(&row->prefix, text);
	r = kk_sql_number(
		store, &n, err,
		"SELECT id FROM rules WHERE org = ? AND ifnull(service, 0) = 0 AND prefix = ?",
		"it", store->org, text);
	if (r == 0)
		return kk_err_set(err, EEXIST, "prefix", "prefix: %s is denied already", text);
	if (r == -ENOENT)
		r = kk_sql_number(store, &n, err,
				  "SELECT count(*) FROM rules WHERE org = ? AND service IS NULL",
				  "i", store->org);
	if (r < 0)
		return r;
	if (n >= KK_DENIALS_MAX)
		return kk_err_set(err, ENOSPC, "prefix", "prefix: %d are denied, which is the most",
				  KK_DENIALS_MAX);
	row->generation = kk_tx_generation(store);
	return insert_rule(store, 0, &row->prefix, false, &row->id, err);
}

int kk_store_denial_add(struct kk_store *store, struct kk_denial_row *row, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	return r < 0 ? r : kk_tx_end(store, add(store, row, err), err);
}

static void read_denial(sqlite3_stmt *stmt, struct kk_denial_row *row)
{
	*row = (struct kk_denial_row){
		.id = sqlite3_column_int64(stmt, 0),
		.prefix = kk_sql_prefix(stmt, 1),
		.generation = sqlite3_column_int64(stmt, 2),
	};
}

int kk_store_denial_list(struct kk_store *store,
			 int (*row)(const struct kk_denial_row *row, void *userdata),
			 void *userdata, struct kk_err *err)
{
	sqlite3_stmt *stmt = kk_sql(store, err,
				    "SELECT id, prefix, generation FROM rules "
				    "WHERE org = ? AND service IS NULL ORDER BY id",
				    "i", store->org);
	struct kk_denial_row one;

	return kk_sql_each(store, stmt, read_denial, one, row, userdata, err);
}

static int remove_denial(struct kk_store *store, int64_t id, struct kk_err *err)
{
	int64_t n;
	int r = kk_sql_number(store, &n, err,
			      "SELECT id FROM rules WHERE org = ? AND id = ? AND service IS NULL",
			      "ii", store->org, id);

	kk_sql_numbered(r, "denial", id, err);
	return r < 0 ? r : remove_rule(store, id, err);
}

int kk_store_denial_remove(struct kk_store *store, int64_t id, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	return r < 0 ? r : kk_tx_end(store, remove_denial(store, id, err), err);
}
