// SPDX-License-Identifier: MIT
/* What nodes are told, read back by the code of the nodes: a delta leads where a snapshot would. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#include "controld/push/delta.h"
#include "controld/push/snapshot.h"
#include "proto/model.h"
#include "temporary.h"
#include "util/json.h"

#define NODES 3

struct node {
	enum kk_kind role;
	int64_t id;
	struct kk_config config;
};

struct world {
	struct temporary temporary;
	struct kk_store *store;
	struct node nodes[NODES]; /* a gateway and two Agents, which are not removed */
	unsigned int seed;
};

static int add_gateway(struct world *w, const char *name, int n)
{
	struct kk_gateway_row row = {.wg_port = 51820};

	snprintf(row.name, sizeof(row.name), "%s", name);
	row.addresses[0] = (struct kk_address){.family = AF_INET,
					       .v4.s_addr = htonl(0xc6336400u + (uint32_t)n)};
	row.n_addresses = 1;
	return kk_store_gateway_add(w->store, &row, NULL);
}

static int add_agent(struct world *w, const char *name)
{
	struct kk_agent_row row = {0};

	snprintf(row.name, sizeof(row.name), "%s", name);
	return kk_store_agent_add(w->store, &row, NULL);
}

static int add_service(struct world *w, const char *name, const char *agent, int port)
{
	struct kk_service_row row = {.protocol = port % 2 ? IPPROTO_TCP : IPPROTO_UDP,
				     .port = (uint16_t)port,
				     .target = "127.0.0.1:22"};

	snprintf(row.name, sizeof(row.name), "%s", name);
	snprintf(row.members[0].name, sizeof(row.members[0].name), "%s", agent);
	row.n_members = 1;
	return kk_store_service_add(w->store, &row, NULL);
}

static int set_up(void **state)
{
	static const struct kk_prefix4 pool = {.addr.s_addr = 0x0000000a, .len = 8};
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	temporary_make(&w->temporary);
	assert_int_equal(kk_store_open(temporary_path(&w->temporary, "db"), &pool, &w->store, NULL),
			 0);
	assert_int_equal(add_gateway(w, "gw", 250), 0);
	assert_int_equal(add_agent(w, "one"), 0);
	assert_int_equal(add_agent(w, "two"), 0);
	w->nodes[0] = (struct node){.role = KK_GATEWAY, .id = 1};
	w->nodes[1] = (struct node){.role = KK_AGENT, .id = 1};
	w->nodes[2] = (struct node){.role = KK_AGENT, .id = 2};
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < NODES; i++)
		kk_config_clean(&w->nodes[i].config);
	kk_store_close(w->store);
	temporary_remove(&w->temporary);
	free(w);
	return 0;
}

/* Brings the node's configuration to what @msg says. */
static void apply(struct kk_config *config, const json_t *msg)
{
	struct kk_config next;
	struct kk_err err = {0};

	if (kk_config_next(config, msg, &next, &err) < 0)
		fail_msg("%s", err.msg);
	kk_config_clean(config);
	*config = next;
}

static void snapshot(struct world *w, const struct node *node, struct kk_config *ret)
{
	KK_CLEANUP_JSON json_t *msg = NULL;

	*ret = (struct kk_config){0};
	assert_int_equal(kk_snapshot_make(w->store, node->role, node->id, KK_MODEL, &msg, NULL), 0);
	apply(ret, msg);
}

/* Sends the node the delta that it misses; false if nothing concerns it. */
static bool update(struct world *w, struct node *node)
{
	KK_CLEANUP_JSON json_t *msg = NULL;

	assert_int_equal(kk_delta_make(w->store, node->role, node->id, KK_MODEL,
				       node->config.generation, &msg, NULL),
			 0);
	if (msg)
		apply(&node->config, msg);
	return msg != NULL;
}

/* All of it but the generation as text, since structs may differ in their padding. */
static char *describe(const struct kk_config *c)
{
	char *text = NULL, key[2 * KK_KEY_LEN + 1];
	size_t len;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	fprintf(f, "%s self %lld %s %u %x %u %x/%u %x/%u\n", c->epoch, (long long)c->self.id,
		c->self.name, c->self.index, c->self.addresses[0].v4.s_addr, c->self.wg_port,
		c->self.pool.addr.s_addr, c->self.pool.len, c->self.subnet.addr.s_addr,
		c->self.subnet.len);
	for (size_t i = 0; i < c->n_gateways; i++) {
		const struct kk_gateway *g = &c->gateways[i];

		kk_hex(g->public_key, g->has_key ? KK_KEY_LEN : 0, key);
		fprintf(f, "gateway %lld %s %u %x:%u %s\n", (long long)g->id, g->name, g->index,
			g->endpoint.v4.sin_addr.s_addr, g->endpoint.v4.sin_port, key);
	}
	for (size_t i = 0; i < c->n_agents; i++) {
		const struct kk_agent *a = &c->agents[i];

		kk_hex(a->public_key, a->has_key ? KK_KEY_LEN : 0, key);
		fprintf(f, "agent %lld %s %x/%u %s\n", (long long)a->id, a->name,
			a->subnet.addr.s_addr, a->subnet.len, key);
	}
	for (size_t i = 0; i < c->n_services; i++) {
		const struct kk_service *s = &c->services[i];

		fprintf(f, "service %lld %s %u %u>%u %lld %s %d\n", (long long)s->id, s->name,
			s->protocol, s->port, s->agent_port, (long long)s->agents[0], s->target,
			s->proxy_protocol);
	}
	assert_int_equal(fclose(f), 0);
	return text;
}

