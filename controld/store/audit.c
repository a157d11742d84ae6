// SPDX-License-Identifier: MIT
#include "controld/store/audit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controld/store/sql.h"

/* What people know of; a table's columns are asked of the database. */
static const struct {
	const char *table, *kind;
	const char *of;	  /* a row is a part of an object of this table, ... */
	const char *by;	  /* which this column refers to */
	const char *only; /* rows with this column set; NULL: all */
	/* Rows in which this column is set are of another kind. */
	const char *other_if, *other;
} audited[] = {
	{.table = "organisations", .kind = "organisation"},
	{.table = "users", .kind = "user"},
	{.table = "sessions", .kind = "session"},
	{.table = "api_keys", .kind = "api-key"},
	{.table = "gateways", .kind = "gateway"},
	{.table = "gateway_addresses",
	 .kind = "gateway-address",
	 .of = "gateways",
	 .by = "gateway"},
	{.table = "agents", .kind = "agent", .other_if = "plain", .other = "peer"},
	{.table = "services", .kind = "service"},
	{.table = "members", .kind = "service-agent", .of = "services", .by = "service"},
	{.table = "rules", .kind = "rule", .only = "given"},
	{.table = "hosts", .kind = "host"},
	{.table = "host_prefixes", .kind = "host-prefix", .of = "hosts", .by = "host"},
	{.table = "host_groups", .kind = "group"},
	{.table = "group_hosts", .kind = "group-host", .of = "host_groups", .by = "host_group"},
	{.table = "access_rules", .kind = "access-rule"},
	{.table = "bans", .kind = "ban"},
	{.table = "join_tokens", .kind = "join-token"},
};

/* What people do not know of, or is said elsewhere in the entry. */
static const char *const left_out[] = {"id",	       "org",	 "generation", "password",
				       "ports_in_use", "moving", "given"};

static void actor_function(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	const struct kk_store *store = sqlite3_user_data(context);

	(void)argc;
	sqlite3_result_text(context, sqlite3_value_int(argv[0]) ? store->from : store->who, -1,
			    SQLITE_TRANSIENT);
}

/* What the triggers of one table are made of. */
struct parts {
	char *old_json, *new_json; /* arguments of json_object() */
	char *columns;		   /* whose change is one, "a, b" */
	char *differs;		   /* "OLD.a IS NOT NEW.a OR ..." */
	bool has_name, has_org;
};

/* Appends to @text, which it takes over, with @separator before all but the first. NULL without memory. */
static char *append(char *text, const char *separator, char *more)
{
	char *all = text && more ? sqlite3_mprintf("%s%s%s", text, text[0] ? separator : "", more)
				 : NULL;

	sqlite3_free(text);
	sqlite3_free(more);
	return all;
}

/* The value of @column of row @row (OLD or NEW) as people know it. */
static char *value_of(const char *row, const char *column, const char *type, const char *refers)
{
	size_t len = strlen(column);

	if (refers)
		return sqlite3_mprintf("'%q', (SELECT name FROM \"%w\" WHERE id = %s.\"%w\")",
				       column, refers, row, column);
	if (len >= 4 && strcmp(column + len - 4, "hash") == 0)
		return sqlite3_mprintf("'%q', substr(lower(hex(%s.\"%w\")), 1, 8)", column, row,
				       column);
	if (strcmp(type, "BLOB") == 0)
		return sqlite3_mprintf("'%q', lower(hex(%s.\"%w\"))", column, row, column);
	return sqlite3_mprintf("'%q', %s.\"%w\"", column, row, column);
}

static void add_column(struct parts *p, const char *column, const char *type, const char *refers)
{
	bool secret = strcmp(column, "password") == 0;

	p->has_name |= strcmp(column, "name") == 0;
	p->has_org |= strcmp(column, "org") == 0;
	for (size_t i = 0; i < ARRAY_SIZE(left_out) && !secret; i++)
		if (strcmp(left_out[i], column) == 0)
			return;
	p->columns = append(p->columns, ", ", sqlite3_mprintf("\"%w\"", column));
	p->differs = append(p->differs, " OR ",
			    sqlite3_mprintf("OLD.\"%w\" IS NOT NEW.\"%w\"", column, column));
	if (secret)
		return;
	p->old_json = append(p->old_json, ", ", value_of("OLD", column, type, refers));
	p->new_json = append(p->new_json, ", ", value_of("NEW", column, type, refers));
}

static int read_columns(struct kk_store *store, const char *table, struct parts *p,
			struct kk_err *err)
{
	static const char select[] =
		"SELECT c.name, c.type, (SELECT f.\"table\" FROM pragma_foreign_key_list(?1) f "
		"WHERE f.\"from\" = c.name AND f.\"to\" = 'id') FROM pragma_table_info(?1) c";
	sqlite3_stmt *stmt = kk_sql(store, err, select, "t", table);
	int r;

	while ((r = kk_sql_step(store, stmt, err)) > 0)
		add_column(p, (const char *)sqlite3_column_text(stmt, 0),
			   (const char *)sqlite3_column_text(stmt, 1),
			   (const char *)sqlite3_column_text(stmt, 2));
	if (r == 0 && !(p->old_json && p->new_json && p->columns && p->differs))
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	return r;
}

/* What the entry calls the object of @row: its name, or its id where it has none, or none any more. */
static char *object_of(size_t i, const struct parts *p, const char *row)
{
	if (audited[i].of)
		return sqlite3_mprintf("ifnull((SELECT name FROM %s WHERE id = %s.%s), %s.%s)",
				       audited[i].of, row, audited[i].by, row, audited[i].by);
	return sqlite3_mprintf("%s.%s", row, p->has_name ? "name" : "id");
}

