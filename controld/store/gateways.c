// SPDX-License-Identifier: MIT
#include "controld/store/sql.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define COLUMNS "id, name, idx, address, wg_port, public_key, key_hash IS NOT NULL, generation, org"

static void read_row(sqlite3_stmt *stmt, struct kk_gateway_row *row)
{
	char address[INET_ADDRSTRLEN];

	*row = (struct kk_gateway_row){
		.id = sqlite3_column_int64(stmt, 0),
		.index = (uint8_t)sqlite3_column_int(stmt, 2),
		.wg_port = (uint16_t)sqlite3_column_int(stmt, 4),
		.joined = sqlite3_column_int(stmt, 6),
		.generation = sqlite3_column_int64(stmt, 7),
		.org = sqlite3_column_int64(stmt, 8),
	};
	kk_sql_text(stmt, 1, row->name, sizeof(row->name));
	kk_sql_text(stmt, 3, address, sizeof(address));
	inet_pton(AF_INET, address, &row->address);
	row->has_key = kk_sql_key(stmt, 5, row->public_key);
}

static int read_only(struct kk_store *store, sqlite3_stmt *stmt, struct kk_gateway_row *ret,
		     struct kk_err *err)
{
	int r = kk_sql_step(store, stmt, err);

	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	read_row(stmt, ret);
	kk_sql_done(stmt);
	return 0;
}

int kk_store_gateway_get(struct kk_store *store, const char *name, struct kk_gateway_row *ret,
			 struct kk_err *err)
{
	int r = read_only(store,
			  kk_sql(store, err,
				 "SELECT " COLUMNS " FROM gateways WHERE org = ? AND name = ?",
				 "it", store->org, name),
			  ret, err);

	if (r == -ENOENT)
		return kk_err_set(err, ENOENT, NULL, "there is no gateway \"%.64s\"", name);
	return r;
}

int kk_store_gateway_get_id(struct kk_store *store, int64_t id, struct kk_gateway_row *ret,
			    struct kk_err *err)
{
	int r = read_only(
		store, kk_sql(store, err, "SELECT " COLUMNS " FROM gateways WHERE id = ?", "i", id),
		ret, err);

	if (r == -ENOENT)
		return kk_err_set(err, ENOENT, NULL, "there is no gateway with id %lld",
				  (long long)id);
	return r;
}

int kk_store_gateway_list(struct kk_store *store,
			  int (*row)(const struct kk_gateway_row *row, void *userdata),
			  void *userdata, struct kk_err *err)
{
	sqlite3_stmt *stmt =
		kk_sql(store, err, "SELECT " COLUMNS " FROM gateways WHERE org = ? ORDER BY id",
		       "i", store->org);
	struct kk_gateway_row one;
	int r;

	while ((r = kk_sql_step(store, stmt, err)) > 0) {
		read_row(stmt, &one);
		r = row(&one, userdata);
		if (r) {
			kk_sql_done(stmt);
			return r;
		}
	}
	return r;
}

/* The lowest index that is free; .100 is the Agent's. */
static int free_index(struct kk_store *store, uint8_t *ret, struct kk_err *err)
{
	sqlite3_stmt *stmt = kk_sql(
		store, err, "SELECT idx FROM gateways WHERE org = ? ORDER BY idx", "i", store->org);
	int next = 1, r;

	while ((r = kk_sql_step(store, stmt, err)) > 0) {
		if (sqlite3_column_int(stmt, 0) != next) {
			kk_sql_done(stmt);
			break;
		}
		next++;
		if (next == KK_AGENT_HOST)
			next++;
	}
	if (r < 0)
		return r;
	if (next > 254)
		return kk_err_set(err, ENOSPC, NULL, "there are %d gateways, which is the most",
				  KK_GATEWAYS_MAX);
	*ret = (uint8_t)next;
	return 0;
}

/* Fails if a row of @stmt, an object's name, stands in the way. */
static int refuse_taken(struct kk_store *store, sqlite3_stmt *stmt, const char *field,
			const char *what, struct kk_err *err)
{
	char name[KK_NAME_MAX + 16];
	int r = kk_sql_step(store, stmt, err);

	if (r <= 0)
		return r;
	kk_sql_text(stmt, 0, name, sizeof(name));
	kk_sql_done(stmt);
	return kk_err_set(err, EEXIST, field, "%s: %s %s", field, what, name);
}

