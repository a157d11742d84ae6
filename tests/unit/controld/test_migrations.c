// SPDX-License-Identifier: MIT
/* A database of every earlier version, with something in it, is brought up to now: nothing is lost, ids go on. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "controld/store/accounts.h"
#include "controld/store/sql.h"
#include "temporary.h"

static const struct kk_prefix4 pool = {.addr.s_addr = 0x0000000a, .len = 8}; /* 10.0.0.0 */

/* What an operator of version n had; the gateway and the Agent that had higher ids were removed again. */
static const char *const contents[] = {
	[0] = "",
	[1] = "INSERT INTO control VALUES (1, '0123456789abcdef0123456789abcdef', '10.0.0.0/8', 70);"
	      "INSERT INTO gateways VALUES (90, 'x', 9, '198.51.100.9', 1, NULL, NULL, NULL, 1);"
	      "DELETE FROM gateways;"
	      "INSERT INTO gateways VALUES (5, 'gw1', 2, '198.51.100.1', 51821, zeroblob(32),"
	      "  randomblob(32), '[]', 60);"
	      "INSERT INTO agents VALUES (80, 'x', 9, NULL, NULL, 1);"
	      "DELETE FROM agents;"
	      "INSERT INTO agents VALUES (3, 'home', 1, NULL, NULL, 61);"
	      "INSERT INTO services VALUES (7, 'ssh', 3, 6, 2222, 2222, '127.0.0.1:22', 1, 62);"
	      "INSERT INTO join_tokens VALUES (1, NULL, 3, randomblob(32), 4000000000, 0);"
	      "INSERT INTO join_tokens VALUES (2, 5, NULL, randomblob(32), 4000000000, 1);"
	      "INSERT INTO api_keys VALUES (4, 'admin', zeroblob(32), 1000);"
	      "INSERT INTO changes VALUES (1, 70, 2, 0, 7, 3);",
	[2] = "INSERT INTO services VALUES (90, 1, 'x', 3, 6, 1, 1, '127.0.0.1:1', 0, 1);"
	      "DELETE FROM services WHERE id = 90;",
	[3] = "INSERT INTO services VALUES (91, 1, 'x', 6, '', 1, 1, 1, '127.0.0.1:1', 0, 0, 0, 0, 1);"
	      "INSERT INTO members VALUES (91, 3, 1, 6, 1, 1);"
	      "DELETE FROM services WHERE id = 91;"
	      "INSERT INTO rules VALUES (11, 1, 7, '192.0.2.0/24', 1, 63);"
	      "INSERT INTO rules VALUES (12, 1, NULL, '203.0.113.0/24', 0, 63);",
	[4] = "INSERT INTO services (id, org, name, protocol, address, port, last_port, agent_port, target,"
	      "  proxy_protocol, limit_packets, limit_connections, drain_until, generation)"
	      "  VALUES (92, 1, 'x', 6, '', 1, 1, 1, '127.0.0.1:1', 0, 0, 0, 0, 1);"
	      "DELETE FROM services WHERE id = 92;",
	[5] = "INSERT INTO bans VALUES (1, 1, '203.0.113.9', 7, 0, 71);",
};

_Static_assert(ARRAY_SIZE(contents) == KK_SCHEMA_VERSION, "something for every earlier version");

static void run(sqlite3 *db, const char *sql)
{
	char *message = NULL;

	if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
		fail_msg("%s", message);
}

static void make_database(const char *path, int version)
{
	struct kk_err err = {0};
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	/* What was there when it was version 1 went along through all steps. */
	for (int v = 1; v <= version; v++) {
		if (kk_store_migrate(db, path, v, &err) < 0)
			fail_msg("%s", err.msg);
		run(db, contents[v]);
	}
	sqlite3_close(db);
}

static int count_token(const struct kk_token_row *row, void *userdata)
{
	assert_string_equal(row->node, "home");
	assert_int_equal(row->uses, 1);
	++*(int *)userdata;
	return 0;
}

static int count_rule(const struct kk_rule_row *row, void *userdata)
{
	(void)row;
	++*(int *)userdata;
	return 0;
}

