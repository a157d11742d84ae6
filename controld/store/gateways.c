// SPDX-License-Identifier: MIT
#include "controld/store/sql.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define COLUMNS                                                                                    \
	"id, name, idx, (SELECT group_concat(address) FROM (SELECT address FROM "                  \
	"gateway_addresses WHERE gateway = id ORDER BY position)), wg_port, public_key, "          \
	"key_hash IS NOT NULL, generation, org"

static void read_addresses(const char *text, struct kk_gateway_row *row)
{
	while (text && *text && row->n_addresses < KK_GATEWAY_ADDRESSES_MAX) {
		size_t len = strcspn(text, ",");
		char one[KK_ADDRESS_TEXT];

		snprintf(one, sizeof(one), "%.*s", (int)len, text);
		kk_parse_address("address", one, &row->addresses[row->n_addresses++], NULL);
		text += len;
		text += *text == ',';
	}
}

static void read_row(sqlite3_stmt *stmt, struct kk_gateway_row *row)
{
	*row = (struct kk_gateway_row){
		.id = sqlite3_column_int64(stmt, 0),
		.index = (uint8_t)sqlite3_column_int(stmt, 2),
		.wg_port = (uint16_t)sqlite3_column_int(stmt, 4),
		.joined = sqlite3_column_int(stmt, 6),
		.generation = sqlite3_column_int64(stmt, 7),
		.org = sqlite3_column_int64(stmt, 8),
	};
	kk_sql_text(stmt, 1, row->name, sizeof(row->name));
	read_addresses((const char *)sqlite3_column_text(stmt, 3), row);
	row->has_key = kk_sql_key(stmt, 5, row->public_key);
}

int kk_store_gateway_get(struct kk_store *store, const char *name, struct kk_gateway_row *ret,
			 struct kk_err *err)
{
	sqlite3_stmt *stmt =
		kk_sql(store, err, "SELECT " COLUMNS " FROM gateways WHERE org = ? AND name = ?",
		       "it", store->org, name);

	return kk_sql_named(kk_sql_one(store, stmt, read_row, ret, err), "gateway", name, err);
}

int kk_store_gateway_get_id(struct kk_store *store, int64_t id, struct kk_gateway_row *ret,
			    struct kk_err *err)
{
	sqlite3_stmt *stmt =
		kk_sql(store, err, "SELECT " COLUMNS " FROM gateways WHERE id = ?", "i", id);

	return kk_sql_numbered(kk_sql_one(store, stmt, read_row, ret, err), "gateway", id, err);
}

