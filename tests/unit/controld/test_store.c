// SPDX-License-Identifier: MIT
/* The store: what is allocated, what is refused, what the change log tells, and what a restart finds. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>

#include <sqlite3.h>

#include "controld/store/accounts.h"
#include "controld/store/store.h"
#include "temporary.h"
#include "util/cleanup.h"

static const struct kk_prefix4 pool = {.addr.s_addr = 0x0000000a, .len = 8}; /* 10.0.0.0 */

struct world {
	struct temporary temporary;
	struct kk_store *store;
	struct kk_err err;
	struct kk_change last;
	int changes;
};

static void on_change(const struct kk_change *changes, size_t n, void *userdata)
{
	struct world *w = userdata;

	w->last = changes[n - 1];
	w->changes += (int)n;
}

static void open_store(struct world *w)
{
	struct kk_err err = {0};

	if (kk_store_open(temporary_path(&w->temporary, "db"), &pool, &w->store, &err) < 0)
		fail_msg("%s", err.msg);
	kk_store_on_change(w->store, on_change, w);
}

static void reopen(struct world *w)
{
	kk_store_close(w->store);
	w->store = NULL;
	open_store(w);
}

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	temporary_make(&w->temporary);
	open_store(w);
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

static struct kk_agent_row add_agent(struct world *w, const char *name)
{
	struct kk_agent_row row = {0};
	struct kk_err err = {0};

	snprintf(row.name, sizeof(row.name), "%s", name);
	if (kk_store_agent_add(w->store, &row, &err) < 0)
		fail_msg("%s: %s", name, err.msg);
	return row;
}

static struct kk_gateway_row gateway_row(const char *name, const char *address, uint16_t wg_port)
{
	struct kk_gateway_row row = {.wg_port = wg_port};

	snprintf(row.name, sizeof(row.name), "%s", name);
	assert_int_equal(kk_parse_address("address", address, &row.addresses[0], NULL), 0);
	row.n_addresses = 1;
	return row;
}

static struct kk_gateway_row add_gateway(struct world *w, const char *name, const char *address)
{
	struct kk_gateway_row row = gateway_row(name, address, 51820);
	struct kk_err err = {0};

	if (kk_store_gateway_add(w->store, &row, &err) < 0)
		fail_msg("%s: %s", name, err.msg);
	return row;
}

static struct kk_service_row service_row(const char *name, const char *agent, uint8_t protocol,
					 uint16_t port)
{
	struct kk_service_row row = {.protocol = protocol, .port = port, .target = "127.0.0.1:22"};

	snprintf(row.name, sizeof(row.name), "%s", name);
	snprintf(row.members[0].name, sizeof(row.members[0].name), "%s", agent);
	row.n_members = 1;
	return row;
}

static struct kk_service_row add_service(struct world *w, const char *name, const char *agent,
					 uint16_t port)
{
	struct kk_service_row row = service_row(name, agent, IPPROTO_TCP, port);
	struct kk_err err = {0};

	if (kk_store_service_add(w->store, &row, &err) < 0)
		fail_msg("%s: %s", name, err.msg);
	return row;
}

/* ---- addresses ---- */

static void assert_subnet(int64_t number, const char *wanted)
{
	struct kk_prefix4 subnet = kk_agent_subnet(&pool, number);
	char text[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &subnet.addr, text, sizeof(text));
	assert_string_equal(text, wanted);
	assert_int_equal(subnet.len, 24);
}

static void test_subnets(void **state)
{
	(void)state;
	assert_subnet(0, "10.1.0.0");
	assert_subnet(1, "10.2.0.0");
	assert_subnet(253, "10.254.0.0");
	assert_subnet(254, "10.1.1.0");
	assert_subnet(255, "10.2.1.0");
	assert_subnet(KK_AGENTS_MAX - 1, "10.254.255.0");
}

/* Every number has a subnet of its own within the pool. */
static void test_subnets_differ(void **state)
{
	static bool seen[1 << 16];

	(void)state;
	for (int64_t n = 0; n < KK_AGENTS_MAX; n++) {
		uint32_t addr = ntohl(kk_agent_subnet(&pool, n).addr.s_addr);

		assert_int_equal(addr >> 24, 10);
		assert_int_equal(addr & 0xff, 0);
		assert_false(seen[addr >> 8 & 0xffff]);
		seen[addr >> 8 & 0xffff] = true;
	}
}