/* The entry's kind of object, as SQL. */
static char *kind_of(size_t i, const char *row)
{
	if (audited[i].other_if)
		return sqlite3_mprintf("iif(%s.%s, '%s', '%s')", row, audited[i].other_if,
				       audited[i].other, audited[i].kind);
	return sqlite3_mprintf("'%s'", audited[i].kind);
}

/* @row is the row that names the object; @before and @after are SQL. */
static int make_trigger(struct kk_store *store, size_t i, const struct parts *p, const char *action,
			const char *when, const char *row, const char *before, const char *after,
			struct kk_err *err)
{
	char *object = object_of(i, p, row), *kind = kind_of(i, row);
	char *sql = sqlite3_mprintf(
		"CREATE TEMP TRIGGER audit_%s_%s AFTER %s BEGIN "
		"INSERT INTO audit (at, org, who, address, action, kind, object, before, after) "
		"VALUES (CAST(strftime('%%s', 'now') AS INTEGER), %s.%s, kk_actor(0), kk_actor(1), "
		"'%s', %s, %s, %s, %s); END",
		audited[i].table, action, when, row, p->has_org ? "org" : "id", action, kind,
		object, before, after);
	int r = sql && object && kind ? sqlite3_exec(store->db, sql, NULL, NULL, NULL)
				      : SQLITE_NOMEM;

	sqlite3_free(kind);
	sqlite3_free(object);
	sqlite3_free(sql);
	return r == SQLITE_OK ? 0 : kk_sql_failed(store, err);
}

static int make_triggers(struct kk_store *store, size_t i, const struct parts *p,
			 struct kk_err *err)
{
	const char *only = audited[i].only ? audited[i].only : "";
	const char *new_row = only[0] ? " WHEN NEW." : "", *old_row = only[0] ? " WHEN OLD." : "";
	char *added = sqlite3_mprintf("INSERT ON main.%s%s%s", audited[i].table, new_row, only);
	char *set = sqlite3_mprintf("UPDATE OF %s ON main.%s WHEN %s", p->columns, audited[i].table,
				    p->differs);
	char *removed = sqlite3_mprintf("DELETE ON main.%s%s%s", audited[i].table, old_row, only);
	char *before = sqlite3_mprintf("json_object(%s)", p->old_json);
	char *after = sqlite3_mprintf("json_object(%s)", p->new_json);
	int r = -ENOMEM;

	if (added && set && removed && before && after)
		r = make_trigger(store, i, p, "add", added, "NEW", "NULL", after, err);
	if (r == 0)
		r = make_trigger(store, i, p, "set", set, "NEW", before, after, err);
	if (r == 0)
		r = make_trigger(store, i, p, "remove", removed, "OLD", before, "NULL", err);
	sqlite3_free(added);
	sqlite3_free(set);
	sqlite3_free(removed);
	sqlite3_free(before);
	sqlite3_free(after);
	return r;
}

static int watch_table(struct kk_store *store, size_t i, struct kk_err *err)
{
	struct parts p = {
		.old_json = sqlite3_mprintf(""),
		.new_json = sqlite3_mprintf(""),
		.columns = sqlite3_mprintf(""),
		.differs = sqlite3_mprintf(""),
	};
	int r = read_columns(store, audited[i].table, &p, err);

	if (r == 0)
		r = make_triggers(store, i, &p, err);
	sqlite3_free(p.old_json);
	sqlite3_free(p.new_json);
	sqlite3_free(p.columns);
	sqlite3_free(p.differs);
	return r;
}

/*
 * The triggers are of this connection, so that they fit the tables whatever version made those, and other
 * programs can still write into the database.
 */
int kk_audit_start(struct kk_store *store, struct kk_err *err)
{
	int r = 0;

	if (sqlite3_create_function(store->db, "kk_actor", 1, SQLITE_UTF8 | SQLITE_INNOCUOUS, store,
				    actor_function, NULL, NULL) != SQLITE_OK)
		return kk_sql_failed(store, err);
	for (size_t i = 0; i < ARRAY_SIZE(audited) && r == 0; i++)
		r = watch_table(store, i, err);
	return r;
}

int kk_store_audit_list(struct kk_store *store, const struct kk_audit_filter *filter,
			int (*row)(const struct kk_audit_row *row, void *userdata), void *userdata,
			struct kk_err *err)
{
	static const char select[] =
		"SELECT id, at, who, address, action, kind, object, before, after FROM audit "
		"WHERE org = ?1 AND (?2 = 0 OR id < ?2) AND (?3 IS NULL OR who = ?3) "
		"AND (?4 IS NULL OR kind = ?4) AND (?5 IS NULL OR object = ?5) "
		"ORDER BY id DESC LIMIT ?6";
	sqlite3_stmt *stmt = kk_sql(store, err, select, "iittti", store->org, filter->before,
				    filter->who, filter->kind, filter->object, filter->limit);
	int r;

	while ((r = kk_sql_step(store, stmt, err)) > 0) {
		struct kk_audit_row one = {
			.id = sqlite3_column_int64(stmt, 0),
			.at = sqlite3_column_int64(stmt, 1),
			.who = (const char *)sqlite3_column_text(stmt, 2),
			.from = (const char *)sqlite3_column_text(stmt, 3),
			.action = (const char *)sqlite3_column_text(stmt, 4),
			.kind = (const char *)sqlite3_column_text(stmt, 5),
			.object = (const char *)sqlite3_column_text(stmt, 6),
			.before = (const char *)sqlite3_column_text(stmt, 7),
			.after = (const char *)sqlite3_column_text(stmt, 8),
		};

		r = row(&one, userdata);
		if (r) {
			kk_sql_done(stmt);
			return r;
		}
	}
	return r;
}