static void assert_same(const struct kk_config *a, const struct kk_config *b)
{
	KK_CLEANUP_FREE char *x = describe(a), *y = describe(b);

	assert_string_equal(x, y);
}

static void test_only_what_concerns(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < NODES; i++)
		snapshot(w, &w->nodes[i], &w->nodes[i].config);
	assert_int_equal(add_service(w, "ssh", "one", 2221), 0);
	assert_true(update(w, &w->nodes[0]));
	assert_true(update(w, &w->nodes[1]));
	assert_false(update(w, &w->nodes[2]));
	assert_int_equal(w->nodes[0].config.n_services, 1);
	assert_string_equal(w->nodes[1].config.services[0].target, "127.0.0.1:22");
	assert_string_equal(w->nodes[0].config.services[0].target, "");
	/* Another gateway concerns Agents, another Agent gateways. */
	assert_int_equal(add_gateway(w, "gw2", 2), 0);
	assert_false(update(w, &w->nodes[0]));
	assert_true(update(w, &w->nodes[1]));
	assert_true(update(w, &w->nodes[2]));
	assert_int_equal(add_agent(w, "three"), 0);
	assert_true(update(w, &w->nodes[0]));
	assert_false(update(w, &w->nodes[1]));
}

static void test_came_and_went(void **state)
{
	struct world *w = *state;

	snapshot(w, &w->nodes[0], &w->nodes[0].config);
	assert_int_equal(add_service(w, "ssh", "one", 2221), 0);
	assert_int_equal(kk_store_service_remove(w->store, "ssh", NULL), 0);
	assert_false(update(w, &w->nodes[0]));
}

static void test_too_far_back(void **state)
{
	struct world *w = *state;
	json_t *msg;

	assert_int_equal(kk_delta_make(w->store, KK_GATEWAY, 1, KK_MODEL, 0, &msg, NULL), -ESTALE);
	assert_int_equal(kk_delta_make(w->store, KK_GATEWAY, 1, KK_MODEL, 10000, &msg, NULL),
			 -ESTALE);
}

static int random_below(struct world *w, int n)
{
	return rand_r(&w->seed) % n;
}

/* One change of any kind; many are refused, which is a part of it. */
static void change_something(struct world *w)
{
	static const char *const agents[] = {"one", "two", "x0", "x1"};
	struct kk_service_row service;
	uint8_t key[KK_KEY_LEN];
	char name[16];
	int n = random_below(w, 12);

	switch (random_below(w, 9)) {
	case 0:
	case 1:
		snprintf(name, sizeof(name), "s%d", n);
		add_service(w, name, agents[random_below(w, 4)], 1000 + random_below(w, 30));
		break;
	case 2:
		snprintf(name, sizeof(name), "s%d", n);
		kk_store_service_remove(w->store, name, NULL);
		break;
	case 3:
		snprintf(name, sizeof(name), "s%d", n);
		if (kk_store_service_get(w->store, name, &service, NULL) < 0)
			break;
		service.port = (uint16_t)(1000 + random_below(w, 30));
		service.proxy_protocol = random_below(w, 2);
		kk_store_service_set(w->store, &service, NULL);
		break;
	case 4:
		snprintf(name, sizeof(name), "x%d", n % 2);
		add_agent(w, name);
		break;
	case 5:
		snprintf(name, sizeof(name), "x%d", n % 2);
		kk_store_agent_remove(w->store, name, NULL);
		break;
	case 6:
		snprintf(name, sizeof(name), "g%d", n % 3);
		if (add_gateway(w, name, n) == -EEXIST)
			kk_store_gateway_remove(w->store, name, NULL);
		break;
	case 7:
		memset(key, rand_r(&w->seed), sizeof(key));
		kk_store_node_set_key(w->store, n % 3 ? KK_AGENT : KK_GATEWAY, n % 3 ? n % 3 : 1,
				      key, NULL);
		break;
	case 8:
		kk_store_node_revoke(w->store, KK_AGENT, agents[n % 2], NULL, NULL);
		break;
	}
}

static void test_deltas_lead_where_snapshots_do(void **state)
{
	struct world *w = *state;
	int deltas = 0;

	w->seed = 1;
	for (int i = 0; i < NODES; i++)
		snapshot(w, &w->nodes[i], &w->nodes[i].config);
	for (int round = 0; round < 400; round++) {
		int changes = 1 + random_below(w, 6);

		for (int i = 0; i < changes; i++)
			change_something(w);
		for (int i = 0; i < NODES; i++) {
			struct kk_config whole;

			/* Some miss a few rounds. */
			if (random_below(w, 3) == 0)
				continue;
			deltas += update(w, &w->nodes[i]);
			snapshot(w, &w->nodes[i], &whole);
			assert_same(&w->nodes[i].config, &whole);
			kk_config_clean(&whole);
		}
	}
	assert_in_range(deltas, 300, 1200);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_only_what_concerns),
		test(test_came_and_went),
		test(test_too_far_back),
		test(test_deltas_lead_where_snapshots_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
