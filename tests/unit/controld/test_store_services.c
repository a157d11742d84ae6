// SPDX-License-Identifier: MIT
/* Services: their ports, addresses and Agents, what of them is refused, and how a change of them is undone. */
#include "store_world.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_service_conflicts), test(test_ranges),
		test(test_addresses),	      test(test_members),
		test(test_service_set),	      test(test_services_change_places),
		test(test_released_and_left), test(test_restore),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
