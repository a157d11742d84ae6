// SPDX-License-Identifier: MIT
/* The database itself: what a restart finds, and what is no database of ours. */
#include <arpa/inet.h>

#include <sqlite3.h>

#include "controld/store/accounts.h"
#include "store_world.h"
#include "util/cleanup.h"

static void test_not_found(void **state)
{
	struct world *w = *state;
	struct kk_gateway_row g;
	struct kk_agent_row a;
	struct kk_service_row s;
	struct kk_err err = {0};

	assert_int_equal(kk_store_gateway_get(w->store, "x", &g, &err), -ENOENT);
	assert_err(&err, "", "no gateway \"x\"");
	assert_int_equal(kk_store_agent_get(w->store, "x", &a, NULL), -ENOENT);
	assert_int_equal(kk_store_service_get(w->store, "x", &s, NULL), -ENOENT);
	assert_int_equal(kk_store_gateway_remove(w->store, "x", NULL), -ENOENT);
	assert_int_equal(kk_store_agent_remove(w->store, "x", NULL), -ENOENT);
	assert_int_equal(kk_store_service_remove(w->store, "x", NULL), -ENOENT);
	assert_int_equal(kk_store_token_remove(w->store, 7, NULL), -ENOENT);
	assert_int_equal(kk_store_api_key_remove(w->store, "x", NULL), -ENOENT);
	assert_int_equal(kk_store_node_revoke(w->store, KK_AGENT, "x", NULL, NULL), -ENOENT);
	assert_int_equal(w->changes, 0);
}

static void test_epoch_and_ids_stay(void **state)
{
	struct world *w = *state;
	char epoch[KK_EPOCH_LEN + 1];
	struct kk_agent_row first = add_agent(w, "a");
	int64_t generation = kk_store_generation(w->store);

	strcpy(epoch, kk_store_epoch(w->store));
	assert_int_equal(strlen(epoch), KK_EPOCH_LEN);
	reopen(w);
	assert_string_equal(kk_store_epoch(w->store), epoch);
	assert_int_equal(kk_store_generation(w->store), generation);
	/* The newest object's id is not used again, although nothing has a higher one. */
	assert_int_equal(kk_store_agent_remove(w->store, "a", NULL), 0);
	reopen(w);
	assert_int_not_equal(add_agent(w, "b").id, first.id);
}

static void sql(struct world *w, const char *text)
{
	char *message = NULL;
	sqlite3 *db;

	assert_int_equal(sqlite3_open(temporary_path(&w->temporary, "db"), &db), SQLITE_OK);
	if (sqlite3_exec(db, text, NULL, NULL, &message) != SQLITE_OK)
		fail_msg("%s", message);
	sqlite3_close(db);
}

static void test_newer_database(void **state)
{
	struct world *w = *state;
	struct kk_err err = {0};
	char text[64];

	kk_store_close(w->store);
	w->store = NULL;
	snprintf(text, sizeof(text), "PRAGMA user_version = %d", KK_SCHEMA_VERSION + 1);
	sql(w, text);
	assert_int_equal(kk_store_open(temporary_path(&w->temporary, "db"), &pool, &w->store, &err),
			 -EINVAL);
	assert_err(&err, "state", "newer version");
}

static void test_not_a_database(void **state)
{
	struct world *w = *state;
	struct kk_store *store;
	struct kk_err err = {0};
	FILE *f = fopen(temporary_path(&w->temporary, "text"), "w");

	assert_non_null(f);
	for (int i = 0; i < 1000; i++)
		fputs("this is no database\n", f);
	fclose(f);
	assert_int_equal(kk_store_open(w->temporary.path, &pool, &store, &err), -EIO);
	assert_err(&err, "state", "not a database");
}

/* What is written after the file has lost its name would be gone at the next start. */
static void test_removed_database(void **state)
{
	struct world *w = *state;
	struct kk_agent_row row = {.name = "late"};
	struct kk_err err = {0};
	int64_t before;

	add_agent(w, "a");
	before = kk_store_generation(w->store);
	assert_int_equal(unlink(temporary_path(&w->temporary, "db")), 0);
	assert_int_equal(kk_store_agent_add(w->store, &row, &err), -EIO);
	assert_err(&err, "state", "removed or replaced");
	assert_int_equal(kk_store_generation(w->store), before);
	assert_int_equal(kk_store_agent_get(w->store, "late", &row, NULL), -ENOENT);
}

static void test_pool(void **state)
{
	static const struct kk_prefix4 other = {.addr.s_addr = 0x0000000b, .len = 8};
	struct world *w = *state;
	struct kk_err err = {0};

	/* Without an Agent the pool may be another one, with one not. */
	kk_store_close(w->store);
	assert_int_equal(
		kk_store_open(temporary_path(&w->temporary, "db"), &other, &w->store, &err), 0);
	assert_int_equal(ntohl(add_agent(w, "a").subnet.addr.s_addr), 0x0b010000);
	kk_store_close(w->store);
	w->store = NULL;
	assert_int_equal(kk_store_open(temporary_path(&w->temporary, "db"), &pool, &w->store, &err),
			 -EINVAL);
	assert_err(&err, "pool", "11.0.0.0/8");
}