static void test_all_agents(void **state)
{
	struct world *w = *state;
	struct kk_agent_row row = {.name = "one-more"};
	struct kk_err err = {0};
	char name[KK_NAME_MAX + 1];

	for (int64_t n = 0; n < KK_AGENTS_MAX; n++) {
		snprintf(name, sizeof(name), "a%lld", (long long)n);
		assert_int_equal(add_agent(w, name).number, n);
	}
	assert_int_equal(kk_store_agent_add(w->store, &row, &err), -ENOSPC);
	assert_err(&err, "", "65024");
	/* What is given back is used again, the lowest first; also after a restart. */
	assert_int_equal(kk_store_agent_remove(w->store, "a60000", NULL), 0);
	assert_int_equal(kk_store_agent_remove(w->store, "a300", NULL), 0);
	assert_int_equal(kk_store_agent_remove(w->store, "a0", NULL), 0);
	assert_int_equal(add_agent(w, "again").number, 0);
	reopen(w);
	assert_int_equal(add_agent(w, "again2").number, 300);
	assert_int_equal(add_agent(w, "again3").number, 60000);
	assert_int_equal(kk_store_agent_add(w->store, &row, NULL), -ENOSPC);
}

static void test_gateway_indexes(void **state)
{
	struct world *w = *state;
	struct kk_gateway_row row = gateway_row("one-more", "203.0.113.1", 1);
	struct kk_err err = {0};

	for (int i = 1; i <= 254; i++) {
		char name[16], address[32];

		if (i == 100)
			continue;
		snprintf(name, sizeof(name), "g%d", i);
		snprintf(address, sizeof(address), "198.51.100.%d", i);
		assert_int_equal(add_gateway(w, name, address).index, i);
	}
	assert_int_equal(kk_store_gateway_add(w->store, &row, &err), -ENOSPC);
	assert_int_equal(kk_store_gateway_remove(w->store, "g254", NULL), 0);
	assert_int_equal(kk_store_gateway_remove(w->store, "g99", NULL), 0);
	assert_int_equal(kk_store_gateway_remove(w->store, "g101", NULL), 0);
	assert_int_equal(add_gateway(w, "x", "203.0.113.2").index, 99);
	assert_int_equal(add_gateway(w, "y", "203.0.113.3").index, 101);
	assert_int_equal(add_gateway(w, "z", "203.0.113.4").index, 254);
}

/* ---- what is refused, and changes nothing ---- */

static void test_gateway_conflicts(void **state)
{
	struct world *w = *state;
	struct kk_gateway_row row = gateway_row("gw1", "198.51.100.9", 51820);
	struct kk_service_row udp = service_row("udp", "a", IPPROTO_UDP, 4000);
	struct kk_err err = {0};
	int64_t generation;

	add_gateway(w, "gw1", "198.51.100.1");
	add_agent(w, "a");
	assert_int_equal(kk_store_service_add(w->store, &udp, NULL), 0);
	generation = kk_store_generation(w->store);
	assert_int_equal(kk_store_gateway_add(w->store, &row, &err), -EEXIST);
	assert_err(&err, "name", "gw1");
	kk_err_reset(&err);
	row = gateway_row("gw2", "198.51.100.1", 51820);
	assert_int_equal(kk_store_gateway_add(w->store, &row, &err), -EEXIST);
	assert_err(&err, "address", "gateway gw1");
	kk_err_reset(&err);
	row = gateway_row("gw2", "198.51.100.2", 4000);
	assert_int_equal(kk_store_gateway_add(w->store, &row, &err), -EEXIST);
	assert_err(&err, "wg_port", "service udp");
	assert_int_equal(kk_store_generation(w->store), generation);
}

