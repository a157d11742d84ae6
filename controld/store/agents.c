// SPDX-License-Identifier: MIT
#include "controld/store/sql.h"

#include <arpa/inet.h>
#include <errno.h>

#define COLUMNS	      "id, name, number, public_key, key_hash IS NOT NULL, generation, org, plain"
#define SECOND_OCTETS 254
#define SUBNET_LEN    24

struct kk_prefix4 kk_agent_subnet(const struct kk_prefix4 *pool, int64_t number)
{
	uint32_t second = (uint32_t)(number % SECOND_OCTETS) + 1;
	uint32_t third = (uint32_t)(number / SECOND_OCTETS);

	return (struct kk_prefix4){
		.addr.s_addr = pool->addr.s_addr | htonl(second << 16 | third << 8),
		.len = SUBNET_LEN,
	};
}

int64_t kk_agent_number(const struct kk_prefix4 *pool, struct in_addr address)
{
	uint32_t host = ntohl(address.s_addr ^ pool->addr.s_addr);
	int64_t number = (int64_t)(host >> 8 & 0xff) * SECOND_OCTETS + (host >> 16) - 1;
	struct kk_prefix4 subnet;

	if (host >> 24 || number < 0 || number >= KK_AGENTS_MAX)
		return -EINVAL;
	subnet = kk_agent_subnet(pool, number);
	return kk_subnet_host(&subnet, KK_AGENT_HOST).s_addr == address.s_addr ? number : -EINVAL;
}

static void read_row(struct kk_store *store, sqlite3_stmt *stmt, struct kk_agent_row *row)
{
	*row = (struct kk_agent_row){
		.id = sqlite3_column_int64(stmt, 0),
		.number = sqlite3_column_int64(stmt, 2),
		.joined = sqlite3_column_int(stmt, 4),
		.generation = sqlite3_column_int64(stmt, 5),
		.org = sqlite3_column_int64(stmt, 6),
		.plain = sqlite3_column_int(stmt, 7),
	};
	kk_sql_text(stmt, 1, row->name, sizeof(row->name));
	row->subnet = kk_agent_subnet(&store->pool, row->number);
	row->has_key = kk_sql_key(stmt, 3, row->public_key);
}

static int read_only(struct kk_store *store, sqlite3_stmt *stmt, struct kk_agent_row *ret,
		     struct kk_err *err)
{
	int r = kk_sql_step(store, stmt, err);

	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	read_row(store, stmt, ret);
	kk_sql_done(stmt);
	return 0;
}

static const char *kind_name(bool plain)
{
	return plain ? "peer" : "Agent";
}

static int get(struct kk_store *store, const char *name, bool plain, struct kk_agent_row *ret,
	       struct kk_err *err)
{
	static const char sql[] =
		"SELECT " COLUMNS " FROM agents WHERE org = ? AND name = ? AND plain = ?";
	int r = read_only(store, kk_sql(store, err, sql, "iti", store->org, name, (int64_t)plain),
			  ret, err);

	if (r == -ENOENT)
		return kk_err_set(err, ENOENT, NULL, "there is no %s \"%.64s\"", kind_name(plain),
				  name);
	return r;
}

int kk_store_agent_get(struct kk_store *store, const char *name, struct kk_agent_row *ret,
		       struct kk_err *err)
{
	return get(store, name, false, ret, err);
}

int kk_store_peer_get(struct kk_store *store, const char *name, struct kk_agent_row *ret,
		      struct kk_err *err)
{
	return get(store, name, true, ret, err);
}

int kk_store_agent_get_id(struct kk_store *store, int64_t id, struct kk_agent_row *ret,
			  struct kk_err *err)
{
	int r = read_only(
		store, kk_sql(store, err, "SELECT " COLUMNS " FROM agents WHERE id = ?", "i", id),
		ret, err);

	if (r == -ENOENT)
		return kk_err_set(err, ENOENT, NULL, "there is no Agent with id %lld",
				  (long long)id);
	return r;
}

static int list(struct kk_store *store, bool plain,
		int (*row)(const struct kk_agent_row *row, void *userdata), void *userdata,
		struct kk_err *err)
{
	static const char sql[] =
		"SELECT " COLUMNS " FROM agents WHERE org = ? AND plain = ? ORDER BY id";
	sqlite3_stmt *stmt = kk_sql(store, err, sql, "ii", store->org, (int64_t)plain);
	struct kk_agent_row one;
	int r;

	while ((r = kk_sql_step(store, stmt, err)) > 0) {
		read_row(store, stmt, &one);
		r = row(&one, userdata);
		if (r) {
			kk_sql_done(stmt);
			return r;
		}
	}
	return r;
}

int kk_store_agent_list(struct kk_store *store,
			int (*row)(const struct kk_agent_row *row, void *userdata), void *userdata,
			struct kk_err *err)
{
	return list(store, false, row, userdata, err);
}

int kk_store_peer_list(struct kk_store *store,
		       int (*row)(const struct kk_agent_row *row, void *userdata), void *userdata,
		       struct kk_err *err)
{
	return list(store, true, row, userdata, err);
}

int kk_store_agent_count(struct kk_store *store, bool plain, int64_t *ret, struct kk_err *err)
{
	return kk_sql_number(store, ret, err,
			     "SELECT count(*) FROM agents WHERE org = ? AND plain = ?", "ii",
			     store->org, (int64_t)plain);
}

