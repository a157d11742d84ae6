// SPDX-License-Identifier: MIT
/* Who may reach what: access rules (requirement H2). */
#include "controld/store/sql.h"

#include <errno.h>
#include <string.h>

#define SELECT                                                                                     \
	"SELECT a.id, a.name, a.generation, ifnull(sh.name, sg.name), "                            \
	"coalesce(s.name, h.name, g.name), a.protocol, a.port, a.last_port, s.closed "             \
	"FROM access_rules a LEFT JOIN hosts sh ON sh.id = a.source_host "                         \
	"LEFT JOIN host_groups sg ON sg.id = a.source_group "                                      \
	"LEFT JOIN services s ON s.id = a.service LEFT JOIN hosts h ON h.id = a.host "             \
	"LEFT JOIN host_groups g ON g.id = a.host_group "

static void read_row(sqlite3_stmt *stmt, struct kk_access_rule_row *row)
{
	*row = (struct kk_access_rule_row){
		.id = sqlite3_column_int64(stmt, 0),
		.generation = sqlite3_column_int64(stmt, 2),
		.protocol = (uint8_t)sqlite3_column_int(stmt, 5),
		.port = (uint16_t)sqlite3_column_int(stmt, 6),
		.last_port = (uint16_t)sqlite3_column_int(stmt, 7),
		.enforced = sqlite3_column_int(stmt, 8),
	};
	kk_sql_text(stmt, 1, row->name, sizeof(row->name));
	kk_sql_text(stmt, 3, row->source, sizeof(row->source));
	kk_sql_text(stmt, 4, row->destination, sizeof(row->destination));
}

int kk_store_access_rule_get(struct kk_store *store, const char *name,
			     struct kk_access_rule_row *ret, struct kk_err *err)
{
	sqlite3_stmt *stmt =
		kk_sql(store, err, SELECT "WHERE a.org = ? AND a.name = ?", "it", store->org, name);

	return kk_sql_named(kk_sql_one(store, stmt, read_row, ret, err), "rule", name, err);
}

int kk_store_access_rule_list(struct kk_store *store,
			      int (*row)(const struct kk_access_rule_row *row, void *userdata),
			      void *userdata, struct kk_err *err)
{
	sqlite3_stmt *stmt =
		kk_sql(store, err, SELECT "WHERE a.org = ? ORDER BY a.id", "i", store->org);
	struct kk_access_rule_row one;

	return kk_sql_each(store, stmt, read_row, one, row, userdata, err);
}

/* Ids; 0: it is none of these. */
struct ends {
	int64_t source_host, source_group, service, host, group;
};

static int find_id(struct kk_store *store, const char *sql, const char *name, int64_t *ret,
		   struct kk_err *err)
{
	int r = kk_sql_number(store, ret, err, sql, "it", store->org, name);

	if (r == -ENOENT)
		*ret = 0;
	return r == -ENOENT ? 0 : r;
}

static int find_place(struct kk_store *store, const char *field, const char *name,
		      int64_t *ret_host, int64_t *ret_group, struct kk_err *err)
{
	int r = find_id(store, "SELECT id FROM hosts WHERE org = ? AND name = ?", name, ret_host,
			err);

	if (r == 0 && !*ret_host)
		r = find_id(store, "SELECT id FROM host_groups WHERE org = ? AND name = ?", name,
			    ret_group, err);
	if (r == 0 && !*ret_host && !*ret_group)
		return kk_err_set(err, EINVAL, field, "%s: there is no host or group \"%s\"", field,
				  name);
	return r;
}

static int find_ends(struct kk_store *store, const struct kk_access_rule_row *row, struct ends *ret,
		     struct kk_err *err)
{
	static const char services[] =
		"SELECT id FROM services WHERE org = ? AND name = ? AND drain_until = 0";
	int r = find_place(store, "source", row->source, &ret->source_host, &ret->source_group,
			   err);

	if (r < 0 || row->protocol)
		return r < 0 ? r
			     : find_place(store, "destination", row->destination, &ret->host,
					  &ret->group, err);
	r = find_id(store, services, row->destination, &ret->service, err);
	if (r == 0 && !ret->service)
		return kk_err_set(err, EINVAL, "destination",
				  "destination: there is no service \"%s\" that is to stay; with a "
				  "port it is a host or a group",
				  row->destination);
	return r;
}

static int read_service(struct kk_store *store, int64_t id, int64_t *ret, struct kk_err *err)
{
	return kk_sql_number(store, ret, err,
			     "SELECT ifnull(service, 0) FROM access_rules WHERE id = ?", "i", id);
}

static int follow(struct kk_store *store, int64_t service, struct kk_err *err)
{
	return service ? kk_rules_follow(store, service, err) : 0;
}

static int add(struct kk_store *store, struct kk_access_rule_row *row, struct kk_err *err)
{
	static const char sql[] =
		"INSERT INTO access_rules (org, name, source_host, source_group, service, host, "
		"host_group, protocol, port, last_port, generation) VALUES (?, ?, nullif(?, 0), "
		"nullif(?, 0), nullif(?, 0), nullif(?, 0), nullif(?, 0), nullif(?, 0), nullif(?, 0), "
		"nullif(?, 0), ?)";
	sqlite3_stmt *same =
		kk_sql(store, err, "SELECT id FROM access_rules WHERE org = ? AND name = ?", "it",
		       store->org, row->name);
	struct ends e = {0};
	int r = kk_sql_free(store, same, "a rule", row->name, err);

	if (r == 0)
		r = find_ends(store, row, &e, err);
	if (r < 0)
		return r;
	row->generation = kk_tx_generation(store);
	r = kk_sql_run(store, err, sql, "itiiiiiiiii", store->org, row->name, e.source_host,
		       e.source_group, e.service, e.host, e.group, (int64_t)row->protocol,
		       (int64_t)row->port, (int64_t)row->last_port, row->generation);
	if (r < 0)
		return r;
	row->id = sqlite3_last_insert_rowid(store->db);
	row->enforced = e.service != 0;
	store->check_access = true;
	r = follow(store, e.service, err);
	return r < 0 ? r : kk_tx_change(store, KK_ACCESS_RULE, KK_ADD, row->id, 0, err);
}

