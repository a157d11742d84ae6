// SPDX-License-Identifier: MIT
/* Join tokens, and the keys of nodes and administrators. */
#include "controld/store/accounts.h"
#include "store_world.h"

static void make_hash(uint8_t hash[KK_HASH_LEN], int n)
{
	memset(hash, n, KK_HASH_LEN);
}

static int join(struct world *w, int secret, int key, int64_t now, struct kk_err *err)
{
	uint8_t secret_hash[KK_HASH_LEN], key_hash[KK_HASH_LEN];
	char name[KK_NAME_MAX + 1];
	enum kk_kind role;
	int64_t id;

	make_hash(secret_hash, secret);
	make_hash(key_hash, key);
	return kk_store_token_spend(w->store, secret_hash, key_hash, now, "192.0.2.7", &role, &id,
				    name, err);
}

static void add_token(struct world *w, enum kk_kind role, const char *node, int secret,
		      int64_t expires_at)
{
	struct kk_token_row row = {.role = role, .expires_at = expires_at};
	uint8_t hash[KK_HASH_LEN];
	struct kk_err err = {0};

	make_hash(hash, secret);
	snprintf(row.node, sizeof(row.node), "%s", node);
	if (kk_store_token_add(w->store, hash, &row, &err) < 0)
		fail_msg("%s", err.msg);
}

static int find_node(struct world *w, int key, enum kk_kind *role, char name[KK_NAME_MAX + 1])
{
	uint8_t hash[KK_HASH_LEN];
	int64_t id;

	make_hash(hash, key);
	return kk_store_node_find(w->store, hash, role, &id, name, NULL);
}

static int count_token(const struct kk_token_row *row, void *userdata)
{
	assert_string_equal(row->node, "a");
	++*(int *)userdata;
	return 0;
}

static void test_tokens(void **state)
{
	struct world *w = *state;
	struct kk_token_row bad = {.role = KK_GATEWAY, .node = "a"};
	uint8_t hash[KK_HASH_LEN] = {9};
	char name[KK_NAME_MAX + 1];
	struct kk_err err = {0};
	enum kk_kind role;
	int n = 0;

	add_agent(w, "a");
	assert_int_equal(kk_store_token_add(w->store, hash, &bad, &err), -EINVAL);
	assert_err(&err, "node", "no gateway \"a\"");
	add_token(w, KK_AGENT, "a", 1, 1000);
	add_token(w, KK_AGENT, "a", 2, 2000);
	assert_int_equal(kk_store_token_list(w->store, 1500, count_token, &n, NULL), 0);
	assert_int_equal(n, 1);
	kk_err_reset(&err);
	assert_int_equal(join(w, 1, 101, 1000, &err), -EACCES);
	assert_err(&err, "token", "expired");
	kk_err_reset(&err);
	assert_int_equal(join(w, 3, 101, 1000, &err), -EACCES);
	assert_err(&err, "token", "unknown");
	assert_int_equal(find_node(w, 101, &role, name), -EACCES);
	assert_int_equal(join(w, 2, 101, 1000, NULL), 0);
	assert_int_equal(find_node(w, 101, &role, name), 0);
	assert_int_equal(role, KK_AGENT);
	assert_string_equal(name, "a");
	kk_err_reset(&err);
	assert_int_equal(join(w, 2, 102, 1000, &err), -EACCES);
	assert_err(&err, "token", "used");
	/* Another join gives another key, and the first is worth nothing any more. */
	add_token(w, KK_AGENT, "a", 4, 2000);
	assert_int_equal(join(w, 4, 103, 1000, NULL), 0);
	assert_int_equal(find_node(w, 101, &role, name), -EACCES);
	assert_int_equal(find_node(w, 103, &role, name), 0);
	/* Revoking a node revokes what it could come in again with, and no other node's. */
	add_agent(w, "b");
	add_token(w, KK_AGENT, "a", 6, 2000);
	add_token(w, KK_AGENT, "b", 7, 2000);
	assert_int_equal(kk_store_node_revoke(w->store, KK_AGENT, "a", NULL, NULL), 0);
	kk_err_reset(&err);
	assert_int_equal(join(w, 6, 104, 1000, &err), -EACCES);
	assert_err(&err, "token", "removed");
	kk_err_reset(&err);
	assert_int_equal(join(w, 4, 104, 1000, &err), -EACCES);
	assert_err(&err, "token", "used");
	assert_int_equal(join(w, 7, 104, 1000, NULL), 0);
	/* A token goes with its node. */
	add_token(w, KK_AGENT, "a", 5, 2000);
	assert_int_equal(kk_store_agent_remove(w->store, "a", NULL), 0);
	kk_err_reset(&err);
	assert_int_equal(join(w, 5, 105, 1000, &err), -EACCES);
}

