// SPDX-License-Identifier: MIT
#include "controld/store/sql.h"

#include <errno.h>
#include <string.h>

#define SELECT                                                                                     \
	"SELECT s.id, s.name, s.agent, a.name, s.protocol, s.port, s.agent_port, s.target, "       \
	"s.proxy_protocol, s.generation FROM services s JOIN agents a ON a.id = s.agent "

static const char *protocol_name(uint8_t protocol)
{
	return protocol == IPPROTO_UDP ? "udp" : "tcp";
}

static void read_row(sqlite3_stmt *stmt, struct kk_service_row *row)
{
	*row = (struct kk_service_row){
		.id = sqlite3_column_int64(stmt, 0),
		.agent = sqlite3_column_int64(stmt, 2),
		.protocol = (uint8_t)sqlite3_column_int(stmt, 4),
		.port = (uint16_t)sqlite3_column_int(stmt, 5),
		.agent_port = (uint16_t)sqlite3_column_int(stmt, 6),
		.proxy_protocol = sqlite3_column_int(stmt, 8),
		.generation = sqlite3_column_int64(stmt, 9),
	};
	kk_sql_text(stmt, 1, row->name, sizeof(row->name));
	kk_sql_text(stmt, 3, row->agent_name, sizeof(row->agent_name));
	kk_sql_text(stmt, 7, row->target, sizeof(row->target));
}

static int read_only(struct kk_store *store, sqlite3_stmt *stmt, struct kk_service_row *ret,
		     struct kk_err *err)
{
	int r = kk_sql_step(store, stmt, err);

	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	read_row(stmt, ret);
	kk_sql_done(stmt);
	return 0;
}

int kk_store_service_get(struct kk_store *store, const char *name, struct kk_service_row *ret,
			 struct kk_err *err)
{
	int r = read_only(
		store,
		kk_sql(store, err, SELECT "WHERE s.org = ? AND s.name = ?", "it", store->org, name),
		ret, err);

	if (r == -ENOENT)
		return kk_err_set(err, ENOENT, NULL, "there is no service \"%.64s\"", name);
	return r;
}

int kk_store_service_get_id(struct kk_store *store, int64_t id, struct kk_service_row *ret,
			    struct kk_err *err)
{
	int r = read_only(store, kk_sql(store, err, SELECT "WHERE s.id = ?", "i", id), ret, err);

	if (r == -ENOENT)
		return kk_err_set(err, ENOENT, NULL, "there is no service with id %lld",
				  (long long)id);
	return r;
}

