// SPDX-License-Identifier: MIT
/* From a configuration to peers and addresses, and the difference between two of them. */
#include "gatewayd/peers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#include "tests/unit/kk_test.h"

static struct kk_prefix4 prefix(const char *text, uint8_t len)
{
	struct kk_prefix4 p = {.len = len};

	assert_int_equal(inet_pton(AF_INET, text, &p.addr), 1);
	return p;
}

static struct kk_agent agent(int64_t id, const char *name, const char *subnet, uint8_t key)
{
	struct kk_agent a = {.id = id, .subnet = prefix(subnet, 24), .has_key = key != 0};

	strcpy(a.name, name);
	memset(a.public_key, key, KK_KEY_LEN);
	return a;
}

static struct peers wanted(struct kk_agent *agents, size_t n)
{
	struct kk_config config = {
		.self = {.index = 7, .wg_port = 51820}, .agents = agents, .n_agents = n};
	struct kk_err err = {0};
	struct peers p;

	if (peers_wanted(&config, &p, &err) < 0)
		fail_msg("%s", err.msg);
	return p;
}

static void test_wanted(void **state)
{
	struct kk_agent agents[] = {agent(1, "a", "10.1.0.0", 9), agent(2, "b", "10.2.0.0", 0),
				    agent(3, "c", "10.3.0.0", 4)};
	struct peers p = wanted(agents, 3);

	(void)state;
	assert_int_equal(p.port, 51820);
	/* Sorted by key; who has none yet is no peer, but has its address here. */
	assert_int_equal(p.n_peers, 2);
	assert_int_equal(p.peers[0].public_key[0], 4);
	assert_int_equal(p.peers[0].n_allowed, 1);
	assert_int_equal(p.peers[0].allowed[0].addr.s_addr, inet_addr("10.3.0.0"));
	assert_int_equal(p.peers[0].allowed[0].len, 24);
	assert_int_equal(p.peers[0].keepalive, 0);
	assert_int_equal(p.peers[0].endpoint.any.sa_family, 0);
	assert_int_equal(p.peers[1].public_key[0], 9);
	assert_int_equal(p.n_addresses, 3);
	assert_int_equal(p.addresses[0].addr.v4.s_addr, inet_addr("10.1.0.7"));
	assert_int_equal(p.addresses[2].addr.v4.s_addr, inet_addr("10.3.0.7"));
	assert_int_equal(p.addresses[2].len, 24);
	peers_clean(&p);
}

static void test_same_key_twice(void **state)
{
	struct kk_agent agents[] = {agent(1, "a", "10.1.0.0", 9), agent(2, "b", "10.2.0.0", 9)};
	struct kk_config config = {.agents = agents, .n_agents = 2};
	struct kk_err err = {0};
	struct peers p;

	(void)state;
	assert_int_equal(peers_wanted(&config, &p, &err), -EEXIST);
	assert_err(&err, "public_key", "Agents a and b");
}

static void test_same_subnet_twice(void **state)
{
	struct kk_agent agents[] = {agent(1, "a", "10.1.0.0", 9), agent(2, "b", "10.1.0.0", 8)};
	struct kk_config config = {.agents = agents, .n_agents = 2};
	struct kk_err err = {0};
	struct peers p;

	(void)state;
	assert_int_equal(peers_wanted(&config, &p, &err), -EEXIST);
	assert_err(&err, "subnet", "Agents a and b");
}

static void test_outside_the_pool(void **state)
{
	struct kk_agent agents[] = {agent(1, "a", "10.1.0.0", 9), agent(2, "b", "11.1.0.0", 8)};
	struct kk_config config = {.agents = agents, .n_agents = 2};
	struct kk_err err = {0};
	struct peers p;

	(void)state;
	config.self.pool = prefix("10.0.0.0", 8);
	assert_int_equal(peers_wanted(&config, &p, &err), -EINVAL);
	assert_err(&err, "subnet", "11.1.0.0/24");
	config.n_agents = 1;
	assert_int_equal(peers_wanted(&config, &p, &err), 0);
	peers_clean(&p);
}

static void test_lookup(void **state)
{
	struct wgctl_peer peers[] = {{.public_key = {7}}, {.public_key = {3}}, {.public_key = {5}}};
	struct wgctl_device device = {.peers = peers, .n_peers = 3}, none = {0};
	uint8_t key[KK_KEY_LEN] = {5};

	(void)state;
	peers_sort(&device);
	assert_ptr_equal(peers_lookup(&device, key), &peers[1]);
	key[31] = 1;
	assert_null(peers_lookup(&device, key));
	peers_sort(&none);
	assert_null(peers_lookup(&none, key));
}