static void test_node_keys(void **state)
{
	struct world *w = *state;
	uint8_t key[KK_KEY_LEN], other[KK_KEY_LEN];
	char name[KK_NAME_MAX + 1];
	struct kk_gateway_row g = add_gateway(w, "gw1", "198.51.100.1");
	struct kk_agent_row a = add_agent(w, "a"), got;
	struct kk_err err = {0};
	enum kk_kind role;
	int64_t generation, id;

	make_hash(key, 1);
	make_hash(other, 2);
	add_token(w, KK_AGENT, "a", 1, 1000);
	assert_int_equal(join(w, 1, 101, 0, NULL), 0);
	assert_int_equal(kk_store_node_set_key(w->store, KK_AGENT, a.id, key, NULL), 0);
	generation = kk_store_generation(w->store);
	/* The same again is no change. */
	assert_int_equal(kk_store_node_set_key(w->store, KK_AGENT, a.id, key, NULL), 0);
	assert_int_equal(kk_store_generation(w->store), generation);
	assert_int_equal(kk_store_node_set_key(w->store, KK_GATEWAY, g.id, key, &err), -EEXIST);
	assert_err(&err, "public_key", "another node");
	assert_int_equal(kk_store_node_set_key(w->store, KK_GATEWAY, g.id, other, NULL), 0);
	assert_int_equal(kk_store_agent_get(w->store, "a", &got, NULL), 0);
	assert_true(got.joined && got.has_key);
	assert_memory_equal(got.public_key, key, KK_KEY_LEN);
	/* Revoked: neither Control nor a gateway knows it any more. */
	generation = kk_store_generation(w->store);
	assert_int_equal(kk_store_node_revoke(w->store, KK_AGENT, "a", &id, NULL), 0);
	assert_int_equal(id, a.id);
	assert_int_equal(kk_store_generation(w->store), generation + 1);
	assert_int_equal(kk_store_agent_get(w->store, "a", &got, NULL), 0);
	assert_false(got.joined || got.has_key);
	assert_int_equal(find_node(w, 101, &role, name), -EACCES);
}

static int find_key(struct world *w, const uint8_t hash[KK_HASH_LEN])
{
	struct kk_caller caller;

	return kk_store_api_key_find(w->store, hash, 1000, &caller, NULL);
}

static void test_api_keys(void **state)
{
	struct world *w = *state;
	struct kk_api_key_row row = {.name = "one", .access = KK_OWNER},
			      guest = {.name = "guest", .access = KK_VIEWER, .expires_at = 1000};
	uint8_t one[KK_HASH_LEN], two[KK_HASH_LEN], three[KK_HASH_LEN];
	struct kk_caller caller;
	struct kk_err err = {0};

	make_hash(one, 1);
	make_hash(two, 2);
	make_hash(three, 3);
	assert_int_equal(find_key(w, one), -EACCES);
	assert_int_equal(kk_store_api_key_add(w->store, one, &row, NULL), 0);
	assert_int_equal(kk_store_api_key_add(w->store, two, &row, &err), -EEXIST);
	assert_int_equal(find_key(w, one), 0);
	assert_int_equal(kk_store_api_key_add(w->store, three, &guest, NULL), 0);
	assert_int_equal(find_key(w, three), -EACCES);
	assert_int_equal(kk_store_api_key_find(w->store, three, 999, &caller, NULL), 0);
	assert_int_equal(caller.access, KK_VIEWER);
	assert_int_equal(caller.org, KK_ORG_FIRST);
	assert_string_equal(caller.who, "key guest");
	kk_err_reset(&err);
	assert_int_equal(kk_store_api_key_remove(w->store, "one", &err), -EBUSY);
	assert_err(&err, "", "last");
	assert_int_equal(find_key(w, one), 0);
	assert_int_equal(kk_store_api_key_put(w->store, two, "two", NULL), 0);
	assert_int_equal(kk_store_api_key_remove(w->store, "one", NULL), 0);
	assert_int_equal(find_key(w, one), -EACCES);
	assert_int_equal(kk_store_api_key_put(w->store, one, "two", NULL), 0);
	assert_int_equal(find_key(w, two), -EACCES);
	assert_int_equal(kk_store_api_key_find(w->store, one, 0, &caller, NULL), 0);
	assert_int_equal(caller.access, KK_OWNER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_tokens),
		test(test_node_keys),
		test(test_api_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
