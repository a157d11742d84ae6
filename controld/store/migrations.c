// SPDX-License-Identifier: MIT
/*
 * The schema as a list of steps: step n brings a database from version n to n + 1 (PRAGMA user_version).
 * Steps that were released are never changed; what is new is a new step.
 */
#include "controld/store/sql.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

/* Ends the making of a table anew as TABLE_2: with the old one's counter of ids, and its name. */
#define MOVE(table)                                                                                \
	"DELETE FROM sqlite_sequence WHERE name = '" table "_2';"                                  \
	"INSERT INTO sqlite_sequence (name, seq)"                                                  \
	"  SELECT '" table "_2', seq FROM sqlite_sequence WHERE name = '" table "';"               \
	"DROP TABLE " table ";"                                                                    \
	"ALTER TABLE " table "_2 RENAME TO " table ";"

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
	 * Everything belongs to an organisation, and names are its own. Agents keep numbers, and with them
	 * addresses, that are unique in the whole of Control. The counters of ids move along, so that none is used
	 * again.
	 */
	"CREATE TABLE organisations ("
	"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
	"  name TEXT NOT NULL UNIQUE,"
	"  created_at INTEGER NOT NULL"
	") STRICT;"
	"INSERT INTO organisations (id, name, created_at)"
	"  VALUES (1, 'default', CAST(strftime('%s', 'now') AS INTEGER));"
	"CREATE TABLE gateways_2 ("
	"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
	"  org INTEGER NOT NULL REFERENCES organisations (id) ON DELETE RESTRICT,"
	"  name TEXT NOT NULL,"
	"  idx INTEGER NOT NULL CHECK (idx BETWEEN 1 AND 254 AND idx <> 100),"
	"  address TEXT NOT NULL,"
	"  wg_port INTEGER NOT NULL CHECK (wg_port BETWEEN 1 AND 65535),"
	"  public_key BLOB UNIQUE CHECK (length(public_key) = 32),"
	"  key_hash BLOB UNIQUE CHECK (length(key_hash) = 32),"
	"  ports_in_use TEXT,"
	"  generation INTEGER NOT NULL,"
	"  UNIQUE (org, name),"
	"  UNIQUE (org, idx),"
	"  UNIQUE (id, org),"
	"  UNIQUE (address, wg_port)"
	") STRICT;"
	"INSERT INTO gateways_2 SELECT id, 1, name, idx, address, wg_port, public_key, key_hash,"
	"  ports_in_use, generation FROM gateways;" MOVE(
		"gateways") "CREATE TABLE agents_2 ("
			    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
			    "  org INTEGER NOT NULL REFERENCES organisations (id) ON DELETE RESTRICT,"
			    "  name TEXT NOT NULL,"
			    "  number INTEGER NOT NULL UNIQUE CHECK (number BETWEEN 0 AND 65023),"
			    "  public_key BLOB UNIQUE CHECK (length(public_key) = 32),"
			    "  key_hash BLOB UNIQUE CHECK (length(key_hash) = 32),"
			    "  generation INTEGER NOT NULL,"
			    "  UNIQUE (org, name),"
			    "  UNIQUE (id, org)"
			    ") STRICT;"
			    "INSERT INTO agents_2 SELECT id, 1, name, number, public_key, key_hash, generation"
			    "  FROM agents;" MOVE(
				    "agents") "CREATE TABLE services_2 ("
					      "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
					      "  org INTEGER NOT NULL REFERENCES organisations (id) ON DELETE RESTRICT,"
					      "  name TEXT NOT NULL,"
					      "  agent INTEGER NOT NULL,"
					      "  protocol INTEGER NOT NULL CHECK (protocol IN (6, 17)),"
					      "  port INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),"
					      "  agent_port INTEGER NOT NULL CHECK (agent_port BETWEEN 1 AND 65535),"
					      "  target TEXT NOT NULL,"
					      "  proxy_protocol INTEGER NOT NULL CHECK (proxy_protocol IN (0, 1)),"
					      "  generation INTEGER NOT NULL,"
					      "  FOREIGN KEY (agent, org) REFERENCES agents (id, org) ON DELETE RESTRICT,"
					      "  UNIQUE (org, name),"
					      "  UNIQUE (org, protocol, port),"
					      "  UNIQUE (agent, protocol, agent_port)"
					      ") STRICT;"
					      "INSERT INTO services_2 SELECT id, 1, name, agent, protocol, port, agent_port, target,"
					      "  proxy_protocol, generation FROM services;" MOVE(
						      "services")
	/* Bound to a node and good for one join, or for Agents that do not exist yet: "prefix", "uses". */
	"CREATE TABLE join_tokens_2 ("
	"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
	"  org INTEGER NOT NULL REFERENCES organisations (id) ON DELETE RESTRICT,"
	"  gateway INTEGER,"
	"  agent INTEGER,"
	"  prefix TEXT,"
	"  uses INTEGER NOT NULL CHECK (uses >= -1)," /* left; -1: as many as you like */
	"  secret_hash BLOB NOT NULL UNIQUE CHECK (length(secret_hash) = 32),"
	"  expires_at INTEGER NOT NULL,"
	"  FOREIGN KEY (gateway, org) REFERENCES gateways (id, org) ON DELETE CASCADE,"
	"  FOREIGN KEY (agent, org) REFERENCES agents (id, org) ON DELETE CASCADE,"
	"  CHECK ((gateway IS NOT NULL) + (agent IS NOT NULL) + (prefix IS NOT NULL) = 1)"
	") STRICT;"
	"INSERT INTO join_tokens_2 SELECT id, 1, gateway, agent, NULL, NOT used, secret_hash,"
	"  expires_at FROM join_tokens;" MOVE(
		"join_tokens") "CREATE INDEX join_tokens_gateway ON join_tokens (gateway);"
			       "CREATE INDEX join_tokens_agent ON join_tokens (agent);"
			       /* role: enum kk_access; expires_at 0: never */
			       "CREATE TABLE api_keys_2 ("
			       "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
			       "  org INTEGER NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,"
			       "  name TEXT NOT NULL,"
			       "  role INTEGER NOT NULL CHECK (role BETWEEN 1 AND 4),"
			       "  hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),"
			       "  created_at INTEGER NOT NULL,"
			       "  expires_at INTEGER NOT NULL,"
			       "  UNIQUE (org, name)"
			       ") STRICT;"
			       "INSERT INTO api_keys_2 SELECT id, 1, name, 4, hash, created_at, 0"
			       "  FROM api_keys;" MOVE(
				       "api_keys") "CREATE TABLE users ("
						   "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
						   "  org INTEGER NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,"
						   "  name TEXT NOT NULL,"
						   "  role INTEGER NOT NULL CHECK (role BETWEEN 1 AND 4),"
						   "  password TEXT NOT NULL," /* controld/password.h */
						   "  created_at INTEGER NOT NULL,"
						   "  UNIQUE (org, name),"
						   "  UNIQUE (id, org)"
						   ") STRICT;"
						   "CREATE TABLE sessions ("
						   "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
						   "  org INTEGER NOT NULL,"
						   "  user INTEGER NOT NULL,"
						   "  address TEXT NOT NULL,"
						   "  hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),"
						   "  created_at INTEGER NOT NULL,"
						   "  expires_at INTEGER NOT NULL,"
						   "  FOREIGN KEY (user, org) REFERENCES users (id, org) ON DELETE CASCADE"
						   ") STRICT;"
						   "CREATE INDEX sessions_user ON sessions (user);"
						   /* Stays when what it tells of is gone. */
						   "CREATE TABLE audit ("
						   "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
						   "  at INTEGER NOT NULL,"
						   "  org INTEGER NOT NULL,"
						   "  who TEXT NOT NULL,"
						   "  address TEXT NOT NULL,"
						   "  action TEXT NOT NULL,"
						   "  kind TEXT NOT NULL,"
						   "  object TEXT NOT NULL,"
						   "  before TEXT,"
						   "  after TEXT"
						   ") STRICT;"
						   "CREATE INDEX audit_org ON audit (org, id);"
						   /* Answers to creations, for who asks again; sealed with what only the caller has. */
						   "CREATE TABLE answers ("
						   "  hash BLOB PRIMARY KEY CHECK (length(hash) = 32),"
						   "  request BLOB NOT NULL CHECK (length(request) = 32),"
						   "  status INTEGER NOT NULL,"
						   "  sealed BLOB NOT NULL,"
						   "  created_at INTEGER NOT NULL"
						   ") STRICT, WITHOUT ROWID;"
						   "CREATE INDEX answers_created_at ON answers (created_at);"
						   "ALTER TABLE changes ADD COLUMN org INTEGER NOT NULL DEFAULT 1;",
	/*
	 * Port ranges, several Agents behind a service, several addresses of a gateway, lists, limits, bans.
	 * A member has the Agent's ports of its service with it, so that an index finds who has one.
	 * The change log tells less than is told now: it begins anew, a generation on, and so every node is
	 * sent a snapshot.
	 */
	"CREATE TABLE members ("
	"  service INTEGER NOT NULL,"
	"  agent INTEGER NOT NULL,"
	"  org INTEGER NOT NULL,"
	"  protocol INTEGER NOT NULL,"
	"  port INTEGER NOT NULL,"
	"  last_port INTEGER NOT NULL,"
	"  PRIMARY KEY (service, agent),"
	"  FOREIGN KEY (service, org) REFERENCES services (id, org) ON DELETE CASCADE,"
	"  FOREIGN KEY (agent, org) REFERENCES agents (id, org) ON DELETE RESTRICT,"
	"  UNIQUE (agent, protocol, port)"
	") STRICT, WITHOUT ROWID;"
	"INSERT INTO members SELECT id, agent, org, protocol, agent_port, agent_port FROM services;"
	"CREATE TABLE services_2 ("
	"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
	"  org INTEGER NOT NULL REFERENCES organisations (id) ON DELETE RESTRICT,"
	"  name TEXT NOT NULL,"
	"  protocol INTEGER NOT NULL CHECK (protocol IN (6, 17)),"
	"  address TEXT NOT NULL," /* '': the first of each family of every gateway */
	"  port INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),"
	"  last_port INTEGER NOT NULL CHECK (last_port BETWEEN port AND 65535),"
	"  agent_port INTEGER NOT NULL CHECK (agent_port BETWEEN 1 AND 65535 - last_port + port),"
	"  target TEXT NOT NULL,"
	"  proxy_protocol INTEGER NOT NULL CHECK (proxy_protocol IN (0, 1)),"
	"  limit_packets INTEGER NOT NULL CHECK (limit_packets >= 0),"
	"  limit_connections INTEGER NOT NULL CHECK (limit_connections >= 0),"
	"  drain_until INTEGER NOT NULL,"
	"  generation INTEGER NOT NULL,"
	"  UNIQUE (org, name),"
	"  UNIQUE (id, org),"
	"  UNIQUE (org, protocol, address, port)"
	") STRICT;"
	"INSERT INTO services_2 SELECT id, org, name, protocol, '', port, port, agent_port, target,"
	"  proxy_protocol, 0, 0, 0, generation FROM services;"
	/* clang-format off */
	MOVE("services")
	/* clang-format on */
	"CREATE INDEX services_address ON services (address) WHERE address <> '';"
	"CREATE INDEX services_drain ON services (drain_until) WHERE drain_until > 0;"
	"CREATE TABLE gateway_addresses ("
	"  gateway INTEGER NOT NULL,"
	"  org INTEGER NOT NULL,"
	"  position INTEGER NOT NULL,"
	"  address TEXT NOT NULL,"
	"  is_first INTEGER NOT NULL CHECK (is_first IN (0, 1))," /* of its family */
	"  PRIMARY KEY (gateway, position),"
	"  FOREIGN KEY (gateway, org) REFERENCES gateways (id, org) ON DELETE CASCADE,"
	"  UNIQUE (gateway, address)"
	") STRICT, WITHOUT ROWID;"
	"CREATE INDEX gateway_addresses_address ON gateway_addresses (address);"
	"INSERT INTO gateway_addresses SELECT id, org, 0, address, 1 FROM gateways;"
	"CREATE TABLE rules ("
	"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
	"  org INTEGER NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,"
	"  service INTEGER," /* null: all */
	"  prefix TEXT NOT NULL,"
	"  allow INTEGER NOT NULL CHECK (allow IN (0, 1)),"
	"  generation INTEGER NOT NULL,"
	"  FOREIGN KEY (service, org) REFERENCES services (id, org) ON DELETE CASCADE"
	") STRICT;"
	"CREATE UNIQUE INDEX rules_prefix ON rules (org, ifnull(service, 0), prefix);"
	"CREATE INDEX rules_service ON rules (service);"
	"CREATE TABLE bans ("
	"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
	"  org INTEGER NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,"
	"  address TEXT NOT NULL,"
	"  service INTEGER," /* null: all */
	"  expires_at INTEGER NOT NULL,"
	"  generation INTEGER NOT NULL,"
	"  FOREIGN KEY (service, org) REFERENCES services (id, org) ON DELETE CASCADE"
	") STRICT;"
	"CREATE UNIQUE INDEX bans_address ON bans (org, ifnull(service, 0), address);"
	"CREATE INDEX bans_service ON bans (service);"
	"CREATE INDEX bans_expiry ON bans (expires_at) WHERE expires_at > 0;"
	"ALTER TABLE control ADD COLUMN pool6 TEXT;"
	"ALTER TABLE control ADD COLUMN flow_key TEXT;"
	"DELETE FROM changes;"
	"UPDATE control SET generation = generation + 1;",
	/*
	 * Services that take each other's ports in one transaction give up their own first: "moving" is then their
	 * id, and 0 again at its end.
	 */
	"CREATE TABLE services_2 ("
	"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
	"  org INTEGER NOT NULL REFERENCES organisations (id) ON DELETE RESTRICT,"
	"  name TEXT NOT NULL,"
	"  protocol INTEGER NOT NULL CHECK (protocol IN (6, 17)),"
	"  address TEXT NOT NULL," /* '': the first of each family of every gateway */
	"  port INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),"
	"  last_port INTEGER NOT NULL CHECK (last_port BETWEEN port AND 65535),"
	"  agent_port INTEGER NOT NULL CHECK (agent_port BETWEEN 1 AND 65535 - last_port + port),"
	"  target TEXT NOT NULL,"
	"  proxy_protocol INTEGER NOT NULL CHECK (proxy_protocol IN (0, 1)),"
	"  limit_packets INTEGER NOT NULL CHECK (limit_packets >= 0),"
	"  limit_connections INTEGER NOT NULL CHECK (limit_connections >= 0),"
	"  drain_until INTEGER NOT NULL,"
	"  generation INTEGER NOT NULL,"
	"  moving INTEGER NOT NULL DEFAULT 0 CHECK (moving IN (0, id)),"
	"  UNIQUE (org, name),"
	"  UNIQUE (id, org),"
	"  UNIQUE (org, protocol, address, moving, port)"
	") STRICT;"
	"INSERT INTO services_2 SELECT *, 0 FROM services;"
	/* clang-format off */
	MOVE("services")
	/* clang-format on */
	"CREATE INDEX services_address ON services (address) WHERE address <> '';"
	"CREATE INDEX services_drain ON services (drain_until) WHERE drain_until > 0;"
	"CREATE INDEX services_moving ON services (id) WHERE moving <> 0;"
	"CREATE TABLE members_2 ("
	"  service INTEGER NOT NULL,"
	"  agent INTEGER NOT NULL,"
	"  org INTEGER NOT NULL,"
	"  protocol INTEGER NOT NULL,"
	"  port INTEGER NOT NULL,"
	"  last_port INTEGER NOT NULL,"
	"  moving INTEGER NOT NULL DEFAULT 0 CHECK (moving IN (0, service)),"
	"  PRIMARY KEY (service, agent),"
	"  FOREIGN KEY (service, org) REFERENCES services (id, org) ON DELETE CASCADE,"
	"  FOREIGN KEY (agent, org) REFERENCES agents (id, org) ON DELETE RESTRICT,"
	"  UNIQUE (agent, protocol, moving, port)"
	") STRICT, WITHOUT ROWID;"
	"INSERT INTO members_2 SELECT *, 0 FROM members;"
	"DROP TABLE members;"
	"ALTER TABLE members_2 RENAME TO members;",
	/*
	 * Hosts, groups and access rules (H2). What follows from these for the gateways is in the table of rules, where
	 * what was given with a service is told from it.
	 */
	"CREATE TABLE hosts ("
	"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
	"  org INTEGER NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,"
	"  name TEXT NOT NULL,"
	"  generation INTEGER NOT NULL,"
	"  UNIQUE (org, name),"
	"  UNIQUE (id, org)"
	") STRICT;"
	"CREATE TABLE host_prefixes ("
	"  host INTEGER NOT NULL,"
	/* Before org: SQLite 3.40's integrity_check takes columns for others where a key is not in front. */
	"  prefix TEXT NOT NULL,"
	"  org INTEGER NOT NULL,"
	"  PRIMARY KEY (host, prefix),"
	"  FOREIGN KEY (host, org) REFERENCES hosts (id, org) ON DELETE CASCADE"
	") STRICT, WITHOUT ROWID;"
	"CREATE TABLE host_groups ("
	"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
	"  org INTEGER NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,"
	"  name TEXT NOT NULL,"
	"  generation INTEGER NOT NULL,"
	"  UNIQUE (org, name),"
	"  UNIQUE (id, org)"
	") STRICT;"
	"CREATE TABLE group_hosts ("
	"  host_group INTEGER NOT NULL,"
	"  host INTEGER NOT NULL,"
	"  org INTEGER NOT NULL,"
	"  PRIMARY KEY (host_group, host),"
	"  FOREIGN KEY (host_group, org) REFERENCES host_groups (id, org) ON DELETE CASCADE,"
	"  FOREIGN KEY (host, org) REFERENCES hosts (id, org) ON DELETE CASCADE"
	") STRICT, WITHOUT ROWID;"
	"CREATE INDEX group_hosts_host ON group_hosts (host);"
	"CREATE TABLE access_rules ("
	"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
	"  org INTEGER NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,"
	"  name TEXT NOT NULL,"
	"  source_host INTEGER,"
	"  source_group INTEGER,"
	"  service INTEGER,"
	"  host INTEGER,"
	"  host_group INTEGER,"
	"  protocol INTEGER CHECK (protocol IN (6, 17)),"
	"  port INTEGER CHECK (port BETWEEN 1 AND 65535),"
	"  last_port INTEGER CHECK (last_port BETWEEN port AND 65535),"
	"  generation INTEGER NOT NULL,"
	"  FOREIGN KEY (source_host, org) REFERENCES hosts (id, org) ON DELETE CASCADE,"
	"  FOREIGN KEY (source_group, org) REFERENCES host_groups (id, org) ON DELETE CASCADE,"
	"  FOREIGN KEY (service, org) REFERENCES services (id, org) ON DELETE CASCADE,"
	"  FOREIGN KEY (host, org) REFERENCES hosts (id, org) ON DELETE CASCADE,"
	"  FOREIGN KEY (host_group, org) REFERENCES host_groups (id, org) ON DELETE CASCADE,"
	"  CHECK ((source_host IS NOT NULL) + (source_group IS NOT NULL) = 1),"
	"  CHECK ((service IS NOT NULL) + (host IS NOT NULL) + (host_group IS NOT NULL) = 1),"
	"  CHECK ((protocol IS NULL) = (service IS NOT NULL)),"
	"  CHECK ((port IS NULL) = (service IS NOT NULL)),"
	"  CHECK ((last_port IS NULL) = (service IS NOT NULL)),"
	"  UNIQUE (org, name)"
	") STRICT;"
	"CREATE INDEX access_rules_source_host ON access_rules (source_host);"
	"CREATE INDEX access_rules_source_group ON access_rules (source_group);"
	"CREATE INDEX access_rules_service ON access_rules (service);"
	"CREATE INDEX access_rules_host ON access_rules (host);"
	"CREATE INDEX access_rules_host_group ON access_rules (host_group);"
	"ALTER TABLE services ADD COLUMN closed INTEGER NOT NULL DEFAULT 0 CHECK (closed IN (0, 1));"
	"ALTER TABLE rules ADD COLUMN given INTEGER NOT NULL DEFAULT 1 CHECK (given IN (0, 1));",
	/* Plain WireGuard peers beside the Agents. */
	"ALTER TABLE agents ADD COLUMN plain INTEGER NOT NULL DEFAULT 0 CHECK (plain IN (0, 1));",
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

