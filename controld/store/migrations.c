// SPDX-License-Identifier: MIT
/*
 * The schema as a list of steps: step n brings a database from version n to n + 1 (PRAGMA user_version).
 * Steps that were released are never changed; what is new is a new step.
 */
#include "controld/store/sql.h"

#include <errno.h>
#include <stdio.h>

/*
 * Ids are never used again (AUTOINCREMENT), since nodes hear of removals by id. A secret is there as its
 * SHA-256 only. key_hash is null until a node has joined, public_key until it has said hello.
 */
static const char *const steps[] = {
	"CREATE TABLE control ("
	"  one INTEGER PRIMARY KEY CHECK (one = 1),"
	"  epoch TEXT NOT NULL,"
	"  pool TEXT NOT NULL,"
	"  generation INTEGER NOT NULL"
	") STRICT;"
	"CREATE TABLE gateways ("
	"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
	"  name TEXT NOT NULL UNIQUE,"
	"  idx INTEGER NOT NULL UNIQUE CHECK (idx BETWEEN 1 AND 254 AND idx <> 100),"
	"  address TEXT NOT NULL,"
	"  wg_port INTEGER NOT NULL CHECK (wg_port BETWEEN 1 AND 65535),"
	"  public_key BLOB UNIQUE CHECK (length(public_key) = 32),"
	"  key_hash BLOB UNIQUE CHECK (length(key_hash) = 32),"
	"  ports_in_use TEXT,"
	"  generation INTEGER NOT NULL,"
	"  UNIQUE (address, wg_port)"
	") STRICT;"
	"CREATE TABLE agents ("
	"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
	"  name TEXT NOT NULL UNIQUE,"
	"  number INTEGER NOT NULL UNIQUE CHECK (number BETWEEN 0 AND 65023),"
	"  public_key BLOB UNIQUE CHECK (length(public_key) = 32),"
	"  key_hash BLOB UNIQUE CHECK (length(key_hash) = 32),"
	"  generation INTEGER NOT NULL"
	") STRICT;"
	"CREATE TABLE services ("
	"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
	"  name TEXT NOT NULL UNIQUE,"
	"  agent INTEGER NOT NULL REFERENCES agents (id) ON DELETE RESTRICT,"
	"  protocol INTEGER NOT NULL CHECK (protocol IN (6, 17)),"
	"  port INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),"
	"  agent_port INTEGER NOT NULL CHECK (agent_port BETWEEN 1 AND 65535),"
	"  target TEXT NOT NULL,"
	"  proxy_protocol INTEGER NOT NULL CHECK (proxy_protocol IN (0, 1)),"
	"  generation INTEGER NOT NULL,"
	"  UNIQUE (protocol, port),"
	"  UNIQUE (agent, protocol, agent_port)"
	") STRICT;"
	"CREATE TABLE join_tokens ("
	"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
	"  gateway INTEGER REFERENCES gateways (id) ON DELETE CASCADE,"
	"  agent INTEGER REFERENCES agents (id) ON DELETE CASCADE,"
	"  secret_hash BLOB NOT NULL UNIQUE CHECK (length(secret_hash) = 32),"
	"  expires_at INTEGER NOT NULL,"
	"  used INTEGER NOT NULL DEFAULT 0 CHECK (used IN (0, 1)),"
	"  CHECK ((gateway IS NULL) <> (agent IS NULL))"
	") STRICT;"
	"CREATE INDEX join_tokens_gateway ON join_tokens (gateway);"
	"CREATE INDEX join_tokens_agent ON join_tokens (agent);"
	"CREATE TABLE api_keys ("
	"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
	"  name TEXT NOT NULL UNIQUE,"
	"  hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),"
	"  created_at INTEGER NOT NULL"
	") STRICT;"
	"CREATE TABLE changes ("
	"  seq INTEGER PRIMARY KEY,"
	"  generation INTEGER NOT NULL,"
	"  kind INTEGER NOT NULL,"
	"  op INTEGER NOT NULL,"
	"  id INTEGER NOT NULL,"
	"  agent INTEGER NOT NULL"
	") STRICT;"
	"CREATE INDEX changes_generation ON changes (generation);",

	/*
	 * Port ranges, several Agents behind a service, several addresses of a gateway, lists, limits, bans.
	 * A member has the Agent's ports of its service with it, so that an index finds who has one.
	 * The change log tells less than is told now: it begins anew, a generation on, and so every node is
	 * sent a snapshot.
	 */
	"CREATE TABLE services_2 ("
	"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
	"  name TEXT NOT NULL UNIQUE,"
	"  protocol INTEGER NOT NULL CHECK (protocol IN (6, 17)),"
	"  address TEXT NOT NULL,"
	"  port INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),"
	"  last_port INTEGER NOT NULL CHECK (last_port BETWEEN port AND 65535),"
	"  agent_port INTEGER NOT NULL CHECK (agent_port BETWEEN 1 AND 65535 - last_port + port),"
	"  target TEXT NOT NULL,"
	"  proxy_protocol INTEGER NOT NULL CHECK (proxy_protocol IN (0, 1)),"
	"  limit_packets INTEGER NOT NULL CHECK (limit_packets >= 0),"
	"  limit_connections INTEGER NOT NULL CHECK (limit_connections >= 0),"
	"  drain_until INTEGER NOT NULL,"
	"  generation INTEGER NOT NULL,"
	"  UNIQUE (protocol, address, port)"
	") STRICT;"
	"CREATE TABLE members ("
	"  service INTEGER NOT NULL REFERENCES services_2 (id) ON DELETE CASCADE,"
	"  agent INTEGER NOT NULL REFERENCES agents (id) ON DELETE RESTRICT,"
	"  protocol INTEGER NOT NULL,"
	"  port INTEGER NOT NULL,"
	"  last_port INTEGER NOT NULL,"
	"  PRIMARY KEY (service, agent),"
	"  UNIQUE (agent, protocol, port)"
	") STRICT, WITHOUT ROWID;"
	"INSERT INTO services_2 SELECT id, name, protocol, '', port, port, agent_port, target,"
	"  proxy_protocol, 0, 0, 0, generation FROM services;"
	"INSERT INTO members SELECT id, agent, protocol, agent_port, agent_port FROM services;"
	"DELETE FROM sqlite_sequence WHERE name = 'services_2';"
	"INSERT INTO sqlite_sequence (name, seq)"
	"  SELECT 'services_2', seq FROM sqlite_sequence WHERE name = 'services';"
	"DROP TABLE services;"
	"ALTER TABLE services_2 RENAME TO services;"
	"CREATE INDEX services_address ON services (address) WHERE address <> '';"
	"CREATE INDEX services_drain ON services (drain_until) WHERE drain_until > 0;"
	"CREATE TABLE gateway_addresses ("
	"  gateway INTEGER NOT NULL REFERENCES gateways (id) ON DELETE CASCADE,"
	"  position INTEGER NOT NULL,"
	"  address TEXT NOT NULL,"
	"  is_first INTEGER NOT NULL CHECK (is_first IN (0, 1))," /* of its family */
	"  PRIMARY KEY (gateway, position),"
	"  UNIQUE (gateway, address)"
	") STRICT, WITHOUT ROWID;"
	"CREATE INDEX gateway_addresses_address ON gateway_addresses (address);"
	"INSERT INTO gateway_addresses SELECT id, 0, address, 1 FROM gateways;"
	"CREATE TABLE rules ("
	"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
	"  service INTEGER REFERENCES services (id) ON DELETE CASCADE," /* null: all */
	"  prefix TEXT NOT NULL,"
	"  allow INTEGER NOT NULL CHECK (allow IN (0, 1)),"
	"  generation INTEGER NOT NULL"
	") STRICT;"
	"CREATE UNIQUE INDEX rules_prefix ON rules (ifnull(service, 0), prefix);"
	"CREATE INDEX rules_service ON rules (service);"
	"CREATE TABLE bans ("
	"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
	"  address TEXT NOT NULL,"
	"  service INTEGER REFERENCES services (id) ON DELETE CASCADE," /* null: all */
	"  expires_at INTEGER NOT NULL,"
	"  generation INTEGER NOT NULL"
	") STRICT;"
	"CREATE UNIQUE INDEX bans_address ON bans (ifnull(service, 0), address);"
	"CREATE INDEX bans_service ON bans (service);"
	"CREATE INDEX bans_expiry ON bans (expires_at) WHERE expires_at > 0;"
	"ALTER TABLE control ADD COLUMN pool6 TEXT;"
	"ALTER TABLE control ADD COLUMN flow_key TEXT;"
	"DELETE FROM changes;"
	"UPDATE control SET generation = generation + 1;",
};

