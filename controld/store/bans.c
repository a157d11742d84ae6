// SPDX-License-Identifier: MIT
/* Addresses that are shut out for a time. */
#include "controld/store/sql.h"

#include <errno.h>

#define SELECT                                                                                     \
	"SELECT b.id, b.address, ifnull(b.service, 0), s.name, b.expires_at, b.generation "        \
	"FROM bans b LEFT JOIN services s ON s.id = b.service "

static void read_row(sqlite3_stmt *stmt, struct kk_ban_row *row)
{
	*row = (struct kk_ban_row){
		.id = sqlite3_column_int64(stmt, 0),
		.address = kk_sql_address(stmt, 1),
		.service = sqlite3_column_int64(stmt, 2),
		.expires_at = sqlite3_column_int64(stmt, 4),
		.generation = sqlite3_column_int64(stmt, 5),
	};
	kk_sql_text(stmt, 3, row->service_name, sizeof(row->service_name));
}

int kk_store_ban_get(struct kk_store *store, int64_t id, struct kk_ban_row *ret, struct kk_err *err)
{
	sqlite3_stmt *stmt = kk_sql(store, err, SELECT "WHERE b.id = ?", "i", id);

	return kk_sql_numbered(kk_sql_one(store, stmt, read_row, ret, err), "ban", id, err);
}

int kk_store_ban_list(struct kk_store *store,
		      int (*row)(const struct kk_ban_row *row, void *userdata), void *userdata,
		      struct kk_err *err)
{
	sqlite3_stmt *stmt =
		kk_sql(store, err, SELECT "WHERE b.org = ? ORDER BY b.id", "i", store->org);
	struct kk_ban_row one;

	return kk_sql_each(store, stmt, read_row, one, row, userdata, err);
}

static int remove_ban(struct kk_store *store, int64_t id, struct kk_err *err)
{
	int r = kk_sql_run(store, err, "DELETE FROM bans WHERE id = ?", "i", id);

	return r < 0 ? r : kk_tx_change(store, KK_BAN, KK_REMOVE, id, 0, err);
}

static int find_service(struct kk_store *store, struct kk_ban_row *row, struct kk_err *err)
{
	int r;

	row->service = 0;
	if (!row->service_name[0])
		return 0;
	r = kk_sql_number(store, &row->service, err,
			  "SELECT id FROM services WHERE org = ? AND name = ?", "it", store->org,
			  row->service_name);
	if (r == -ENOENT)
		return kk_err_set(err, EINVAL, "service", "service: there is no service \"%s\"",
				  row->service_name);
	return r;
}

/* The newer of two bans of the same counts. */
static int drop_earlier(struct kk_store *store, const struct kk_ban_row *row, const char *address,
			struct kk_err *err)
{
	int64_t id;
	int r = kk_sql_number(store, &id, err,
			      "SELECT id FROM bans WHERE org = ? AND ifnull(service, 0) = ? "
			      "AND address = ?",
			      "iit", store->org, row->service, address);

	return r == -ENOENT ? 0 : r < 0 ? r : remove_ban(store, id, err);
}

static int check_number(struct kk_store *store, struct kk_err *err)
{
	int64_t n;
	int r = kk_sql_number(store, &n, err, "SELECT count(*) FROM bans WHERE org = ?", "i",
			      store->org);

	if (r == 0 && n >= KK_BANS_MAX)
		return kk_err_set(err, ENOSPC, "address",
				  "address: %d are banned, which is the most", KK_BANS_MAX);
	return r;
}

static int add(struct kk_store *store, struct kk_ban_row *row, struct kk_err *err)
{
	static const char sql[] =
		"INSERT INTO bans (org, address, service, expires_at, generation) "
		"VALUES (?, ?, nullif(?, 0), ?, ?)";
	char address[KK_ADDRESS_TEXT];
	int r = find_service(store, row, err);

	kk_address_text(&row->address, address);
	if (r == 0)
		r = drop_earlier(store, row, address, err);
	if (r == 0)
		r = check_number(store, err);
	if (r < 0)
		return r;
	row->generation = kk_tx_generation(store);
	r = kk_sql_run(store, err, sql, "itiii", store->org, address, row->service, row->expires_at,
		       row->generation);
	if (r < 0)
		return r;
	row->id = sqlite3_last_insert_rowid(store->db);
	return kk_tx_change(store, KK_BAN, KK_ADD, row->id, 0, err);
}

int kk_store_ban_add(struct kk_store *store, struct kk_ban_row *row, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	return r < 0 ? r : kk_tx_end(store, add(store, row, err), err);
}

int kk_store_ban_remove(struct kk_store *store, int64_t id, struct kk_err *err)
{
	struct kk_ban_row row;
	int r = kk_tx_begin(store, err);

	if (r < 0)
		return r;
	r = kk_sql_number(store, &row.id, err, "SELECT id FROM bans WHERE org = ? AND id = ?", "ii",
			  store->org, id);
	kk_sql_numbered(r, "ban", id, err);
	return kk_tx_end(store, r < 0 ? r : remove_ban(store, id, err), err);
}

/* The bans of one organisation after another: each hears of its own. */
int kk_store_ban_expire(struct kk_store *store, int64_t now, struct kk_err *err)
{
	static const char due[] =
		"SELECT id FROM bans WHERE org = ? AND expires_at > 0 AND expires_at <= ? LIMIT 1";
	static const char orgs[] =
		"SELECT org FROM bans WHERE expires_at > 0 AND expires_at <= ? LIMIT 1";
	int64_t org, id;
	int r;

	while ((r = kk_sql_number(store, &org, err, orgs, "i", now)) == 0) {
		int64_t before = kk_store_set_org(store, org);

		r = kk_tx_begin(store, err);
		if (r == 0) {
			while ((r = kk_sql_number(store, &id, err, due, "ii", org, now)) == 0) {
				r = remove_ban(store, id, err);
				if (r < 0)
					break;
			}
			r = kk_tx_end(store, r == -ENOENT ? 0 : r, err);
		}
		kk_store_set_org(store, before);
		if (r < 0)
			return r;
	}
	return r == -ENOENT ? 0 : r;
}
