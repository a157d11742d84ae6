// SPDX-License-Identifier: MIT
#include "controld/store/accounts.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "controld/store/sql.h"

static const char *const access_names[] = {
	[KK_NOBODY] = "nobody", [KK_VIEWER] = "viewer", [KK_OPERATOR] = "operator",
	[KK_ADMIN] = "admin",	[KK_OWNER] = "owner",
};

const char *kk_access_name(enum kk_access access)
{
	return access_names[access];
}

int kk_access_parse(const char *text, enum kk_access *ret, struct kk_err *err)
{
	for (enum kk_access access = KK_VIEWER; access <= KK_OWNER; access++) {
		if (strcmp(access_names[access], text) != 0)
			continue;
		*ret = access;
		return 0;
	}
	return kk_err_set(err, EINVAL, "role",
			  "role: \"%.16s\" is none of viewer, operator, admin, owner", text);
}

static void read_row(sqlite3_stmt *stmt, struct kk_org_row *row)
{
	row->id = sqlite3_column_int64(stmt, 0);
	kk_sql_text(stmt, 1, row->name, sizeof(row->name));
	row->created_at = sqlite3_column_int64(stmt, 2);
}

static int add(struct kk_store *store, struct kk_org_row *row, struct kk_err *err)
{
	sqlite3_stmt *same =
		kk_sql(store, err, "SELECT id FROM organisations WHERE name = ?", "t", row->name);
	int r = kk_sql_free(store, same, "an organisation", row->name, err);

	if (r < 0)
		return r;
	row->created_at = time(NULL);
	r = kk_sql_run(store, err, "INSERT INTO organisations (name, created_at) VALUES (?, ?)",
		       "ti", row->name, row->created_at);
	row->id = sqlite3_last_insert_rowid(store->db);
	return r;
}

int kk_store_org_add(struct kk_store *store, struct kk_org_row *row, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	return r < 0 ? r : kk_tx_end(store, add(store, row, err), err);
}

int kk_store_org_get(struct kk_store *store, const char *name, struct kk_org_row *ret,
		     struct kk_err *err)
{
	sqlite3_stmt *stmt =
		kk_sql(store, err, "SELECT id, name, created_at FROM organisations WHERE name = ?",
		       "t", name);

	return kk_sql_named(kk_sql_one(store, stmt, read_row, ret, err), "organisation", name, err);
}

int kk_store_org_list(struct kk_store *store,
		      int (*row)(const struct kk_org_row *row, void *userdata), void *userdata,
		      struct kk_err *err)
{
	sqlite3_stmt *stmt = kk_sql(
		store, err, "SELECT id, name, created_at FROM organisations ORDER BY id", "");
	struct kk_org_row one;

	return kk_sql_each(store, stmt, read_row, one, row, userdata, err);
}

static int remove_org(struct kk_store *store, const char *name, struct kk_err *err)
{
	static const char count[] = "SELECT (SELECT count(*) FROM gateways WHERE org = ?1) + "
				    "(SELECT count(*) FROM agents WHERE org = ?1)";
	struct kk_org_row row;
	int64_t nodes;
	int r = kk_store_org_get(store, name, &row, err);

	if (r < 0)
		return r;
	if (row.id == KK_ORG_FIRST)
		return kk_err_set(err, EBUSY, NULL,
				  "organisation %s is the one whose Control this is", name);
	r = kk_sql_number(store, &nodes, err, count, "i", row.id);
	if (r < 0)
		return r;
	if (nodes)
		return kk_err_set(err, EBUSY, NULL, "organisation %s still has gateways or Agents",
				  name);
	/* Tokens for Agents to come; what is bound to nodes went with them. */
	r = kk_sql_run(store, err, "DELETE FROM join_tokens WHERE org = ?", "i", row.id);
	return r < 0 ? r
		     : kk_sql_run(store, err, "DELETE FROM organisations WHERE id = ?", "i",
				  row.id);
}

int kk_store_org_remove(struct kk_store *store, const char *name, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	return r < 0 ? r : kk_tx_end(store, remove_org(store, name, err), err);
}

int kk_store_check_owner(struct kk_store *store, const char *what, struct kk_err *err)
{
	static const char count[] =
		"SELECT (SELECT count(*) FROM users WHERE org = ?1 AND role = 4) + "
		"(SELECT count(*) FROM api_keys WHERE org = ?1 AND role = 4 AND expires_at = 0)";
	int64_t n;
	int r = kk_sql_number(store, &n, err, count, "i", store->org);

	if (r == 0 && n == 0)
		return kk_err_set(err, EBUSY, NULL,
				  "%s is the last owner's, and nobody could do everything any more",
				  what);
	return r;
}
