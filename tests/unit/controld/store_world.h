/* SPDX-License-Identifier: MIT */
/* A store for one test, and how gateways, Agents and services come into it. */
#ifndef KK_TESTS_CONTROLD_STORE_WORLD_H
#define KK_TESTS_CONTROLD_STORE_WORLD_H

#include <errno.h>
#include <stdbool.h>

#include "controld/store/store.h"
#include "temporary.h"

static const struct kk_prefix4 pool = {.addr.s_addr = 0x0000000a, .len = 8}; /* 10.0.0.0 */

struct world {
	struct temporary temporary;
	struct kk_store *store;
	struct kk_err err;
	struct kk_change last;
	int changes;
};

static inline void on_change(const struct kk_change *changes, size_t n, void *userdata)
{
	struct world *w = userdata;

	w->last = changes[n - 1];
	w->changes += (int)n;
}

static inline void open_store(struct world *w)
{
	struct kk_err err = {0};

	if (kk_store_open(temporary_path(&w->temporary, "db"), &pool, &w->store, &err) < 0)
		fail_msg("%s", err.msg);
	kk_store_on_change(w->store, on_change, w);
}

static inline void reopen(struct world *w)
{
	kk_store_close(w->store);
	w->store = NULL;
	open_store(w);
}

static inline int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	temporary_make(&w->temporary);
	open_store(w);
	*state = w;
	return 0;
}

static inline int tear_down(void **state)
{
	struct world *w = *state;

	kk_store_close(w->store);
	temporary_remove(&w->temporary);
	free(w);
	return 0;
}

static inline struct kk_agent_row add_agent(struct world *w, const char *name)
{
	struct kk_agent_row row = {0};
	struct kk_err err = {0};

	snprintf(row.name, sizeof(row.name), "%s", name);
	if (kk_store_agent_add(w->store, &row, &err) < 0)
		fail_msg("%s: %s", name, err.msg);
	return row;
}

static inline struct kk_gateway_row gateway_row(const char *name, const char *address,
						uint16_t wg_port)
{
	struct kk_gateway_row row = {.wg_port = wg_port};

	snprintf(row.name, sizeof(row.name), "%s", name);
	assert_int_equal(kk_parse_address("address", address, &row.addresses[0], NULL), 0);
	row.n_addresses = 1;
	return row;
}

static inline struct kk_gateway_row add_gateway(struct world *w, const char *name,
						const char *address)
{
	struct kk_gateway_row row = gateway_row(name, address, 51820);
	struct kk_err err = {0};

	if (kk_store_gateway_add(w->store, &row, &err) < 0)
		fail_msg("%s: %s", name, err.msg);
	return row;
}

static inline struct kk_service_row service_row(const char *name, const char *agent,
						uint8_t protocol, uint16_t port)
{
	struct kk_service_row row = {.protocol = protocol, .port = port, .target = "127.0.0.1:22"};

	snprintf(row.name, sizeof(row.name), "%s", name);
	snprintf(row.members[0].name, sizeof(row.members[0].name), "%s", agent);
	row.n_members = 1;
	return row;
}

static inline struct kk_service_row add_service(struct world *w, const char *name,
						const char *agent, uint16_t port)
{
	struct kk_service_row row = service_row(name, agent, IPPROTO_TCP, port);
	struct kk_err err = {0};

	if (kk_store_service_add(w->store, &row, &err) < 0)
		fail_msg("%s: %s", name, err.msg);
	return row;
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