_Static_assert(ARRAY_SIZE(steps) == KK_SCHEMA_VERSION, "a step for every version");

static int failed(sqlite3 *db, const char *path, struct kk_err *err)
{
	return kk_err_set(err, EIO, "state", "%s: %s", path, sqlite3_errmsg(db));
}

static int read_version(sqlite3 *db, const char *path, int *ret, struct kk_err *err)
{
	sqlite3_stmt *stmt;

	if (sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &stmt, NULL) != SQLITE_OK)
		return failed(db, path, err);
	if (sqlite3_step(stmt) != SQLITE_ROW) {
		sqlite3_finalize(stmt);
		return failed(db, path, err);
	}
	*ret = sqlite3_column_int(stmt, 0);
	sqlite3_finalize(stmt);
	return 0;
}

static int take_step(sqlite3 *db, const char *path, int version, struct kk_err *err)
{
	char pragma[48];

	snprintf(pragma, sizeof(pragma), "PRAGMA user_version = %d", version + 1);
	if (sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL) == SQLITE_OK &&
	    sqlite3_exec(db, steps[version], NULL, NULL, NULL) == SQLITE_OK &&
	    sqlite3_exec(db, pragma, NULL, NULL, NULL) == SQLITE_OK &&
	    sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK)
		return 0;
	failed(db, path, err);
	if (!sqlite3_get_autocommit(db))
		sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return -EIO;
}

int kk_store_migrate(sqlite3 *db, const char *path, struct kk_err *err)
{
	int version = 0, r = read_version(db, path, &version, err);

	if (r < 0)
		return r;
	if (version > KK_SCHEMA_VERSION)
		return kk_err_set(
			err, EINVAL, "state",
			"%s was made by a newer version of kkcontrold (schema %d, this one "
			"knows up to %d)",
			path, version, KK_SCHEMA_VERSION);
	for (; version < KK_SCHEMA_VERSION; version++) {
		r = take_step(db, path, version, err);
		if (r < 0)
			return r;
	}
	return 0;
}
