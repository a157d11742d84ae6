// SPDX-License-Identifier: MIT
/* Organisations, users, sessions: what one finds of another; and the audit log. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>

#include "controld/store/accounts.h"
#include "controld/store/audit.h"
#include "temporary.h"
#include "util/json.h"

static const struct kk_prefix4 pool = {.addr.s_addr = 0x0000000a, .len = 8}; /* 10.0.0.0 */

struct world {
	struct temporary temporary;
	struct kk_store *store;
	struct kk_org_row other;
	struct kk_err err;
};

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	temporary_make(&w->temporary);
	assert_int_equal(kk_store_open(temporary_path(&w->temporary, "db"), &pool, &w->store, NULL),
			 0);
	strcpy(w->other.name, "other");
	assert_int_equal(kk_store_org_add(w->store, &w->other, NULL), 0);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	kk_store_close(w->store);
	temporary_remove(&w->temporary);
	free(w);
	return 0;
}

static int add_agent(struct world *w, const char *name)
{
	struct kk_agent_row row = {0};

	kk_err_reset(&w->err);
	snprintf(row.name, sizeof(row.name), "%s", name);
	return kk_store_agent_add(w->store, &row, &w->err);
}

static int add_service(struct world *w, const char *name, const char *agent)
{
	struct kk_service_row row = {.protocol = IPPROTO_TCP, .port = 22, .target = "127.0.0.1:22"};

	kk_err_reset(&w->err);
	snprintf(row.name, sizeof(row.name), "%s", name);
	snprintf(row.members[0].name, sizeof(row.members[0].name), "%s", agent);
	row.n_members = 1;
	return kk_store_service_add(w->store, &row, &w->err);
}

static int add_gateway(struct world *w, const char *name)
{
	struct kk_gateway_row row = {.wg_port = 51820};

	kk_err_reset(&w->err);
	snprintf(row.name, sizeof(row.name), "%s", name);
	assert_int_equal(kk_parse_address("address", "198.51.100.1", &row.addresses[0], NULL), 0);
	row.n_addresses = 1;
	return kk_store_gateway_add(w->store, &row, &w->err);
}

static void enter(struct world *w, int64_t org)
{
	kk_store_enter(w->store, org, org == KK_ORG_FIRST ? "key admin" : "user eve", "192.0.2.9");
}