static void test_service_conflicts(void **state)
{
	struct world *w = *state;
	struct kk_service_row row = service_row("ssh", "a", IPPROTO_TCP, 1);
	struct kk_err err = {0};
	int64_t generation;
	int changes;

	add_gateway(w, "gw1", "198.51.100.1");
	add_agent(w, "a");
	add_service(w, "ssh", "a", 2222);
	generation = kk_store_generation(w->store);
	changes = w->changes;
	assert_int_equal(kk_store_service_add(w->store, &row, &err), -EEXIST);
	assert_err(&err, "name", "ssh");
	kk_err_reset(&err);
	row = service_row("other", "a", IPPROTO_TCP, 2222);
	assert_int_equal(kk_store_service_add(w->store, &row, &err), -EEXIST);
	assert_err(&err, "port", "2222/tcp is taken by service ssh");
	kk_err_reset(&err);
	row = service_row("other", "nobody", IPPROTO_TCP, 1);
	assert_int_equal(kk_store_service_add(w->store, &row, &err), -EINVAL);
	assert_err(&err, "agent", "nobody");
	kk_err_reset(&err);
	row = service_row("other", "a", IPPROTO_UDP, 51820);
	assert_int_equal(kk_store_service_add(w->store, &row, &err), -EEXIST);
	assert_err(&err, "port", "51820/udp is used by gateway gw1");
	kk_err_reset(&err);
	assert_int_equal(kk_store_agent_remove(w->store, "a", &err), -EBUSY);
	assert_err(&err, "", "still has 1 service");
	assert_int_equal(kk_store_generation(w->store), generation);
	assert_int_equal(w->changes, changes);
	/* The same number is another port with another protocol. */
	row = service_row("other", "a", IPPROTO_UDP, 2222);
	assert_int_equal(kk_store_service_add(w->store, &row, NULL), 0);
	row = service_row("third", "a", IPPROTO_TCP, 51820);
	assert_int_equal(kk_store_service_add(w->store, &row, NULL), 0);
}

/* Adds a range of @agents ("a" or "a,b") on @address ("": none) and returns what came of it. */
static int add_range(struct world *w, const char *name, const char *agents, uint16_t port,
		     uint16_t last, const char *address, struct kk_service_row *ret,
		     struct kk_err *err)
{
	struct kk_service_row row = service_row(name, "", IPPROTO_UDP, port);

	row.last_port = last;
	row.n_members = 0;
	for (; *agents; agents += agents[1] ? 2 : 1)
		row.members[row.n_members++].name[0] = *agents;
	if (*address)
		assert_int_equal(kk_parse_address("address", address, &row.address, NULL), 0);
	kk_err_reset(err);
	*ret = row;
	return kk_store_service_add(w->store, ret, err);
}

static void test_ranges(void **state)
{
	struct world *w = *state;
	struct kk_service_row row;
	struct kk_err err = {0};

	add_gateway(w, "gw1", "198.51.100.1");
	add_agent(w, "a");
	assert_int_equal(add_range(w, "game", "a", 2000, 2100, "", &row, &err), 0);
	assert_int_equal(row.agent_port, 2000);
	assert_int_equal(add_range(w, "x", "a", 2100, 2200, "", &row, &err), -EEXIST);
	assert_err(&err, "port", "2100-2200/udp of service x overlaps 2000-2100 of service game");
	assert_int_equal(add_range(w, "x", "a", 1900, 2000, "", &row, &err), -EEXIST);
	assert_int_equal(add_range(w, "x", "a", 2050, 2050, "", &row, &err), -EEXIST);
	assert_int_equal(add_range(w, "x", "a", 1000, 3000, "", &row, &err), -EEXIST);
	assert_err(&err, "port", "overlaps 2000-2100");
	assert_int_equal(add_range(w, "x", "a", 51000, 52000, "", &row, &err), -EEXIST);
	assert_err(&err, "port", "51820/udp is used by gateway gw1 for WireGuard");
	assert_int_equal(add_range(w, "below", "a", 1990, 1999, "", &row, &err), 0);
	assert_int_equal(add_range(w, "above", "a", 2101, 2200, "", &row, &err), 0);
	reopen(w);
	assert_int_equal(kk_store_service_get(w->store, "game", &row, NULL), 0);
	assert_int_equal(row.last_port, 2100);
}