static int check_free(struct kk_store *store, const struct kk_gateway_row *row, const char *address,
		      struct kk_err *err)
{
	char what[96];
	int r;

	snprintf(what, sizeof(what), "there is already a gateway");
	r = refuse_taken(store,
			 kk_sql(store, err, "SELECT name FROM gateways WHERE org = ? AND name = ?",
				"it", store->org, row->name),
			 "name", what, err);
	if (r < 0)
		return r;
	snprintf(what, sizeof(what), "%s with WireGuard port %u is that of", address, row->wg_port);
	/* Whose gateway it is in another organisation is none of ours. */
	r = refuse_taken(store,
			 kk_sql(store, err,
				"SELECT CASE org WHEN ? THEN 'gateway ' || name "
				"ELSE 'another gateway' END FROM gateways "
				"WHERE address = ? AND wg_port = ?",
				"iti", store->org, address, (int64_t)row->wg_port),
			 "address", what, err);
	if (r < 0)
		return r;
	snprintf(what, sizeof(what), "%u/udp is published by service", row->wg_port);
	return refuse_taken(store,
			    kk_sql(store, err,
				   "SELECT name FROM services WHERE org = ? AND protocol = 17 "
				   "AND port = ?",
				   "ii", store->org, (int64_t)row->wg_port),
			    "wg_port", what, err);
}

static int add(struct kk_store *store, struct kk_gateway_row *row, struct kk_err *err)
{
	static const char insert[] =
		"INSERT INTO gateways (org, name, idx, address, wg_port, generation) "
		"VALUES (?, ?, ?, ?, ?, ?)";
	char address[INET_ADDRSTRLEN];
	int r;

	inet_ntop(AF_INET, &row->address, address, sizeof(address));
	r = check_free(store, row, address, err);
	if (r == 0)
		r = free_index(store, &row->index, err);
	if (r < 0)
		return r;
	row->generation = kk_tx_generation(store);
	r = kk_sql_run(store, err, insert, "ititii", store->org, row->name, (int64_t)row->index,
		       address, (int64_t)row->wg_port, row->generation);
	if (r < 0)
		return r;
	row->id = sqlite3_last_insert_rowid(store->db);
	row->org = store->org;
	row->has_key = row->joined = false;
	return kk_tx_change(store, KK_GATEWAY, KK_ADD, row->id, 0, err);
}

int kk_store_gateway_add(struct kk_store *store, struct kk_gateway_row *row, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	if (r < 0)
		return r;
	return kk_tx_end(store, add(store, row, err), err);
}

static int remove_gateway(struct kk_store *store, const char *name, struct kk_err *err)
{
	struct kk_gateway_row row;
	int r = kk_store_gateway_get(store, name, &row, err);

	if (r == 0)
		r = kk_sql_run(store, err, "DELETE FROM gateways WHERE id = ?", "i", row.id);
	return r < 0 ? r : kk_tx_change(store, KK_GATEWAY, KK_REMOVE, row.id, 0, err);
}

int kk_store_gateway_remove(struct kk_store *store, const char *name, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	if (r < 0)
		return r;
	return kk_tx_end(store, remove_gateway(store, name, err), err);
}

int kk_store_gateway_set_ports(struct kk_store *store, int64_t id, const char *ports,
			       struct kk_err *err)
{
	/* The condition keeps what is said again and again from being written again and again. */
	return kk_sql_run(store, err,
			  "UPDATE gateways SET ports_in_use = ? "
			  "WHERE id = ? AND ports_in_use IS NOT ?",
			  "tit", ports, id, ports);
}

int kk_store_gateway_list_ports(struct kk_store *store,
				int (*row)(const char *name, const char *ports, void *userdata),
				void *userdata, struct kk_err *err)
{
	sqlite3_stmt *stmt = kk_sql(store, err,
				    "SELECT name, ports_in_use FROM gateways "
				    "WHERE org = ? AND ports_in_use IS NOT NULL ORDER BY id",
				    "i", store->org);
	int r;

	while ((r = kk_sql_step(store, stmt, err)) > 0) {
		r = row((const char *)sqlite3_column_text(stmt, 0),
			(const char *)sqlite3_column_text(stmt, 1), userdata);
		if (r) {
			kk_sql_done(stmt);
			return r;
		}
	}
	return r;
}