#define SERVICE                                                                                    \
	"INSERT INTO services (id, org, name, protocol, address, port, last_port, agent_port, "    \
	"target, proxy_protocol, limit_packets, limit_connections, drain_until, generation) VALUES "
#define MEMBER "INSERT INTO members (service, agent, org, protocol, port, last_port) VALUES "
#define RULE                                                                                       \
	"INSERT INTO access_rules (id, org, name, source_host, source_group, service, host, "      \
	"host_group, protocol, port, last_port, generation) VALUES "

/* The constraints of the schema hold without the checks in front of them. */
static void test_constraints(void **state)
{
	static const char *const refused[] = {
		"INSERT INTO gateways VALUES (9, 1, 'x', 100, '192.0.2.1', 1, NULL, NULL, NULL, 1)",
		"INSERT INTO gateways VALUES (9, 1, 'x', 255, '192.0.2.1', 1, NULL, NULL, NULL, 1)",
		"INSERT INTO gateways VALUES (9, 1, 'x', 7, '192.0.2.1', 1, x'00', NULL, NULL, 1)",
		"INSERT INTO agents VALUES (9, 1, 'x', 65024, NULL, NULL, 1, 0)",
		"INSERT INTO agents VALUES (9, 1, 'x', 5, NULL, NULL, 1, 2)",
		"INSERT INTO agents VALUES (9, 1, 'a', 5, NULL, NULL, 1, 0)",
		SERVICE "(9, 1, 'x', 6, '', 2222, 2222, 1, 't', 0, 0, 0, 0, 1)",
		SERVICE "(9, 1, 'x', 6, '', 0, 1, 1, 't', 0, 0, 0, 0, 1)",
		SERVICE "(9, 1, 'x', 6, '', 2, 1, 1, 't', 0, 0, 0, 0, 1)",
		SERVICE "(9, 1, 'x', 1, '', 1, 1, 1, 't', 0, 0, 0, 0, 1)",
		SERVICE "(9, 1, 'x', 6, '', 1, 9, 65530, 't', 0, 0, 0, 0, 1)",
		"UPDATE services SET moving = 7",
		"UPDATE members SET moving = 7",
		MEMBER "(1, 77, 1, 6, 1, 1)",
		MEMBER "(77, 1, 1, 6, 1, 1)",
		MEMBER "(1, 1, 1, 6, 1, 1)",
		"INSERT INTO gateway_addresses VALUES (77, 1, 0, '192.0.2.1', 1)",
		"INSERT INTO rules (id, org, service, prefix, allow, generation) VALUES (9, 1, 77, '192.0.2.0/24', 1, 1)",
		"INSERT INTO bans VALUES (9, 1, '192.0.2.1', 77, 0, 1)",
		"INSERT INTO join_tokens VALUES (9, 1, NULL, NULL, NULL, 1, zeroblob(32), 1)",
		"DELETE FROM agents",
		"INSERT INTO hosts VALUES (9, 1, 'ann', 1)",
		"INSERT INTO hosts VALUES (9, 77, 'x', 1)",
		"INSERT INTO host_prefixes VALUES (77, '192.0.2.0/24', 1)",
		"INSERT INTO host_prefixes VALUES (1, '192.0.2.0/24', 2)",
		"INSERT INTO group_hosts VALUES (77, 1, 1)",
		RULE "(9, 1, 'x', 77, NULL, 1, NULL, NULL, NULL, NULL, NULL, 1)",
		RULE "(9, 1, 'x', NULL, NULL, 1, NULL, NULL, NULL, NULL, NULL, 1)",
		RULE "(9, 1, 'x', 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1)",
		RULE "(9, 1, 'x', 1, NULL, 1, 1, NULL, NULL, NULL, NULL, 1)",
		RULE "(9, 1, 'x', 1, NULL, 1, NULL, NULL, 6, 1, 1, 1)",
		RULE "(9, 1, 'x', 1, NULL, NULL, 1, NULL, NULL, NULL, NULL, 1)",
		RULE "(9, 1, 'x', 1, NULL, NULL, 1, NULL, 6, 2, 1, 1)",
		RULE "(9, 1, 'x', 1, NULL, NULL, 1, NULL, 1, 1, 1, 1)",
	};
	struct kk_host_row host = {
		.name = "ann", .n_prefixes = 1, .prefixes[0].addr.family = AF_INET};
	struct world *w = *state;
	sqlite3 *db;

	add_agent(w, "a");
	add_service(w, "ssh", "a", 2222);
	assert_int_equal(kk_store_host_add(w->store, &host, NULL), 0);
	assert_int_equal(host.id, 1);
	assert_int_equal(sqlite3_open(temporary_path(&w->temporary, "db"), &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA foreign_keys = ON", NULL, NULL, NULL), SQLITE_OK);
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		if (sqlite3_exec(db, refused[i], NULL, NULL, NULL) != SQLITE_CONSTRAINT)
			fail_msg("%s: %s", refused[i], sqlite3_errmsg(db));
	sqlite3_close(db);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_not_found),	   test(test_epoch_and_ids_stay), test(test_newer_database),
		test(test_not_a_database), test(test_removed_database),	  test(test_pool),
		test(test_constraints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