/* The same port on another address is another service, with other ports on the Agent. */
static void test_addresses(void **state)
{
	struct kk_gateway_row gw = gateway_row("gw1", "198.51.100.1", 51820);
	struct world *w = *state;
	struct kk_service_row row;
	struct kk_err err = {0};

	kk_parse_address("address", "198.51.100.2", &gw.addresses[1], NULL);
	kk_parse_address("address", "2001:db8::1", &gw.addresses[2], NULL);
	gw.n_addresses = 3;
	assert_int_equal(kk_store_gateway_add(w->store, &gw, NULL), 0);
	add_agent(w, "a");
	assert_int_equal(add_range(w, "all", "a", 2000, 2009, "", &row, &err), 0);
	assert_int_equal(add_range(w, "x", "a", 2005, 2005, "198.51.100.1", &row, &err), -EEXIST);
	assert_int_equal(add_range(w, "x", "a", 2005, 2005, "2001:db8::1", &row, &err), -EEXIST);
	assert_err(&err, "port", "overlaps 2000-2009 of service all");
	assert_int_equal(add_range(w, "x", "a", 2005, 2005, "192.0.2.1", &row, &err), -EINVAL);
	assert_err(&err, "address", "no gateway has the address 192.0.2.1");
	assert_int_equal(add_range(w, "second", "a", 2005, 2014, "198.51.100.2", &row, &err), 0);
	assert_int_equal(row.agent_port, 1024);
	assert_int_equal(add_range(w, "x", "a", 2014, 2014, "198.51.100.2", &row, &err), -EEXIST);
	assert_err(&err, "port", "of 198.51.100.2 of service second");
	/* They would meet if the second address became the first, and one must not lose its address. */
	gw.addresses[0] = gw.addresses[1];
	gw.n_addresses = 1;
	kk_err_reset(&err);
	assert_int_equal(kk_store_gateway_set(w->store, &gw, &err), -EEXIST);
	assert_err(&err, "address", "services second and all would have the same port");
	kk_parse_address("address", "198.51.100.3", &gw.addresses[0], NULL);
	kk_err_reset(&err);
	assert_int_equal(kk_store_gateway_set(w->store, &gw, &err), -EBUSY);
	assert_err(&err, "address", "service second is published on 198.51.100.2");
	assert_int_equal(kk_store_gateway_get(w->store, "gw1", &gw, NULL), 0);
	assert_int_equal(gw.n_addresses, 3);
}

static void test_members(void **state)
{
	struct world *w = *state;
	struct kk_service_row row, got;
	struct kk_err err = {0};

	for (char c = 'a'; c <= 'c'; c++)
		add_agent(w, (char[]){c, 0});
	assert_int_equal(add_range(w, "x", "a,z", 1, 1, "", &row, &err), -EINVAL);
	assert_err(&err, "agent", "there is no Agent \"z\"");
	assert_int_equal(add_range(w, "x", "b,b", 1, 1, "", &row, &err), -EINVAL);
	assert_err(&err, "agent", "b is named twice");
	assert_int_equal(add_range(w, "two", "b,a", 53, 53, "", &row, &err), 0);
	assert_string_equal(row.members[0].name, "a");
	assert_int_equal(kk_store_agent_remove(w->store, "b", &err), -EBUSY);
	row.n_members = 2;
	strcpy(row.members[0].name, "c");
	strcpy(row.members[1].name, "a");
	assert_int_equal(kk_store_service_set(w->store, &row, NULL), 0);
	assert_int_equal(kk_store_service_get(w->store, "two", &got, NULL), 0);
	assert_int_equal(got.n_members, 2);
	assert_string_equal(got.members[1].name, "c");
	assert_int_equal(kk_store_agent_remove(w->store, "b", NULL), 0);
}