/* Whom a service let in before there were access rules it lets in now, and nobody else. */
static void check_old_rules(struct kk_store *store)
{
	struct kk_service_row service;
	int rules = 0;

	assert_int_equal(kk_store_service_get(store, "ssh", &service, NULL), 0);
	assert_int_equal(service.n_rules, 1);
	assert_true(service.rules[0].allow);
	assert_false(service.closed);
	assert_int_equal(kk_store_rule_list(store, count_rule, &rules, NULL), 0);
	assert_int_equal(rules, 2);
}

static void check_contents(struct kk_store *store)
{
	struct kk_gateway_row gateway = {.name = "gw2", .wg_port = 1};
	struct kk_agent_row agent = {.name = "next"};
	static const uint8_t zeros[KK_HASH_LEN];
	struct kk_service_row service;
	struct kk_caller caller;
	int tokens = 0;

	assert_true(kk_store_generation(store) >= 70);
	assert_string_equal(kk_store_epoch(store), "0123456789abcdef0123456789abcdef");
	assert_int_equal(kk_store_service_get(store, "ssh", &service, NULL), 0);
	assert_int_equal(service.id, 7);
	assert_int_equal(service.port, 2222);
	assert_int_equal(service.last_port, 2222);
	assert_int_equal(service.n_members, 1);
	assert_string_equal(service.members[0].name, "home");
	assert_string_equal(service.target, "127.0.0.1:22");
	assert_int_equal(kk_store_token_list(store, 1000, count_token, &tokens, NULL), 0);
	assert_int_equal(tokens, 1);
	assert_int_equal(kk_store_api_key_find(store, zeros, 1000, &caller, NULL), 0);
	assert_int_equal(caller.access, KK_OWNER);
	assert_string_equal(caller.org_name, "default");
	assert_int_equal(kk_store_agent_get(store, "home", &agent, NULL), 0);
	assert_false(agent.plain);
	agent = (struct kk_agent_row){.name = "next"};
	assert_int_equal(kk_store_agent_add(store, &agent, NULL), 0);
	assert_int_equal(agent.id, 81);
	assert_int_equal(agent.number, 0);
	assert_int_equal(kk_store_gateway_get(store, "gw1", &gateway, NULL), 0);
	assert_int_equal(gateway.id, 5);
	assert_int_equal(gateway.index, 2);
	assert_int_equal(gateway.n_addresses, 1);
	assert_int_equal(gateway.addresses[0].v4.s_addr, inet_addr("198.51.100.1"));
	assert_true(gateway.joined && gateway.has_key);
}

static void test_every_version(void **state)
{
	(void)state;
	for (int version = 0; version < KK_SCHEMA_VERSION; version++) {
		struct temporary temporary;
		struct kk_store *store;
		struct kk_err err = {0};

		temporary_make(&temporary);
		make_database(temporary_path(&temporary, "db"), version);
		if (kk_store_open(temporary_path(&temporary, "db"), &pool, &store, &err) < 0)
			fail_msg("from version %d: %s", version, err.msg);
		if (version)
			check_contents(store);
		if (version >= 3)
			check_old_rules(store);
		kk_store_close(store);
		temporary_remove(&temporary);
	}
}

/* A row that refers to nothing stops the step, and the database stays what it was. */
static void test_broken_reference(void **state)
{
	struct temporary temporary;
	struct kk_store *store;
	struct kk_err err = {0};
	sqlite3 *db;

	(void)state;
	temporary_make(&temporary);
	make_database(temporary_path(&temporary, "db"), 1);
	assert_int_equal(sqlite3_open(temporary_path(&temporary, "db"), &db), SQLITE_OK);
	run(db, "UPDATE services SET agent = 99");
	sqlite3_close(db);
	assert_int_equal(kk_store_open(temporary_path(&temporary, "db"), &pool, &store, &err),
			 -EIO);
	assert_int_equal(sqlite3_open(temporary_path(&temporary, "db"), &db), SQLITE_OK);
	run(db, "UPDATE services SET agent = 3 WHERE id = 7");
	sqlite3_close(db);
	assert_int_equal(kk_store_open(temporary_path(&temporary, "db"), &pool, &store, NULL), 0);
	check_contents(store);
	kk_store_close(store);
	temporary_remove(&temporary);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_version),
		cmocka_unit_test(test_broken_reference),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