/* The same names and ports twice over, and none finds what is the other's. */
static void test_organisations_are_apart(void **state)
{
	struct world *w = *state;
	struct kk_agent_row agent;
	struct kk_service_row service;
	int64_t n;

	enter(w, KK_ORG_FIRST);
	assert_int_equal(add_agent(w, "home"), 0);
	assert_int_equal(add_agent(w, "mine"), 0);
	assert_int_equal(add_service(w, "ssh", "home"), 0);
	assert_int_equal(add_gateway(w, "secret"), 0);
	enter(w, w->other.id);
	assert_int_equal(kk_store_agent_get(w->store, "home", &agent, NULL), -ENOENT);
	assert_int_equal(add_agent(w, "home"), 0);
	assert_int_equal(kk_store_agent_get(w->store, "home", &agent, NULL), 0);
	assert_int_equal(agent.number, 2);
	assert_int_equal(add_service(w, "ssh", "mine"), -EINVAL);
	assert_string_equal(w->err.field, "agent");
	assert_int_equal(add_service(w, "ssh", "home"), 0);
	assert_int_equal(kk_store_service_count(w->store, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_int_equal(kk_store_service_remove(w->store, "ssh", NULL), 0);
	assert_int_equal(kk_store_agent_remove(w->store, "mine", NULL), -ENOENT);
	/* One address has one gateway in the world; whose it is stays untold. */
	assert_int_equal(add_gateway(w, "gw"), -EEXIST);
	assert_null(strstr(w->err.msg, "secret"));
	enter(w, KK_ORG_FIRST);
	assert_int_equal(kk_store_service_get(w->store, "ssh", &service, NULL), 0);
	enter(w, 0);
	assert_int_equal(kk_store_service_get(w->store, "ssh", &service, NULL), -ENOENT);
	assert_true(add_agent(w, "nobodys") < 0);
}

static void test_organisation_removed(void **state)
{
	struct world *w = *state;
	struct kk_user_row user = {.name = "eve", .access = KK_OWNER, .password = "x"};
	struct kk_org_row org;

	enter(w, w->other.id);
	assert_int_equal(add_agent(w, "home"), 0);
	assert_int_equal(kk_store_user_add(w->store, &user, NULL), 0);
	enter(w, KK_ORG_FIRST);
	assert_int_equal(kk_store_org_add(w->store, &w->other, NULL), -EEXIST);
	assert_int_equal(kk_store_org_remove(w->store, "other", NULL), -EBUSY);
	assert_int_equal(kk_store_org_remove(w->store, "default", NULL), -EBUSY);
	assert_int_equal(kk_store_org_remove(w->store, "none", NULL), -ENOENT);
	enter(w, w->other.id);
	assert_int_equal(kk_store_agent_remove(w->store, "home", NULL), 0);
	enter(w, KK_ORG_FIRST);
	assert_int_equal(kk_store_org_remove(w->store, "other", NULL), 0);
	assert_int_equal(kk_store_org_get(w->store, "other", &org, NULL), -ENOENT);
}

static void test_users_and_sessions(void **state)
{
	struct world *w = *state;
	struct kk_user_row ann = {.name = "ann", .access = KK_OWNER, .password = "1"};
	struct kk_user_row bob = {.name = "bob", .access = KK_VIEWER, .password = "2"};
	static const uint8_t one[KK_HASH_LEN] = {1}, two[KK_HASH_LEN] = {2};
	struct kk_caller caller;

	enter(w, w->other.id);
	assert_int_equal(kk_store_user_add(w->store, &ann, NULL), 0);
	assert_int_equal(kk_store_user_add(w->store, &bob, NULL), 0);
	assert_int_equal(kk_store_user_add(w->store, &bob, NULL), -EEXIST);
	assert_int_equal(kk_store_session_add(w->store, one, bob.id, "192.0.2.1", 100, 200, NULL),
			 0);
	assert_int_equal(kk_store_session_find(w->store, one, 199, &caller, NULL), 0);
	assert_int_equal(caller.access, KK_VIEWER);
	assert_int_equal(caller.org, w->other.id);
	assert_string_equal(caller.who, "user bob");
	assert_int_equal(kk_store_session_find(w->store, one, 200, &caller, NULL), -EACCES);
	assert_int_equal(kk_store_session_find(w->store, two, 100, &caller, NULL), -EACCES);
	/* What he may do from now on he may do with the session that he has; another password ends it. */
	bob.access = KK_ADMIN;
	assert_int_equal(kk_store_user_set(w->store, &bob, NULL), 0);
	assert_int_equal(kk_store_session_find(w->store, one, 100, &caller, NULL), 0);
	assert_int_equal(caller.access, KK_ADMIN);
	strcpy(bob.password, "3");
	assert_int_equal(kk_store_user_set(w->store, &bob, NULL), 0);
	assert_int_equal(kk_store_session_find(w->store, one, 100, &caller, NULL), -EACCES);
	/* The last owner stays one. */
	assert_int_equal(kk_store_user_remove(w->store, "ann", NULL), -EBUSY);
	ann.access = KK_ADMIN;
	assert_int_equal(kk_store_user_set(w->store, &ann, NULL), -EBUSY);
	assert_int_equal(kk_store_session_add(w->store, two, bob.id, "192.0.2.1", 100, 200, NULL),
			 0);
	assert_int_equal(kk_store_user_remove(w->store, "bob", NULL), 0);
	assert_int_equal(kk_store_session_find(w->store, two, 100, &caller, NULL), -EACCES);
}

/* ---- transactions within each other ---- */

static void test_one_transaction(void **state)
{
	struct world *w = *state;
	int64_t before = kk_store_generation(w->store);

	enter(w, KK_ORG_FIRST);
	assert_int_equal(kk_store_begin(w->store, NULL), 0);
	assert_int_equal(add_agent(w, "one"), 0);
	assert_int_equal(add_agent(w, "two"), 0);
	assert_int_equal(kk_store_latest(w->store), before + 1);
	assert_int_equal(kk_store_generation(w->store), before);
	assert_int_equal(kk_store_end(w->store, 0, NULL), 0);
	assert_int_equal(kk_store_generation(w->store), before + 1);
	/* A part that failed takes all with it, although nobody passed that on. */
	assert_int_equal(kk_store_begin(w->store, NULL), 0);
	assert_int_equal(add_agent(w, "three"), 0);
	assert_int_equal(add_agent(w, "one"), -EEXIST);
	assert_int_equal(kk_store_end(w->store, 0, NULL), -EIO);
	assert_int_equal(kk_store_generation(w->store), before + 1);
	assert_int_equal(add_agent(w, "three"), 0);
}

/* ---- the audit log ---- */

struct seen {
	int n;
	char text[16][512]; /* newest first */
};

static int collect(const struct kk_audit_row *row, void *userdata)
{
	struct seen *seen = userdata;

	assert_true(seen->n < 16);
	snprintf(seen->text[seen->n++], 512, "%s %s %s %s %s %s %s", row->who, row->from,
		 row->action, row->kind, row->object, row->before ? row->before : "-",
		 row->after ? row->after : "-");
	return 0;
}

static void read_audit(struct world *w, struct seen *seen)
{
	const struct kk_audit_filter all = {.limit = 16};

	seen->n = 0;
	assert_int_equal(kk_store_audit_list(w->store, &all, collect, seen, NULL), 0);
}

static void test_audit(void **state)
{
	struct world *w = *state;
	const struct kk_audit_filter services = {.kind = "service", .object = "ssh", .limit = 1};
	struct kk_service_row row;
	uint8_t key[KK_KEY_LEN] = {0xab};
	struct seen seen;

	enter(w, w->other.id);
	assert_int_equal(add_agent(w, "home"), 0);
	assert_int_equal(add_service(w, "ssh", "home"), 0);
	assert_int_equal(kk_store_service_get(w->store, "ssh", &row, NULL), 0);
	row.port = 23;
	assert_int_equal(kk_store_service_set(w->store, &row, NULL), 0);
	assert_int_equal(add_service(w, "bad", "nobody"), -EINVAL);
	kk_store_enter(w->store, w->other.id, "agent home", "192.0.2.5");
	assert_int_equal(kk_store_node_set_key(w->store, KK_AGENT, 1, key, NULL), 0);
	read_audit(w, &seen);
	/* The organisation's own making is there too, by who made it. */
	assert_int_equal(seen.n, 7);
	assert_non_null(strstr(seen.text[0], "agent home 192.0.2.5 set agent home {"));
	assert_non_null(strstr(seen.text[0], "\"public_key\":\"ab00"));
	assert_non_null(strstr(seen.text[1], "user eve 192.0.2.9 set service-agent ssh {"));
	assert_non_null(strstr(seen.text[1], "\"agent\":\"home\""));
	assert_non_null(strstr(seen.text[2], "user eve 192.0.2.9 set service ssh {"));
	assert_non_null(strstr(seen.text[2], "\"port\":22"));
	assert_non_null(strstr(seen.text[2], "\"port\":23"));
	assert_non_null(strstr(seen.text[4], "add service ssh - {"));
	assert_non_null(strstr(seen.text[6], "control  add organisation other - {"));
	seen.n = 0;
	assert_int_equal(kk_store_audit_list(w->store, &services, collect, &seen, NULL), 0);
	assert_int_equal(seen.n, 1);
	assert_non_null(strstr(seen.text[0], "set service ssh"));
	enter(w, KK_ORG_FIRST);
	read_audit(w, &seen);
	assert_int_equal(seen.n, 0);
}

static void test_audit_has_no_secrets(void **state)
{
	struct world *w = *state;
	struct kk_user_row ann = {.name = "ann", .access = KK_OWNER, .password = "word-of-ann"};
	struct kk_api_key_row key = {.name = "k", .access = KK_OWNER};
	uint8_t hash[KK_HASH_LEN];
	struct seen seen;

	memset(hash, 0xcd, sizeof(hash));
	enter(w, w->other.id);
	assert_int_equal(kk_store_user_add(w->store, &ann, NULL), 0);
	strcpy(ann.password, "another-word");
	assert_int_equal(kk_store_user_set(w->store, &ann, NULL), 0);
	assert_int_equal(kk_store_api_key_add(w->store, hash, &key, NULL), 0);
	read_audit(w, &seen);
	assert_int_equal(seen.n, 4);
	assert_non_null(strstr(seen.text[0], "cdcdcdcd"));
	assert_null(strstr(seen.text[0], "cdcdcdcdcd"));
	/* That there is another password is told. */
	assert_non_null(strstr(seen.text[1], "set user ann"));
	for (int i = 0; i < seen.n; i++)
		assert_null(strstr(seen.text[i], "word"));
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_organisations_are_apart),
		test(test_organisation_removed),
		test(test_users_and_sessions),
		test(test_one_transaction),
		test(test_audit),
		test(test_audit_has_no_secrets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