int kk_store_gateway_list(struct kk_store *store,
			  int (*row)(const struct kk_gateway_row *row, void *userdata),
			  void *userdata, struct kk_err *err)
{
	sqlite3_stmt *stmt =
		kk_sql(store, err, "SELECT " COLUMNS " FROM gateways WHERE org = ? ORDER BY id",
		       "i", store->org);
	struct kk_gateway_row one;

	return kk_sql_each(store, stmt, read_row, one, row, userdata, err);
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

/*
 * Behind one address there may be several gateways, told apart by their WireGuard ports. Whose one is in another
 * organisation is none of ours.
 */
static int check_endpoint(struct kk_store *store, const struct kk_gateway_row *row,
			  const char *address, struct kk_err *err)
{
	char what[96];

	snprintf(what, sizeof(what), "%s with WireGuard port %u is that of", address, row->wg_port);
	return refuse_taken(store,
			    kk_sql(store, err,
				   "SELECT CASE org WHEN ? THEN 'gateway ' || name "
				   "ELSE 'another gateway' END FROM gateways "
				   "WHERE address = ? AND wg_port = ? AND id <> ?",
				   "itii", store->org, address, (int64_t)row->wg_port, row->id),
			    "address", what, err);
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
	if (r == 0)
		r = check_endpoint(store, row, address, err);
	if (r < 0)
		return r;
	snprintf(what, sizeof(what), "%u/udp is published by service", row->wg_port);
	return refuse_taken(store,
			    kk_sql(store, err,
				   "SELECT name FROM services WHERE org = ? AND protocol = 17 "
				   "AND ? BETWEEN port AND last_port LIMIT 1",
				   "ii", store->org, (int64_t)row->wg_port),
			    "wg_port", what, err);
}

static bool is_first(const struct kk_gateway_row *row, size_t i)
{
	for (size_t j = 0; j < i; j++)
		if (row->addresses[j].family == row->addresses[i].family)
			return false;
	return true;
}

/*
 * Two services that were apart, one of them on an address of its own, may meet on an address that is now a first one: of
 * this gateway, or with 0 of any.
 */
static int check_meeting(struct kk_store *store, int64_t gateway, struct kk_err *err)
{
	static const char sql[] =
		"SELECT a.name, b.name, a.address FROM services a JOIN gateway_addresses g "
		"ON g.address = a.address AND g.is_first AND ?1 IN (0, g.gateway) JOIN services b "
		"ON b.org = a.org AND b.address = '' AND b.protocol = a.protocol AND b.port <= a.last_port "
		"AND b.last_port >= a.port WHERE a.org = g.org AND g.org = ?2 AND a.address <> '' LIMIT 1";
	sqlite3_stmt *stmt = kk_sql(store, err, sql, "ii", gateway, store->org);
	char one[KK_NAME_MAX + 1], other[KK_NAME_MAX + 1], address[KK_ADDRESS_TEXT];
	int r = kk_sql_step(store, stmt, err);

	if (r <= 0)
		return r;
	kk_sql_text(stmt, 0, one, sizeof(one));
	kk_sql_text(stmt, 1, other, sizeof(other));
	kk_sql_text(stmt, 2, address, sizeof(address));
	kk_sql_done(stmt);
	return kk_err_set(err, EEXIST, "address",
			  "address: with %s as the first of its family, services %s and %s would "
			  "have the same port there",
			  address, one, other);
}

/* A service with an address of its own must not be left without it. */
static int check_orphans(struct kk_store *store, struct kk_err *err)
{
	sqlite3_stmt *stmt =
		kk_sql(store, err,
		       "SELECT name, address FROM services WHERE org = ?1 AND address <> '' AND "
		       "address NOT IN (SELECT address FROM gateway_addresses WHERE org = ?1) "
		       "LIMIT 1",
		       "i", store->org);
	char name[KK_NAME_MAX + 1], address[KK_ADDRESS_TEXT];
	int r = kk_sql_step(store, stmt, err);

	if (r <= 0)
		return r;
	kk_sql_text(stmt, 0, name, sizeof(name));
	kk_sql_text(stmt, 1, address, sizeof(address));
	kk_sql_done(stmt);
	return kk_err_set(err, EBUSY, "address", "address: service %s is published on %s", name,
			  address);
}

static int write_addresses(struct kk_store *store, const struct kk_gateway_row *row,
			   struct kk_err *err)
{
	static const char insert[] =
		"INSERT INTO gateway_addresses (gateway, org, position, address, is_first) "
		"VALUES (?, ?, ?, ?, ?)";
	char address[KK_ADDRESS_TEXT];
	int r = kk_sql_run(store, err, "DELETE FROM gateway_addresses WHERE gateway = ?", "i",
			   row->id);

	for (size_t i = 0; i < row->n_addresses && r == 0; i++)
		r = kk_sql_run(store, err, insert, "iiiti", row->id, store->org, (int64_t)i,
			       kk_address_text(&row->addresses[i], address),
			       (int64_t)is_first(row, i));
	return r;
}

static int add(struct kk_store *store, struct kk_gateway_row *row, struct kk_err *err)
{
	static const char insert[] =
		"INSERT INTO gateways (org, name, idx, address, wg_port, generation) "
		"VALUES (?, ?, ?, ?, ?, ?)";
	char address[KK_ADDRESS_TEXT];
	int r;

	row->id = 0;
	kk_address_text(&row->addresses[0], address);
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
	r = write_addresses(store, row, err);
	if (r == 0)
		r = check_meeting(store, row->id, err);
	return r < 0 ? r : kk_tx_change(store, KK_GATEWAY, KK_ADD, row->id, 0, err);
}

static int move(struct kk_store *store, struct kk_gateway_row *row, struct kk_err *err)
{
	char address[KK_ADDRESS_TEXT];
	int r;

	kk_address_text(&row->addresses[0], address);
	r = check_endpoint(store, row, address, err);
	row->generation = kk_tx_generation(store);
	if (r == 0)
		r = kk_sql_run(store, err,
			       "UPDATE gateways SET address = ?, generation = ? WHERE id = ?",
			       "tii", address, row->generation, row->id);
	if (r == 0)
		r = write_addresses(store, row, err);
	return r < 0 ? r : kk_tx_change(store, KK_GATEWAY, KK_SET, row->id, 0, err);
}

static int set(struct kk_store *store, struct kk_gateway_row *row, struct kk_err *err)
{
	int r = move(store, row, err);

	if (r == 0)
		r = check_meeting(store, row->id, err);
	return r < 0 ? r : check_orphans(store, err);
}

int kk_store_gateway_release(struct kk_store *store, int64_t id, struct kk_err *err)
{
	return kk_sql_run(store, err, "UPDATE gateways SET address = 'moving ' || id WHERE id = ?",
			  "i", id);
}

int kk_store_gateway_move(struct kk_store *store, struct kk_gateway_row *row, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	return r < 0 ? r : kk_tx_end(store, move(store, row, err), err);
}

int kk_store_gateways_check(struct kk_store *store, struct kk_err *err)
{
	int r = check_meeting(store, 0, err);

	return r < 0 ? r : check_orphans(store, err);
}

int kk_store_gateway_set(struct kk_store *store, struct kk_gateway_row *row, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	return r < 0 ? r : kk_tx_end(store, set(store, row, err), err);
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
