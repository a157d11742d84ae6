// SPDX-License-Identifier: MIT
/* Allowed, denied and banned prefixes, and how they end. */
#include "store_world.h"

static void test_rules(void **state)
{
	struct world *w = *state;
	struct kk_denial_row denial = {0}, same;
	struct kk_service_row row, got;
	struct kk_err err = {0};
	int changes;

	add_agent(w, "a");
	row = add_service(w, "web", "a", 80);
	row.n_rules = 2;
	kk_parse_prefix("allow", "10.0.0.0/8", &row.rules[0].prefix, NULL);
	row.rules[0].allow = true;
	kk_parse_prefix("deny", "2001:db8::/32", &row.rules[1].prefix, NULL);
	assert_int_equal(kk_store_service_set(w->store, &row, NULL), 0);
	assert_int_equal(kk_store_service_get(w->store, "web", &got, NULL), 0);
	assert_int_equal(got.n_rules, 2);
	assert_true(got.rules[0].allow && !got.rules[1].allow);
	assert_true(kk_prefix_equal(&got.rules[1].prefix, &row.rules[1].prefix));
	/* A rule that stays is not noted anew. */
	changes = w->changes;
	got.n_rules = 1;
	assert_int_equal(kk_store_service_set(w->store, &got, NULL), 0);
	assert_int_equal(w->changes - changes,
			 3); /* the service for gateways, its Agent, one rule */
	denial.prefix = row.rules[1].prefix;
	same = denial;
	assert_int_equal(kk_store_denial_add(w->store, &denial, NULL), 0);
	assert_int_equal(kk_store_denial_add(w->store, &same, &err), -EEXIST);
	assert_err(&err, "prefix", "2001:db8::/32 is denied already");
	assert_int_equal(kk_store_denial_remove(w->store, denial.id, NULL), 0);
	assert_int_equal(kk_store_denial_remove(w->store, denial.id, NULL), -ENOENT);
}

static void test_expiry(void **state)
{
	struct world *w = *state;
	struct kk_ban_row ban = {.expires_at = 1000}, got;
	struct kk_service_row row;
	char name[KK_NAME_MAX + 1];
	int64_t next;

	add_agent(w, "a");
	row = add_service(w, "web", "a", 80);
	kk_parse_address("address", "192.0.2.7", &ban.address, NULL);
	assert_int_equal(kk_store_ban_add(w->store, &ban, NULL), 0);
	ban.expires_at = 2000; /* in place of the earlier one */
	assert_int_equal(kk_store_ban_add(w->store, &ban, NULL), 0);
	row.drain_until = 1500;
	assert_int_equal(kk_store_service_set(w->store, &row, NULL), 0);
	assert_int_equal(kk_store_next_expiry(w->store, &next, NULL), 0);
	assert_int_equal(next, 1500);
	assert_int_equal(kk_store_service_expire(w->store, 1499, name, NULL), -ENOENT);
	assert_int_equal(kk_store_service_expire(w->store, 1500, name, NULL), 0);
	assert_string_equal(name, "web");
	assert_int_equal(kk_store_ban_expire(w->store, 1999, NULL), 0);
	assert_int_equal(kk_store_ban_get(w->store, ban.id, &got, NULL), 0);
	assert_int_equal(kk_store_ban_expire(w->store, 2000, NULL), 0);
	assert_int_equal(kk_store_ban_get(w->store, ban.id, &got, NULL), -ENOENT);
	assert_int_equal(kk_store_next_expiry(w->store, &next, NULL), 0);
	assert_int_equal(next, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_rules),
		test(test_expiry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
