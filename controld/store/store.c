// SPDX-License-Identifier: MIT
/* Opening and closing the database, and what it says of itself. */
#include "controld/store/store.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "controld/store/sql.h"

#define POOL6_LEN 96
#define BUSY_MS	  5000 /* a backup may hold the database for a moment */

/*
 * synchronous=FULL: in WAL mode NORMAL does not sync at a commit, so an acknowledged change could be lost
 * with the power. One sync a change is what that costs.
 */
static const char *const pragmas[] = {
	"PRAGMA journal_mode = WAL",
	"PRAGMA synchronous = FULL",
	"PRAGMA foreign_keys = ON",
	"PRAGMA trusted_schema = OFF",
};

static int set_pragmas(sqlite3 *db, const char *path, struct kk_err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(pragmas); i++)
		if (sqlite3_exec(db, pragmas[i], NULL, NULL, NULL) != SQLITE_OK)
			return kk_err_set(err, EIO, "state", "%s: %s", path, sqlite3_errmsg(db));
	return 0;
}

static void format_pool(const struct kk_prefix4 *pool, char *out, size_t len)
{
	char addr[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &pool->addr, addr, sizeof(addr));
	snprintf(out, len, "%s/%u", addr, pool->len);
}

static int make_control(struct kk_store *store, const struct kk_prefix4 *pool, struct kk_err *err)
{
	uint8_t random[KK_EPOCH_LEN / 2];
	char epoch[KK_EPOCH_LEN + 1], text[32];

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return kk_err_set(err, EIO, NULL, "no random numbers: %s", strerror(errno));
	kk_hex(random, sizeof(random), epoch);
	format_pool(pool, text, sizeof(text));
	return kk_sql_run(store, err,
			  "INSERT INTO control (one, epoch, pool, generation) VALUES (1, ?, ?, 1)",
			  "tt", epoch, text);
}

/* Another pool is taken as long as no Agent has an address from the old one. */
static int check_pool(struct kk_store *store, const char *known, const struct kk_prefix4 *pool,
		      struct kk_err *err)
{
	char text[32];
	int64_t n;
	int r;

	format_pool(pool, text, sizeof(text));
	store->pool = *pool;
	if (strcmp(text, known) == 0)
		return 0;
	r = kk_sql_number(store, &n, err, "SELECT count(*) FROM agents", "");
	if (r < 0)
		return r;
	if (n)
		return kk_err_set(err, EINVAL, "pool",
				  "pool: %s is wanted, but Agents have addresses from %s already",
				  text, known);
	return kk_sql_run(store, err, "UPDATE control SET pool = ?", "t", text);
}

/*
 * What is random and stays: a unique local prefix (RFC 4193 section 3.2.2) with zeros up to its 96 bits, and the key
 * of the hash that all gateways choose an Agent with.
 */