int kk_store_access_rule_add(struct kk_store *store, struct kk_access_rule_row *row,
			     struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	return r < 0 ? r : kk_tx_end(store, add(store, row, err), err);
}

static int set(struct kk_store *store, struct kk_access_rule_row *row, struct kk_err *err)
{
	static const char sql[] =
		"UPDATE access_rules SET source_host = nullif(?, 0), source_group = nullif(?, 0), "
		"service = nullif(?, 0), host = nullif(?, 0), host_group = nullif(?, 0), "
		"protocol = nullif(?, 0), port = nullif(?, 0), last_port = nullif(?, 0), "
		"generation = ? WHERE id = ?";
	struct ends e = {0};
	int64_t before;
	int r = read_service(store, row->id, &before, err);

	if (r == 0)
		r = find_ends(store, row, &e, err);
	if (r < 0)
		return r;
	row->generation = kk_tx_generation(store);
	row->enforced = e.service != 0;
	store->check_access = true;
	r = kk_sql_run(store, err, sql, "iiiiiiiiii", e.source_host, e.source_group, e.service,
		       e.host, e.group, (int64_t)row->protocol, (int64_t)row->port,
		       (int64_t)row->last_port, row->generation, row->id);
	if (r == 0)
		r = follow(store, e.service, err);
	if (r == 0 && before != e.service)
		r = follow(store, before, err);
	return r < 0 ? r : kk_tx_change(store, KK_ACCESS_RULE, KK_SET, row->id, 0, err);
}

int kk_store_access_rule_set(struct kk_store *store, struct kk_access_rule_row *row,
			     struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	return r < 0 ? r : kk_tx_end(store, set(store, row, err), err);
}

static int remove_access(struct kk_store *store, const char *name, struct kk_err *err)
{
	struct kk_access_rule_row row;
	int64_t service = 0;
	int r = kk_store_access_rule_get(store, name, &row, err);

	if (r == 0)
		r = read_service(store, row.id, &service, err);
	if (r == 0)
		r = kk_sql_run(store, err, "DELETE FROM access_rules WHERE id = ?", "i", row.id);
	if (r == 0)
		r = follow(store, service, err);
	return r < 0 ? r : kk_tx_change(store, KK_ACCESS_RULE, KK_REMOVE, row.id, 0, err);
}

int kk_store_access_rule_remove(struct kk_store *store, const char *name, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	return r < 0 ? r : kk_tx_end(store, remove_access(store, name, err), err);
}

/* ---- for the other files of the store ---- */

int kk_access_follow(struct kk_store *store, int64_t host, int64_t group, struct kk_err *err)
{
	static const char next[] =
		"SELECT service FROM access_rules WHERE service > ?3 AND (source_host = ?1 OR "
		"source_group = ?2 OR source_group IN "
		"(SELECT host_group FROM group_hosts WHERE host = ?1)) ORDER BY service LIMIT 1";
	int64_t service = 0;
	int r;

	while ((r = kk_sql_number(store, &service, err, next, "iii", host, group, service)) == 0) {
		r = kk_rules_follow(store, service, err);
		if (r < 0)
			return r;
	}
	return r == -ENOENT ? 0 : r;
}

static int check_open(struct kk_store *store, struct kk_err *err)
{
	sqlite3_stmt *stmt = kk_sql(store, err,
				    "SELECT s.name, a.name FROM access_rules a "
				    "JOIN services s ON s.id = a.service "
				    "WHERE a.org = ? AND NOT s.closed LIMIT 1",
				    "i", store->org);
	char service[KK_NAME_MAX + 1], rule[KK_NAME_MAX + 1];
	int r = kk_sql_step(store, stmt, err);

	if (r <= 0)
		return r;
	kk_sql_text(stmt, 0, service, sizeof(service));
	kk_sql_text(stmt, 1, rule, sizeof(rule));
	kk_sql_done(stmt);
	return kk_err_set(
		err, EEXIST, "access",
		"access: service %s is open to all, so that rule %s would mean nothing; a "
		"service that rules let in to has the access rules",
		service, rule);
}

static int check_number(struct kk_store *store, struct kk_err *err)
{
	int64_t n;
	int r = kk_sql_number(store, &n, err, "SELECT count(*) FROM rules WHERE org = ?", "i",
			      store->org);

	if (r == 0 && n > KK_RULES_MAX)
		return kk_err_set(
			err, ENOSPC, NULL,
			"all services would allow and deny %lld prefixes together, and %d "
			"are the most",
			(long long)n, KK_RULES_MAX);
	return r;
}

int kk_access_check(struct kk_store *store, struct kk_err *err)
{
	int r = store->check_access ? check_open(store, err) : 0;

	return r == 0 && store->check_rules ? check_number(store, err) : r;
}
