// SPDX-License-Identifier: MIT
/*
 * Allowed and denied prefixes, as gateways are told of them: those of a service, its own and those that follow from
 * access rules, and those that are denied by all.
 */
#include "controld/store/sql.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int remove_rule(struct kk_store *store, int64_t id, struct kk_err *err)
{
	int r = kk_sql_run(store, err, "DELETE FROM rules WHERE id = ?", "i", id);

	return r < 0 ? r : kk_tx_change(store, KK_RULE, KK_REMOVE, id, 0, err);
}

/* @service 0: of all. */
static int insert_rule(struct kk_store *store, int64_t service, const struct kk_service_rule *rule,
		       bool given, int64_t *ret_id, struct kk_err *err)
{
	static const char sql[] =
		"INSERT INTO rules (org, service, prefix, allow, given, generation) "
		"VALUES (?, nullif(?, 0), ?, ?, ?, ?)";
	char text[KK_PREFIX_TEXT];
	int64_t id;
	int r = kk_sql_run(store, err, sql, "iitiii", store->org, service,
			   kk_prefix_text(&rule->prefix, text), (int64_t)rule->allow,
			   (int64_t)given, kk_tx_generation(store));

	if (r < 0)
		return r;
	store->check_rules = true;
	id = sqlite3_last_insert_rowid(store->db);
	if (ret_id)
		*ret_id = id;
	return kk_tx_change(store, KK_RULE, KK_ADD, id, 0, err);
}

/* Of a prefix that follows from access rules too, what the service says itself stands. */
static int insert_own(struct kk_store *store, int64_t service, const struct kk_service_rule *rule,
		      struct kk_err *err)
{
	char text[KK_PREFIX_TEXT];
	int64_t id;
	int r = kk_sql_number(store, &id, err,
			      "SELECT id FROM rules WHERE org = ? AND ifnull(service, 0) = ? "
			      "AND prefix = ?",
			      "iit", store->org, service, kk_prefix_text(&rule->prefix, text));

	r = r == 0 ? remove_rule(store, id, err) : r == -ENOENT ? 0 : r;
	return r < 0 ? r : insert_rule(store, service, rule, true, NULL, err);
}

/* Removes the rules that are not wanted; @there says which of the wanted ones are there already. */
static int drop_others(struct kk_store *store, const struct kk_service_row *row,
		       bool there[KK_SERVICE_RULES_MAX], struct kk_err *err)
{
	static const char sql[] = "SELECT id, prefix, allow FROM rules WHERE service = ? AND given";
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
			r = insert_own(store, row->id, &row->rules[i], err);
	return r;
}

/* ---- what follows from access rules ---- */

/*
 * Of service ?1 that is closed: nobody is let in but those that are the source of an access rule. What the service
 * says itself of a prefix goes before, and between others the longest prefix decides.
 */
#define FOLLOWS                                                                                    \
	"WITH allowed (prefix) AS ("                                                               \
	"SELECT p.prefix FROM access_rules a JOIN host_prefixes p ON p.host = a.source_host "      \
	"WHERE a.service = ?1 UNION "                                                              \
	"SELECT p.prefix FROM access_rules a JOIN group_hosts g ON g.host_group = a.source_group " \
	"JOIN host_prefixes p ON p.host = g.host WHERE a.service = ?1), "                          \
	"follows (prefix, allow) AS ("                                                             \
	"SELECT prefix, max(allow) FROM (SELECT prefix, 1 AS allow FROM allowed UNION ALL "        \
	"SELECT '0.0.0.0/0', 0 UNION ALL SELECT '::/0', 0) "                                       \
	"WHERE (SELECT closed FROM services WHERE id = ?1) AND prefix NOT IN "                     \
	"(SELECT prefix FROM rules WHERE service = ?1 AND given) GROUP BY prefix) "

/* What is to go, and what is to come. */
struct followers {
	int64_t gone[KK_SOURCES_MAX + 2];
	size_t n_gone;
	struct kk_service_rule come[KK_SOURCES_MAX + 2];
	size_t n_come;
};

static int too_many(struct kk_store *store, int64_t service, struct kk_err *err)
{
	struct kk_service_row row;
	int r = kk_store_service_get_id(store, service, &row, err);

	return r < 0 ? r
		     : kk_err_set(
			       err, ENOSPC, NULL,
			       "access rules would let more than the %d prefixes in to service %s "
			       "that it can have",
			       KK_SOURCES_MAX, row.name);
}

static int find_gone(struct kk_store *store, int64_t service, struct followers *f,
		     struct kk_err *err)
{
	static const char sql[] =
		FOLLOWS "SELECT r.id FROM rules r LEFT JOIN follows f ON f.prefix = r.prefix "
			"AND f.allow = r.allow WHERE r.service = ?1 AND NOT r.given "
			"AND f.prefix IS NULL";
	sqlite3_stmt *stmt = kk_sql(store, err, sql, "i", service);
	int r;

	/* There are not more, since no more were made. */
	while ((r = kk_sql_step(store, stmt, err)) > 0)
		if (f->n_gone < ARRAY_SIZE(f->gone))
			f->gone[f->n_gone++] = sqlite3_column_int64(stmt, 0);
	return r;
}

static int find_come(struct kk_store *store, int64_t service, struct followers *f,
		     struct kk_err *err)
{
	static const char sql[] = FOLLOWS
		"SELECT f.prefix, f.allow, r.id IS NOT NULL FROM follows f LEFT JOIN rules r "
		"ON r.org = ?2 AND ifnull(r.service, 0) = ?1 AND r.prefix = f.prefix "
		"AND r.allow = f.allow";
	sqlite3_stmt *stmt = kk_sql(store, err, sql, "ii", service, store->org);
	size_t n = 0;
	int r;

	while ((r = kk_sql_step(store, stmt, err)) > 0) {
		if (n++ == ARRAY_SIZE(f->come)) {
			kk_sql_done(stmt);
			return too_many(store, service, err);
		}
		if (!sqlite3_column_int(stmt, 2))
			f->come[f->n_come++] = (struct kk_service_rule){
				.prefix = kk_sql_prefix(stmt, 0),
				.allow = sqlite3_column_int(stmt, 1),
			};
	}
	return r;
}

int kk_rules_follow(struct kk_store *store, int64_t service, struct kk_err *err)
{
	KK_CLEANUP_FREE struct followers *f = calloc(1, sizeof(*f));
	int r = f ? find_gone(store, service, f, err)
		  : kk_err_set(err, ENOMEM, NULL, "out of memory");

	if (r == 0)
		r = find_come(store, service, f, err);
	for (size_t i = 0; r == 0 && i < f->n_gone; i++)
		r = remove_rule(store, f->gone[i], err);
	for (size_t i = 0; r == 0 && i < f->n_come; i++)
		r = insert_rule(store, service, &f->come[i], false, NULL, err);
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
	const struct kk_service_rule rule = {.prefix = row->prefix};
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
	return insert_rule(store, 0, &rule, true, &row->id, err);
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