static int make_secrets(struct kk_store *store, struct kk_err *err)
{
	struct kk_prefix pool6 = {.addr.family = AF_INET6, .len = POOL6_LEN};
	char prefix[KK_PREFIX_TEXT], key[2 * KK_FLOW_KEY_LEN + 1];
	uint8_t random[KK_FLOW_KEY_LEN];

	if (getrandom(pool6.addr.bytes, 6, 0) != 6 ||
	    getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return kk_err_set(err, EIO, NULL, "no random numbers: %s", strerror(errno));
	pool6.addr.bytes[0] = 0xfd;
	kk_hex(random, sizeof(random), key);
	return kk_sql_run(store, err, "UPDATE control SET pool6 = ?, flow_key = ?", "tt",
			  kk_prefix_text(&pool6, prefix), key);
}

static int read_secrets(struct kk_store *store, struct kk_err *err)
{
	sqlite3_stmt *stmt = kk_sql(store, err, "SELECT pool6, flow_key FROM control", "");
	char key[2 * KK_FLOW_KEY_LEN + 1];
	int r = kk_sql_step(store, stmt, err);

	if (r <= 0)
		return r < 0 ? r : kk_sql_failed(store, err);
	if (sqlite3_column_type(stmt, 0) == SQLITE_NULL) {
		kk_sql_done(stmt);
		r = make_secrets(store, err);
		return r < 0 ? r : read_secrets(store, err);
	}
	store->pool6 = kk_sql_prefix(stmt, 0);
	kk_sql_text(stmt, 1, key, sizeof(key));
	kk_sql_done(stmt);
	if (kk_unhex(key, store->flow_key, KK_FLOW_KEY_LEN) < 0)
		return kk_err_set(err, EIO, "state", "the database holds no flow key but \"%s\"",
				  key);
	return 0;
}

static int read_control(struct kk_store *store, const struct kk_prefix4 *pool, struct kk_err *err)
{
	sqlite3_stmt *stmt = kk_sql(store, err, "SELECT epoch, pool, generation FROM control", "");
	char known[32];
	int r = kk_sql_step(store, stmt, err);

	if (r < 0)
		return r;
	if (r == 0) {
		r = make_control(store, pool, err);
		return r < 0 ? r : read_control(store, pool, err);
	}
	kk_sql_text(stmt, 0, store->epoch, sizeof(store->epoch));
	kk_sql_text(stmt, 1, known, sizeof(known));
	store->generation = sqlite3_column_int64(stmt, 2);
	kk_sql_done(stmt);
	return check_pool(store, known, pool, err);
}

int kk_store_open(const char *path, const struct kk_prefix4 *pool, struct kk_store **ret,
		  struct kk_err *err)
{
	struct kk_store *store = calloc(1, sizeof(*store));
	mode_t mask;
	int r;

	if (!store)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	kk_store_enter(store, KK_ORG_FIRST, "control", "");
	mask = umask(077);
	if (sqlite3_open_v2(path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) !=
	    SQLITE_OK)
		r = kk_err_set(err, EIO, "state", "%s: %s", path,
			       store->db ? sqlite3_errmsg(store->db) : "out of memory");
	else
		r = set_pragmas(store->db, path, err);
	umask(mask);
	if (r == 0) {
		sqlite3_busy_timeout(store->db, BUSY_MS);
		r = kk_store_migrate(store->db, path, KK_SCHEMA_VERSION, err);
	}
	if (r == 0)
		r = read_control(store, pool, err);
	if (r == 0)
		r = kk_audit_start(store, err);
	if (r == 0)
		r = read_secrets(store, err);
	if (r < 0) {
		kk_store_close(store);
		return r;
	}
	*ret = store;
	return 0;
}

void kk_store_close(struct kk_store *store)
{
	if (!store)
		return;
	for (size_t i = 0; i < store->n_statements; i++)
		sqlite3_finalize(store->statements[i].stmt);
	sqlite3_close(store->db);
	free(store->changes);
	free(store->log.rows);
	free(store->log.sorted);
	free(store);
}

int64_t kk_store_generation(const struct kk_store *store)
{
	return store->generation;
}

int64_t kk_store_latest(const struct kk_store *store)
{
	return store->generation + (store->n_changes > 0);
}

void kk_store_enter(struct kk_store *store, int64_t org, const char *who, const char *from)
{
	store->org = org;
	snprintf(store->who, sizeof(store->who), "%s", who);
	snprintf(store->from, sizeof(store->from), "%s", from);
}

int64_t kk_store_org(const struct kk_store *store)
{
	return store->org;
}

int64_t kk_store_set_org(struct kk_store *store, int64_t org)
{
	int64_t old = store->org;

	store->org = org;
	return old;
}

const char *kk_store_epoch(const struct kk_store *store)
{
	return store->epoch;
}

const struct kk_prefix4 *kk_store_pool(const struct kk_store *store)
{
	return &store->pool;
}

const struct kk_prefix *kk_store_pool6(const struct kk_store *store)
{
	return &store->pool6;
}

const uint8_t *kk_store_flow_key(const struct kk_store *store)
{
	return store->flow_key;
}

void kk_store_on_change(struct kk_store *store,
			void (*changed)(const struct kk_change *changes, size_t n, void *userdata),
			void *userdata)
{
	store->changed = changed;
	store->userdata = userdata;
}