static void test_nothing_to_change(void **state)
{
	struct kk_agent agents[] = {agent(1, "a", "10.1.0.0", 9), agent(3, "c", "10.3.0.0", 4)};
	struct peers from = wanted(agents, 2), to = wanted(agents, 2);
	struct peers_change c;

	(void)state;
	/* What the engine has learnt meanwhile is no difference. */
	from.peers[0].endpoint.any.sa_family = AF_INET;
	from.peers[0].last_handshake = 12;
	from.peers[0].rx_bytes = 1;
	assert_int_equal(peers_compare(&from, &to, &c), 0);
	assert_int_equal(c.n_set + c.n_removed + c.n_addresses_added + c.n_addresses_removed, 0);
	peers_change_clean(&c);
	peers_clean(&from);
	peers_clean(&to);
}

static void test_differences(void **state)
{
	struct kk_agent before[] = {agent(1, "a", "10.1.0.0", 1), agent(2, "b", "10.2.0.0", 2),
				    agent(3, "c", "10.3.0.0", 3), agent(4, "d", "10.4.0.0", 4)};
	/* a stays, b has a new key, c is gone, d's subnet is another, e is new */
	struct kk_agent after[] = {agent(1, "a", "10.1.0.0", 1), agent(2, "b", "10.2.0.0", 9),
				   agent(4, "d", "10.5.0.0", 4), agent(5, "e", "10.6.0.0", 5)};
	struct peers from = wanted(before, 4), to = wanted(after, 4);
	struct peers_change c;

	(void)state;
	assert_int_equal(peers_compare(&from, &to, &c), 0);
	assert_int_equal(c.n_set, 3);
	assert_int_equal(c.set[0]->public_key[0], 4);
	assert_int_equal(c.set[0]->allowed[0].addr.s_addr, inet_addr("10.5.0.0"));
	assert_int_equal(c.set[1]->public_key[0], 5);
	assert_int_equal(c.set[2]->public_key[0], 9);
	assert_int_equal(c.n_removed, 2);
	assert_int_equal(c.removed[0]->public_key[0], 2);
	assert_int_equal(c.removed[1]->public_key[0], 3);
	assert_int_equal(c.n_addresses_added, 2);
	assert_int_equal(c.addresses_added[0]->addr.v4.s_addr, inet_addr("10.5.0.7"));
	assert_int_equal(c.addresses_added[1]->addr.v4.s_addr, inet_addr("10.6.0.7"));
	assert_int_equal(c.n_addresses_removed, 2);
	assert_int_equal(c.addresses_removed[0]->addr.v4.s_addr, inet_addr("10.3.0.7"));
	assert_int_equal(c.addresses_removed[1]->addr.v4.s_addr, inet_addr("10.4.0.7"));
	peers_change_clean(&c);
	peers_clean(&from);
	peers_clean(&to);
}

/* A peer that somebody gave more than its /24 is set right. */
static void test_foreign_settings(void **state)
{
	struct kk_agent agents[] = {agent(1, "a", "10.1.0.0", 1), agent(2, "b", "10.2.0.0", 2),
				    agent(3, "c", "10.3.0.0", 3)};
	struct peers from = wanted(agents, 3), to = wanted(agents, 3);
	struct peers_change c;

	(void)state;
	from.peers[0].allowed[1] = prefix("10.9.0.0", 24);
	from.peers[0].n_allowed = 2;
	from.peers[1].allowed_other = true;
	from.peers[2].keepalive = 25;
	assert_int_equal(peers_compare(&from, &to, &c), 0);
	assert_int_equal(c.n_set, 3);
	assert_int_equal(c.n_removed, 0);
	peers_change_clean(&c);
	peers_clean(&from);
	peers_clean(&to);
}

static void test_found(void **state)
{
	struct wgctl_peer peers[] = {{.public_key = {7}}, {.public_key = {3}}};
	struct wgctl_device device = {.listen_port = 5, .peers = peers, .n_peers = 2};
	struct kk_prefix *addresses = calloc(2, sizeof(*addresses));
	struct kk_err err = {0};
	struct peers p;

	(void)state;
	assert_non_null(addresses);
	addresses[0] =
		(struct kk_prefix){{.family = AF_INET, .v4.s_addr = inet_addr("10.2.0.7")}, 24};
	addresses[1] =
		(struct kk_prefix){{.family = AF_INET, .v4.s_addr = inet_addr("10.1.0.7")}, 24};
	assert_int_equal(peers_found(&device, addresses, 2, &p, &err), 0);
	assert_int_equal(p.port, 5);
	assert_int_equal(p.peers[0].public_key[0], 3);
	assert_int_equal(p.addresses[0].addr.v4.s_addr, inet_addr("10.1.0.7"));
	peers_clean(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wanted),
		cmocka_unit_test(test_same_key_twice),
		cmocka_unit_test(test_same_subnet_twice),
		cmocka_unit_test(test_outside_the_pool),
		cmocka_unit_test(test_lookup),
		cmocka_unit_test(test_nothing_to_change),
		cmocka_unit_test(test_differences),
		cmocka_unit_test(test_foreign_settings),
		cmocka_unit_test(test_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