/*
 * The lowest number that is free. The search begins at the hint, below which nothing is, so that adding
 * many Agents does not read all of them each time.
 */
static int free_number(struct kk_store *store, int64_t *ret, struct kk_err *err)
{
	sqlite3_stmt *stmt =
		kk_sql(store, err, "SELECT number FROM agents WHERE number >= ? ORDER BY number",
		       "i", store->agent_hint);
	int64_t next = store->agent_hint;
	int r;

	while ((r = kk_sql_step(store, stmt, err)) > 0) {
		if (sqlite3_column_int64(stmt, 0) != next) {
			kk_sql_done(stmt);
			break;
		}
		next++;
	}
	if (r < 0)
		return r;
	if (next >= KK_AGENTS_MAX)
		return kk_err_set(err, ENOSPC, NULL, "there are %d Agents, which is the most",
				  KK_AGENTS_MAX);
	*ret = next;
	return 0;
}

static int check_number(struct kk_store *store, int64_t number, struct kk_err *err)
{
	int64_t id;
	int r = kk_sql_number(store, &id, err, "SELECT id FROM agents WHERE number = ?", "i",
			      number);

	if (r == 0)
		return kk_err_set(err, EEXIST, "wg_ip",
				  "wg_ip: another Agent or peer has this address");
	return r == -ENOENT ? 0 : r;
}

/* With the number that @row has, or where that is KK_ANY_NUMBER with one that is free. */
static int add(struct kk_store *store, struct kk_agent_row *row, struct kk_err *err)
{
	static const char insert[] = "INSERT INTO agents (org, name, number, plain, generation) "
				     "VALUES (?, ?, ?, ?, ?)";
	int64_t is_plain;
	int r = kk_sql_number(store, &is_plain, err,
			      "SELECT plain FROM agents WHERE org = ? AND name = ?", "it",
			      store->org, row->name);

	if (r == 0)
		return kk_err_set(err, EEXIST, "name", "name: there is already %s %s %s",
				  is_plain ? "a" : "an", kind_name(is_plain), row->name);
	if (r != -ENOENT)
		return r;
	if (row->number == KK_ANY_NUMBER)
		r = free_number(store, &row->number, err);
	else
		r = check_number(store, row->number, err);
	if (r < 0)
		return r;
	row->generation = kk_tx_generation(store);
	r = kk_sql_run(store, err, insert, "itiii", store->org, row->name, row->number,
		       (int64_t)row->plain, row->generation);
	if (r < 0)
		return r;
	row->id = sqlite3_last_insert_rowid(store->db);
	row->org = store->org;
	row->subnet = kk_agent_subnet(&store->pool, row->number);
	row->has_key = row->joined = false;
	return kk_tx_change(store, KK_AGENT, KK_ADD, row->id, 0, err);
}

int kk_store_agent_add(struct kk_store *store, struct kk_agent_row *row, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	if (r < 0)
		return r;
	row->plain = false;
	row->number = KK_ANY_NUMBER;
	r = kk_tx_end(store, add(store, row, err), err);
	if (r == 0)
		store->agent_hint = row->number + 1;
	return r;
}

static int add_peer(struct kk_store *store, struct kk_agent_row *row, struct kk_err *err)
{
	int r = add(store, row, err);

	return r < 0 ? r : kk_store_node_set_key(store, KK_AGENT, row->id, row->public_key, err);
}

int kk_store_peer_add(struct kk_store *store, struct kk_agent_row *row, struct kk_err *err)
{
	bool any = row->number == KK_ANY_NUMBER;
	int r = kk_tx_begin(store, err);

	if (r < 0)
		return r;
	row->plain = true;
	r = kk_tx_end(store, add_peer(store, row, err), err);
	if (r < 0)
		return r;
	row->has_key = true;
	if (any)
		store->agent_hint = row->number + 1;
	return 0;
}

static int remove_row(struct kk_store *store, const char *name, bool plain,
		      struct kk_agent_row *row, struct kk_err *err)
{
	int64_t n;
	int r = get(store, name, plain, row, err);

	if (r < 0)
		return r;
	r = kk_sql_number(store, &n, err, "SELECT count(*) FROM members WHERE agent = ?", "i",
			  row->id);
	if (r < 0)
		return r;
	if (n)
		return kk_err_set(err, EBUSY, NULL, "%s %s still has %lld service%s",
				  kind_name(plain), name, (long long)n, n == 1 ? "" : "s");
	r = kk_sql_run(store, err, "DELETE FROM agents WHERE id = ?", "i", row->id);
	return r < 0 ? r : kk_tx_change(store, KK_AGENT, KK_REMOVE, row->id, 0, err);
}

static int remove_named(struct kk_store *store, const char *name, bool plain, struct kk_err *err)
{
	struct kk_agent_row row;
	int r = kk_tx_begin(store, err);

	if (r < 0)
		return r;
	r = kk_tx_end(store, remove_row(store, name, plain, &row, err), err);
	if (r == 0 && row.number < store->agent_hint)
		store->agent_hint = row.number;
	return r;
}

int kk_store_agent_remove(struct kk_store *store, const char *name, struct kk_err *err)
{
	return remove_named(store, name, false, err);
}

int kk_store_peer_remove(struct kk_store *store, const char *name, struct kk_err *err)
{
	return remove_named(store, name, true, err);
}