static int add_peer(struct world *w, const char *name, uint8_t key, struct kk_err *err)
{
	struct kk_agent_row row = {.public_key = {key}};

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

static void test_service_set(void **state)
{
	struct world *w = *state;
	struct kk_service_row ssh, got;
	struct kk_err err = {0};

	add_agent(w, "a");
	ssh = add_service(w, "ssh", "a", 2222);
	add_service(w, "web", "a", 8080);
	ssh.port = ssh.last_port = 8080;
	assert_int_equal(kk_store_service_set(w->store, &ssh, &err), -EEXIST);
	assert_err(&err, "port", "service web");
	ssh.port = ssh.last_port = 2223;
	ssh.proxy_protocol = true;
	strcpy(ssh.target, "nas.lan:22");
	assert_int_equal(kk_store_service_set(w->store, &ssh, NULL), 0);
	assert_int_equal(ssh.generation, kk_store_generation(w->store));
	assert_int_equal(w->last.op, KK_SET);
	reopen(w);
	assert_int_equal(kk_store_service_get(w->store, "ssh", &got, NULL), 0);
	assert_int_equal(got.port, 2223);
	assert_int_equal(got.agent_port, 2223);
	assert_true(got.proxy_protocol);
	assert_string_equal(got.target, "nas.lan:22");
	assert_string_equal(got.members[0].name, "a");
	assert_int_equal(got.generation, ssh.generation);
}

/* Two services change places in one transaction, and a third takes the place of the first of a row of them. */
static void test_services_change_places(void **state)
{
	struct world *w = *state;
	struct kk_service_row a, b, before, got;

	add_agent(w, "home");
	a = before = add_service(w, "a", "home", 2001);
	b = add_service(w, "b", "home", 2002);
	assert_int_equal(kk_store_begin(w->store, NULL), 0);
	assert_int_equal(kk_store_service_release(w->store, a.id, NULL), 0);
	assert_int_equal(kk_store_service_release(w->store, b.id, NULL), 0);
	before.port = before.last_port = 2002;
	assert_true(kk_service_row_moves(&a, &before));
	assert_int_equal(kk_store_service_replace(w->store, &a, &before, NULL), 0);
	before = b;
	before.port = before.last_port = 2001;
	assert_int_equal(kk_store_service_replace(w->store, &b, &before, NULL), 0);
	assert_int_equal(kk_store_end(w->store, 0, NULL), 0);
	reopen(w);
	assert_int_equal(kk_store_service_get(w->store, "a", &got, NULL), 0);
	assert_int_equal(got.id, a.id);
	assert_int_equal(got.port, 2002);
	assert_int_equal(got.agent_port, 2002);
	assert_int_equal(kk_store_service_get(w->store, "b", &got, NULL), 0);
	assert_int_equal(got.port, 2001);
	assert_int_equal(got.agent_port, 2001);
}

/* Nothing is left without ports: the transaction fails, and all is as it was. */
static void test_released_and_left(void **state)
{
	struct world *w = *state;
	struct kk_service_row a, got;
	struct kk_err err = {0};

	add_agent(w, "home");
	a = add_service(w, "a", "home", 2001);
	assert_int_equal(kk_store_begin(w->store, NULL), 0);
	assert_int_equal(kk_store_service_release(w->store, a.id, NULL), 0);
	assert_int_equal(kk_store_end(w->store, 0, &err), -EIO);
	assert_err(&err, "", "without ports");
	got = service_row("b", "home", IPPROTO_TCP, 2001);
	assert_int_equal(kk_store_service_add(w->store, &got, NULL), -EEXIST);
}

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

/* ---- undoing ---- */

static void test_restore(void **state)
{
	struct world *w = *state;
	struct kk_service_row ssh, before, got;

	add_agent(w, "a");
	ssh = add_service(w, "ssh", "a", 2222);
	before = ssh;
	ssh.port = ssh.last_port = 2223;
	assert_int_equal(kk_store_service_set(w->store, &ssh, NULL), 0);
	assert_int_equal(kk_store_service_restore(w->store, ssh.id, &before, NULL), 0);
	assert_int_equal(kk_store_service_get(w->store, "ssh", &got, NULL), 0);
	assert_int_equal(got.port, 2222);
	assert_int_equal(got.generation, kk_store_generation(w->store));
	/* Removed: it comes back as the same object. */
	assert_int_equal(kk_store_service_remove(w->store, "ssh", NULL), 0);
	assert_int_equal(kk_store_service_restore(w->store, ssh.id, &before, NULL), 0);
	assert_int_equal(kk_store_service_get(w->store, "ssh", &got, NULL), 0);
	assert_int_equal(got.id, ssh.id);
	/* Added: it goes. */
	assert_int_equal(kk_store_service_restore(w->store, ssh.id, NULL, NULL), 0);
	assert_int_equal(kk_store_service_get(w->store, "ssh", &got, NULL), -ENOENT);
	/* Its port has been given away meanwhile. */
	add_service(w, "other", "a", 2222);
	assert_int_equal(kk_store_service_restore(w->store, ssh.id, &before, NULL), -EEXIST);
}

/* ---- the change log ---- */

struct log {
	struct kk_change changes[16];
	int n;
};

static int collect(const struct kk_change *change, void *userdata)
{
	struct log *log = userdata;

	assert_in_range(log->n, 0, 15);
	log->changes[log->n++] = *change;
	return 0;
}

static void test_changes(void **state)
{
	struct world *w = *state;
	struct kk_service_row ssh;
	struct kk_agent_row agent;
	struct log log = {0};
	int64_t start = kk_store_generation(w->store);

	agent = add_agent(w, "a");
	ssh = add_service(w, "ssh", "a", 2222);
	assert_int_equal(kk_store_service_remove(w->store, "ssh", NULL), 0);
	assert_int_equal(kk_store_changes(w->store, start, collect, &log, NULL), 0);
	/* Of a service each time for the gateways, then for its Agent. */
	assert_int_equal(log.n, 5);
	assert_int_equal(log.changes[0].kind, KK_AGENT);
	assert_int_equal(log.changes[0].op, KK_ADD);
	assert_int_equal(log.changes[0].generation, start + 1);
	assert_int_equal(log.changes[1].kind, KK_SERVICE);
	assert_int_equal(log.changes[1].agent, 0);
	assert_int_equal(log.changes[2].agent, agent.id);
	assert_int_equal(log.changes[3].op, KK_REMOVE);
	assert_int_equal(log.changes[3].id, ssh.id);
	assert_int_equal(log.changes[4].op, KK_REMOVE);
	assert_int_equal(log.changes[4].agent, agent.id);
	assert_int_equal(log.changes[4].generation, kk_store_generation(w->store));
	log.n = 0;
	assert_int_equal(kk_store_changes(w->store, start + 3, collect, &log, NULL), 0);
	assert_int_equal(log.n, 0);
	assert_int_equal(kk_store_changes(w->store, start + 4, collect, &log, NULL), -ESTALE);
	assert_int_equal(kk_store_changes(w->store, start - 1, collect, &log, NULL), -ESTALE);
}

/* Each Agent hears of what concerns it, whoever asked before for what. */
static void test_changes_of_an_agent(void **state)
{
	struct world *w = *state;
	struct kk_agent_row a = add_agent(w, "a"), b = add_agent(w, "b");
	int64_t start = kk_store_generation(w->store);
	struct kk_gateway_row gateway;
	struct log log = {0};

	add_service(w, "ssh", "a", 2222);
	add_service(w, "web", "b", 8080);
	gateway = add_gateway(w, "gw1", "198.51.100.1");
	assert_int_equal(kk_store_agent_changes(w->store, start, a.id, collect, &log, NULL), 0);
	assert_int_equal(log.n, 2);
	assert_int_equal(log.changes[0].kind, KK_GATEWAY);
	assert_int_equal(log.changes[0].id, gateway.id);
	assert_int_equal(log.changes[1].agent, a.id);
	log.n = 0;
	assert_int_equal(kk_store_agent_changes(w->store, start + 1, a.id, collect, &log, NULL), 0);
	assert_int_equal(log.n, 1);
	log.n = 0;
	assert_int_equal(kk_store_agent_changes(w->store, start - 1, b.id, collect, &log, NULL), 0);
	assert_int_equal(log.n, 3);
	assert_int_equal(log.changes[1].kind, KK_AGENT);
	assert_int_equal(log.changes[2].agent, b.id);
	log.n = 0;
	assert_int_equal(kk_store_changes(w->store, start + 2, collect, &log, NULL), 0);
	assert_int_equal(log.n, 1);
	assert_int_equal(kk_store_agent_changes(w->store, start + 4, a.id, collect, &log, NULL),
			 -ESTALE);
}

static int count(const struct kk_change *change, void *userdata)
{
	(void)change;
	++*(int *)userdata;
	return 0;
}

static void test_log_is_bounded(void **state)
{
	struct world *w = *state;
	struct kk_service_row ssh;
	int64_t now;
	int n = 0;

	add_agent(w, "a");
	ssh = add_service(w, "ssh", "a", 2222);
	for (int i = 0; i < KK_CHANGES_MAX + 5; i++) {
		ssh.proxy_protocol = i % 2;
		assert_int_equal(kk_store_service_set(w->store, &ssh, NULL), 0);
	}
	now = kk_store_generation(w->store);
	assert_int_equal(kk_store_changes(w->store, now - KK_CHANGES_MAX, count, &n, NULL), 0);
	assert_int_equal(n, 2 * KK_CHANGES_MAX); /* for gateways and the Agent */
	assert_int_equal(kk_store_changes(w->store, now - KK_CHANGES_MAX - 1, count, &n, NULL),
			 -ESTALE);
}

/* ---- keys and tokens ---- */

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

/* ---- the database itself ---- */

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

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_subnets),
		cmocka_unit_test(test_subnets_differ),
		test(test_all_agents),
		test(test_gateway_indexes),
		test(test_gateway_conflicts),
		test(test_service_conflicts),
		test(test_ranges),
		test(test_addresses),
		test(test_members),
		test(test_plain_peers),
		test(test_plain_services),
		test(test_rules),
		test(test_expiry),
		test(test_service_set),
		test(test_services_change_places),
		test(test_released_and_left),
		test(test_not_found),
		test(test_restore),
		test(test_changes),
		test(test_changes_of_an_agent),
		test(test_log_is_bounded),
		test(test_tokens),
		test(test_node_keys),
		test(test_api_keys),
		test(test_epoch_and_ids_stay),
		test(test_newer_database),
		test(test_not_a_database),
		test(test_removed_database),
		test(test_pool),
		test(test_constraints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
