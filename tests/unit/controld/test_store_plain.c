// SPDX-License-Identifier: MIT
/* Plain WireGuard peers, and the services of theirs. */
#include <arpa/inet.h>

#include "controld/store/accounts.h"
#include "store_world.h"
#include "util/cleanup.h"

static int add_peer(struct world *w, const char *name, uint8_t key, struct kk_err *err)
{
	struct kk_agent_row row = {.public_key = {key}, .number = KK_ANY_NUMBER};

	snprintf(row.name, sizeof(row.name), "%s", name);
	return kk_store_peer_add(w->store, &row, err);
}

static int count_agents(const struct kk_agent_row *row, void *userdata)
{
	(void)row;
	++*(int *)userdata;
	return 0;
}

/* They share numbers, names and keys with Agents, and neither is found as the other. */
static void test_plain_peers(void **state)
{
	struct world *w = *state;
	struct kk_agent_row row = {0};
	struct kk_err err = {0};
	uint8_t hash[KK_HASH_LEN] = {1};
	struct kk_token_row token = {.role = KK_AGENT, .node = "phone"};
	int agents = 0, peers = 0;

	add_agent(w, "home");
	assert_int_equal(add_peer(w, "phone", 1, NULL), 0);
	assert_int_equal(w->last.kind, KK_AGENT);
	assert_int_equal(add_peer(w, "home", 2, &err), -EEXIST);
	assert_err(&err, "name", "already an Agent home");
	kk_err_reset(&err);
	assert_int_equal(add_peer(w, "other", 1, &err), -EEXIST);
	assert_err(&err, "public_key", "another node has this key");
	snprintf(row.name, sizeof(row.name), "phone");
	kk_err_reset(&err);
	assert_int_equal(kk_store_agent_add(w->store, &row, &err), -EEXIST);
	assert_err(&err, "name", "already a peer phone");
	assert_int_equal(kk_store_agent_get(w->store, "phone", &row, NULL), -ENOENT);
	assert_int_equal(kk_store_peer_get(w->store, "home", &row, NULL), -ENOENT);
	assert_int_equal(kk_store_peer_get(w->store, "phone", &row, NULL), 0);
	assert_true(row.plain && row.has_key && !row.joined);
	assert_int_equal(row.number, 1);
	assert_int_equal(kk_store_token_add(w->store, hash, &token, &err), -EINVAL);
	assert_int_equal(kk_store_node_revoke(w->store, KK_AGENT, "phone", NULL, &err), -ENOENT);
	assert_int_equal(kk_store_agent_list(w->store, count_agents, &agents, NULL), 0);
	assert_int_equal(kk_store_peer_list(w->store, count_agents, &peers, NULL), 0);
	assert_int_equal(agents, 1);
	assert_int_equal(peers, 1);
	reopen(w);
	assert_int_equal(kk_store_agent_remove(w->store, "phone", &err), -ENOENT);
	assert_int_equal(kk_store_peer_remove(w->store, "phone", NULL), 0);
	assert_int_equal(add_peer(w, "other", 1, NULL), 0);
}

/* The address that it shall have, which says its number. */
static void test_peer_addresses(void **state)
{
	static const char *const none[] = {"10.0.1.100", "10.255.0.100",  "10.3.0.1",
					   "11.1.0.100", "9.255.255.100", "10.1.0.0"};
	struct world *w = *state;
	struct kk_agent_row row = {.name = "phone", .public_key = {1}};
	struct kk_err err = {0};
	struct in_addr address;

	for (int64_t n = 0; n < KK_AGENTS_MAX; n++) {
		const struct kk_prefix4 subnet = kk_agent_subnet(&pool, n);

		assert_int_equal(kk_agent_number(&pool, kk_subnet_host(&subnet, KK_AGENT_HOST)), n);
	}
	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		assert_int_equal(inet_pton(AF_INET, none[i], &address), 1);
		assert_int_equal(kk_agent_number(&pool, address), -EINVAL);
	}
	row.number = 1;
	assert_int_equal(kk_store_peer_add(w->store, &row, NULL), 0);
	assert_int_equal(row.number, 1);
	row = (struct kk_agent_row){.name = "tv", .public_key = {2}, .number = 1};
	assert_int_equal(kk_store_peer_add(w->store, &row, &err), -EEXIST);
	assert_err(&err, "wg_ip", "has this address");
	/* The others still get the lowest that is free. */
	assert_int_equal(add_agent(w, "home").number, 0);
	assert_int_equal(add_agent(w, "office").number, 2);
}

static int add_plain(struct world *w, const char *name, uint16_t last_port, const char *target,
		     struct kk_service_row *ret, struct kk_err *err)
{
	static uint16_t port = 8000;

	port = (uint16_t)(port + 100);
	*ret = service_row(name, "phone", IPPROTO_TCP, port);
	ret->last_port = (uint16_t)(port + last_port);
	snprintf(ret->target, sizeof(ret->target), "%s", target);
	kk_err_reset(err);
	return kk_store_service_add(w->store, ret, err);
}

/* Of such a service the peer's own port is the target. */
static void test_plain_services(void **state)
{
	struct world *w = *state;
	struct kk_service_row row, got;
	struct kk_err err = {0};

	add_agent(w, "home");
	assert_int_equal(add_peer(w, "phone", 1, NULL), 0);
	assert_int_equal(add_plain(w, "a", 0, "nas.lan:80", &row, &err), -EINVAL);
	assert_err(&err, "target", "nas.lan cannot be reached through the plain peer phone");
	assert_int_equal(add_plain(w, "a", 2, "127.0.0.1:80", &row, &err), -EINVAL);
	assert_err(&err, "target", "3 ports cannot lead to one");
	assert_int_equal(add_plain(w, "a", 2, "127.0.0.1:80-82", &row, &err), 0);
	assert_int_equal(row.agent_port, 80);
	assert_true(row.snat);
	assert_int_equal(add_plain(w, "b", 0, "10.2.0.100:82", &row, &err), -EEXIST);
	assert_err(&err, "target", "service a leads to 82/tcp of the plain peer phone already");
	assert_int_equal(add_plain(w, "b", 4, "10.2.0.100:78-82", &row, &err), -EEXIST);
	assert_int_equal(add_plain(w, "b", 0, "10.2.0.100:83", &row, &err), 0);
	assert_int_equal(kk_store_service_get(w->store, "b", &got, NULL), 0);
	assert_true(got.snat);
	assert_int_equal(got.agent_port, 83);
	/* Its own port does not stand in its own way; an Agent's are chosen again. */
	assert_int_equal(kk_store_service_set(w->store, &got, &err), 0);
	strcpy(got.members[0].name, "home");
	assert_int_equal(kk_store_service_set(w->store, &got, &err), 0);
	assert_false(got.snat);
	got.proxy_protocol = true;
	strcpy(got.members[0].name, "phone");
	kk_err_reset(&err);
	assert_int_equal(kk_store_service_set(w->store, &got, &err), -EINVAL);
	assert_err(&err, "proxy_protocol", "nobody who would write it");
	got.proxy_protocol = false;
	strcpy(got.members[1].name, "home");
	got.n_members = 2;
	kk_err_reset(&err);
	assert_int_equal(kk_store_service_set(w->store, &got, &err), -EINVAL);
	assert_err(&err, "agents", "the plain peer phone shares no service");
	kk_err_reset(&err);
	assert_int_equal(kk_store_peer_remove(w->store, "phone", &err), -EBUSY);
	assert_err(&err, "", "peer phone still has 1 service");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_plain_peers),
		test(test_peer_addresses),
		test(test_plain_services),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