/* Rows that refer to nothing: with foreign keys off, as a step is taken, nobody else would notice. */
static bool refers_to_nothing(sqlite3 *db)
{
	sqlite3_stmt *stmt;
	bool found;

	if (sqlite3_prepare_v2(db, "PRAGMA foreign_key_check", -1, &stmt, NULL) != SQLITE_OK)
		return true;
	found = sqlite3_step(stmt) != SQLITE_DONE;
	sqlite3_finalize(stmt);
	return found;
}

static int take_step(sqlite3 *db, const char *path, int version, struct kk_err *err)
{
	char pragma[48];

	snprintf(pragma, sizeof(pragma), "PRAGMA user_version = %d", version + 1);
	if (sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL) == SQLITE_OK &&
	    sqlite3_exec(db, steps[version], NULL, NULL, NULL) == SQLITE_OK &&
	    sqlite3_exec(db, pragma, NULL, NULL, NULL) == SQLITE_OK && !refers_to_nothing(db) &&
	    sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK)
		return 0;
	failed(db, path, err);
	if (!sqlite3_get_autocommit(db))
		sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return -EIO;
}

int kk_store_migrate(sqlite3 *db, const char *path, int to, struct kk_err *err)
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
	/* A table that others refer to can be made anew only without. */
	sqlite3_exec(db, "PRAGMA foreign_keys = OFF", NULL, NULL, NULL);
	for (; version < to; version++) {
		r = take_step(db, path, version, err);
		if (r < 0)
			return r;
	}
	if (sqlite3_exec(db, "PRAGMA foreign_keys = ON", NULL, NULL, NULL) != SQLITE_OK)
		return failed(db, path, err);
	return 0;
}
