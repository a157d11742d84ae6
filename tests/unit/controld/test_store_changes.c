// SPDX-License-Identifier: MIT
/* The change log. */
#include "store_world.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_changes),
		test(test_changes_of_an_agent),
		test(test_log_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