int kk_store_service_list(struct kk_store *store, int64_t agent,
			  int (*row)(const struct kk_service_row *row, void *userdata),
			  void *userdata, struct kk_err *err)
{
	sqlite3_stmt *stmt =
		agent ? kk_sql(store, err, SELECT "WHERE s.agent = ? ORDER BY s.id", "i", agent)
		      : kk_sql(store, err, SELECT "WHERE s.org = ? ORDER BY s.id", "i", store->org);
	struct kk_service_row one;
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

int kk_store_service_count(struct kk_store *store, int64_t *ret, struct kk_err *err)
{
	return kk_sql_number(store, ret, err, "SELECT count(*) FROM services WHERE org = ?", "i",
			     store->org);
}

static int check_name(struct kk_store *store, const struct kk_service_row *row, struct kk_err *err)
{
	int64_t id;
	int r = kk_sql_number(store, &id, err, "SELECT id FROM services WHERE org = ? AND name = ?",
			      "it", store->org, row->name);

	if (r == 0)
		return kk_err_set(err, EEXIST, "name", "name: there is already a service %s",
				  row->name);
	return r == -ENOENT ? 0 : r;
}

/* No other service may have the port, nor a gateway use it for WireGuard. */
static int check_port(struct kk_store *store, const struct kk_service_row *row, struct kk_err *err)
{
	char name[KK_NAME_MAX + 1];
	sqlite3_stmt *stmt;
	int r;

	stmt = kk_sql(store, err,
		      "SELECT name FROM services WHERE org = ? AND protocol = ? AND port = ? "
		      "AND id <> ?",
		      "iiii", store->org, (int64_t)row->protocol, (int64_t)row->port, row->id);
	r = kk_sql_step(store, stmt, err);
	if (r > 0) {
		kk_sql_text(stmt, 0, name, sizeof(name));
		kk_sql_done(stmt);
		return kk_err_set(err, EEXIST, "port", "port: %u/%s is taken by service %s",
				  row->port, protocol_name(row->protocol), name);
	}
	if (r < 0 || row->protocol != IPPROTO_UDP)
		return r;
	stmt = kk_sql(store, err,
		      "SELECT name FROM gateways WHERE org = ? AND wg_port = ? ORDER BY id", "ii",
		      store->org, (int64_t)row->port);
	r = kk_sql_step(store, stmt, err);
	if (r <= 0)
		return r;
	kk_sql_text(stmt, 0, name, sizeof(name));
	kk_sql_done(stmt);
	return kk_err_set(err, EEXIST, "port", "port: %u/udp is used by gateway %s for WireGuard",
			  row->port, name);
}

static int insert(struct kk_store *store, const struct kk_service_row *row, struct kk_err *err)
{
	static const char sql[] =
		"INSERT INTO services (id, org, name, agent, protocol, port, agent_port, target, "
		"proxy_protocol, generation) VALUES (nullif(?, 0), ?, ?, ?, ?, ?, ?, ?, ?, ?)";

	return kk_sql_run(store, err, sql, "iitiiiitii", row->id, store->org, row->name, row->agent,
			  (int64_t)row->protocol, (int64_t)row->port, (int64_t)row->agent_port,
			  row->target, (int64_t)row->proxy_protocol, row->generation);
}

static int update(struct kk_store *store, const struct kk_service_row *row, struct kk_err *err)
{
	static const char sql[] =
		"UPDATE services SET port = ?, agent_port = ?, target = ?, proxy_protocol = ?, "
		"generation = ? WHERE id = ?";

	return kk_sql_run(store, err, sql, "iitiii", (int64_t)row->port, (int64_t)row->agent_port,
			  row->target, (int64_t)row->proxy_protocol, row->generation, row->id);
}

/* An unknown Agent is a fault of the request, not of its path. */
static int find_agent(struct kk_store *store, struct kk_service_row *row, struct kk_err *err)
{
	int r = kk_sql_number(store, &row->agent, err,
			      "SELECT id FROM agents WHERE org = ? AND name = ?", "it", store->org,
			      row->agent_name);

	if (r == -ENOENT)
		return kk_err_set(err, EINVAL, "agent", "agent: there is no Agent \"%s\"",
				  row->agent_name);
	return r;
}

static int add(struct kk_store *store, struct kk_service_row *row, struct kk_err *err)
{
	int r;

	row->id = 0;
	r = check_name(store, row, err);
	if (r == 0)
		r = find_agent(store, row, err);
	if (r == 0)
		r = check_port(store, row, err);
	if (r < 0)
		return r;
	row->agent_port = row->port;
	row->generation = kk_tx_generation(store);
	r = insert(store, row, err);
	if (r < 0)
		return r;
	row->id = sqlite3_last_insert_rowid(store->db);
	return kk_tx_change(store, KK_SERVICE, KK_ADD, row->id, row->agent, err);
}

int kk_store_service_add(struct kk_store *store, struct kk_service_row *row, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	if (r < 0)
		return r;
	return kk_tx_end(store, add(store, row, err), err);
}

static int set(struct kk_store *store, struct kk_service_row *row, struct kk_err *err)
{
	int r = check_port(store, row, err);

	if (r < 0)
		return r;
	row->agent_port = row->port;
	row->generation = kk_tx_generation(store);
	r = update(store, row, err);
	return r < 0 ? r : kk_tx_change(store, KK_SERVICE, KK_SET, row->id, row->agent, err);
}

int kk_store_service_set(struct kk_store *store, struct kk_service_row *row, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	if (r < 0)
		return r;
	return kk_tx_end(store, set(store, row, err), err);
}

static int remove_row(struct kk_store *store, int64_t id, int64_t agent, struct kk_err *err)
{
	int r = kk_sql_run(store, err, "DELETE FROM services WHERE id = ?", "i", id);

	return r < 0 ? r : kk_tx_change(store, KK_SERVICE, KK_REMOVE, id, agent, err);
}

static int remove_service(struct kk_store *store, const char *name, struct kk_err *err)
{
	struct kk_service_row row;
	int r = kk_store_service_get(store, name, &row, err);

	return r < 0 ? r : remove_row(store, row.id, row.agent, err);
}

int kk_store_service_remove(struct kk_store *store, const char *name, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	if (r < 0)
		return r;
	return kk_tx_end(store, remove_service(store, name, err), err);
}

static int restore(struct kk_store *store, int64_t id, struct kk_service_row *before,
		   struct kk_err *err)
{
	struct kk_service_row now;
	int found = kk_store_service_get_id(store, id, &now, NULL), r;

	if (found < 0 && found != -ENOENT)
		return kk_err_set(err, EIO, NULL, "the database failed");
	if (!before)
		return found < 0 ? 0 : remove_row(store, id, now.agent, err);
	r = check_port(store, before, err);
	if (r == 0 && found < 0)
		r = check_name(store, before, err);
	if (r < 0)
		return r;
	before->generation = kk_tx_generation(store);
	if (found == 0) {
		r = update(store, before, err);
		return r < 0 ? r : kk_tx_change(store, KK_SERVICE, KK_SET, id, before->agent, err);
	}
	r = insert(store, before, err);
	return r < 0 ? r : kk_tx_change(store, KK_SERVICE, KK_ADD, id, before->agent, err);
}

int kk_store_service_restore(struct kk_store *store, int64_t id, struct kk_service_row *before,
			     struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	if (r < 0)
		return r;
	return kk_tx_end(store, restore(store, id, before, err), err);
}
