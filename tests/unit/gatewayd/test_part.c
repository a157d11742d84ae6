// SPDX-License-Identifier: MIT
/*
 * What a delta touches: thousands of random deltas, as Control would send them, and each time the tables of the old
 * configuration, less those of the part's old side and with those of its new side, are the tables of the new one.
 */
#include "gatewayd/part.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "gatewayd/tables.h"
#include "tests/unit/kk_test.h"
#include "util/cleanup.h"
#include "util/json.h"

#define DELTAS	 3000
#define AGENTS	 6
#define SERVICES 12 /* ids 1 to this */
#define RULES	 16

static uint64_t seed = 1;

static uint32_t chance(uint32_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % below;
}

/* ---- what Control would say ---- */

static json_t *agent(int id)
{
	char subnet[24], name[16];

	snprintf(subnet, sizeof(subnet), "10.%d.0.0/24", id);
	snprintf(name, sizeof(name), "agent%d", id);
	return json_pack("{s:i, s:s, s:s, s:n}", "id", id, "name", name, "subnet", subnet,
			 "public_key");
}

static json_t *service(int id)
{
	char name[16];
	json_t *s, *agents = json_array();
	uint32_t port = 1000 + (uint32_t)id * 100 + chance(40), first = chance(AGENTS - 3);

	snprintf(name, sizeof(name), "s%d", id);
	for (uint32_t i = 0, n = chance(3) ? 1 : 2 + chance(2); i < n; i++)
		json_array_append_new(agents, json_integer(first + i + 1));
	s = json_pack("{s:i, s:s, s:s, s:i, s:i, s:o, s:i, s:b, s:i}", "id", id, "name", name,
		      "protocol", chance(2) ? "tcp" : "udp", "port", (int)port, "last_port",
		      (int)(port + chance(3)), "agents", agents, "agent_port", (int)port,
		      "draining", (int)(chance(6) == 0), "limit_packets", (int)(chance(2) * 100));
	if (chance(4) == 0)
		json_object_set_new(s, "address", json_string("198.51.100.2"));
	return s;
}

/* Of a service, or of all with 0. */
static json_t *rule(int id, const struct kk_config *config)
{
	int64_t of = 0;
	char prefix[24];

	if (config->n_services && chance(4))
		of = config->services[chance((uint32_t)config->n_services)].id;
	snprintf(prefix, sizeof(prefix), "192.0.2.%d/32", id);
	return json_pack("{s:i, s:o*, s:s, s:b}", "id", id, "service", of ? json_integer(of) : NULL,
			 "prefix", prefix, "allow", (int)(of && chance(2)));
}

static json_t *snapshot(void)
{
	json_t *agents = json_array();

	for (int id = 1; id <= AGENTS; id++)
		json_array_append_new(agents, agent(id));
	return json_pack("{s:s, s:s, s:i, s:o, s:{s:i, s:s, s:i, s:s, s:[s, s], s:i, s:s}}", "type",
			 "snapshot", "epoch", "e", "generation", 1, "agents", agents, "self", "id",
			 7, "name", "gw1", "index", 1, "address", "198.51.100.1", "addresses",
			 "198.51.100.1", "198.51.100.2", "wg_port", 51820, "pool", "10.0.0.0/8");
}

static bool names(const json_t *list, int64_t id)
{
	json_t *item;
	size_t i;

	json_array_foreach((json_t *)list, i, item) {
		if (json_integer_value(json_is_object(item) ? json_object_get(item, "id") : item) ==
		    id)
			return true;
	}
	return false;
}

/* Each id in one list at most. */
static json_t *delta(const struct kk_config *config)
{
	json_t *services = json_array(), *rules = json_array(), *agents = json_array(),
	       *no_services = json_array(), *no_rules = json_array();

	for (uint32_t i = 0, n = chance(4); i < n; i++) {
		int id = 1 + (int)chance(SERVICES);

		if (names(services, id) || names(no_services, id))
			continue;
		if (chance(3))
			json_array_append_new(services, service(id));
		else
			json_array_append_new(no_services, json_integer(id));
	}
	for (uint32_t i = 0, n = chance(4); i < n; i++) {
		int id = 1 + (int)chance(RULES);

		if (names(rules, id) || names(no_rules, id))
			continue;
		if (chance(3))
			json_array_append_new(rules, rule(id, config));
		else
			json_array_append_new(no_rules, json_integer(id));
	}
	if (chance(8) == 0)
		json_array_append_new(agents, agent(AGENTS));
	return json_pack("{s:s, s:I, s:I, s:{s:o, s:o, s:o}, s:{s:o, s:o}}", "type", "delta",
			 "from", (json_int_t)config->generation, "generation",
			 (json_int_t)config->generation + 1, "put", "services", services, "rules",
			 rules, "agents", agents, "remove", "services", no_services, "rules",
			 no_rules);
}

static void take(const struct kk_config *old, json_t *msg, struct kk_config *ret)
{
	struct kk_err err = {0};
	char *text;

	if (kk_config_next(old, msg, ret, &err) == 0) {
		json_decref(msg);
		return;
	}
	text = json_dumps(msg, 0);
	fail_msg("%s: %s", err.msg, text ? text : "");
}

/* ---- tables as lines of text, a line for each entry ---- */

struct lines {
	char (*items)[96];
	size_t n, room;
};

static void lines_clean(struct lines *lines)
{
	free(lines->items);
}

static char *add_line(struct lines *lines)
{
	if (lines->n == lines->room) {
		lines->room = lines->room ? 2 * lines->room : 64;
		lines->items = reallocarray(lines->items, lines->room, sizeof(*lines->items));
		assert_non_null(lines->items);
	}
	return lines->items[lines->n++];
}

#define LINE(lines, ...) snprintf(add_line(lines), sizeof(*(lines)->items), __VA_ARGS__)

static void write_lines(const struct kk_datapath_tables *t, struct lines *lines)
{
	char text[KK_PREFIX_TEXT];

	for (size_t i = 0; i < t->n_listeners; i++) {
		const struct kk_listener *l = &t->listeners[i];

		LINE(lines, "listener %u %s %u %08x %u %u %u %d", l->protocol,
		     kk_address_text(&l->address, text), l->port, l->agent_address.s_addr,
		     l->agent_port, l->service, l->group, l->draining);
	}
	for (size_t i = 0; i < t->n_groups; i++)
		for (size_t j = 0; j < t->groups[i].n_members; j++)
			LINE(lines, "group %u %zu %08x %d", t->groups[i].id, t->groups[i].n_members,
			     t->groups[i].members[j].address.s_addr,
			     t->groups[i].members[j].healthy);
	for (size_t i = 0; i < t->n_guards; i++)
		LINE(lines, "guard %u %u %d %u %u", t->guards[i].service, t->guards[i].list,
		     t->guards[i].deny_others, t->guards[i].packets.rate,
		     t->guards[i].connections.rate);
	for (size_t i = 0; i < t->n_lists; i++)
		for (size_t j = 0; j < t->lists[i].n_rules; j++)
			LINE(lines, "rule %u %s %d", t->lists[i].id,
			     kk_prefix_text(&t->lists[i].rules[j].prefix, text),
			     t->lists[i].rules[j].allow);
}

static void make_lines(const struct kk_config *config, struct lines *lines)
{
	KK_CLEANUP(tables_clean) struct tables t = {0};
	struct kk_address addresses[2];
	const struct tables_place place = {addresses, 2, NULL, NULL};
	struct kk_err err = {0};

	assert_int_equal(kk_parse_address("address", "198.51.100.1", &addresses[0], NULL), 0);
	assert_int_equal(kk_parse_address("address", "198.51.100.2", &addresses[1], NULL), 0);
	if (tables_make(config, &place, &t, &err) < 0)
		fail_msg("%s", err.msg);
	write_lines(&t.all, lines);
}

static void remove_line(struct lines *lines, const char *line)
{
	for (size_t i = 0; i < lines->n; i++)
		if (strcmp(lines->items[i], line) == 0) {
			memmove(lines->items[i], lines->items[--lines->n], sizeof(*lines->items));
			return;
		}
	fail_msg("the part has what the whole has not: %s", line);
}

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void check_part(const struct kk_config *old, const struct kk_config *next,
		       const struct part *part)
{
	KK_CLEANUP(lines_clean) struct lines all = {0}, from = {0}, to = {0}, wanted = {0};

	make_lines(old, &all);
	make_lines(&part->old, &from);
	make_lines(&part->next, &to);
	make_lines(next, &wanted);
	for (size_t i = 0; i < from.n; i++)
		remove_line(&all, from.items[i]);
	for (size_t i = 0; i < to.n; i++)
		strcpy(add_line(&all), to.items[i]);
	assert_int_equal(all.n, wanted.n);
	qsort(all.items, all.n, sizeof(*all.items), compare);
	qsort(wanted.items, wanted.n, sizeof(*wanted.items), compare);
	for (size_t i = 0; i < all.n; i++)
		assert_string_equal(all.items[i], wanted.items[i]);
}

static void test_random_deltas(void **state)
{
	struct kk_config none = {0}, old, next;
	struct part part;
	size_t smaller = 0;

	(void)state;
	take(&none, snapshot(), &old);
	assert_int_equal(part_make(&none, &old, &part), 0);
	for (int i = 0; i < DELTAS; i++) {
		take(&old, delta(&old), &next);
		assert_int_equal(part_make(&old, &next, &part), 1);
		check_part(&old, &next, &part);
		smaller += part.next.n_services < next.n_services;
		part_clean(&part);
		kk_config_clean(&old);
		old = next;
	}
	assert_true(smaller > DELTAS / 2);
	kk_config_clean(&old);
}

/* What is not told apart by services is for the whole. */
static void test_no_part(void **state)
{
	struct kk_config none = {0}, old, next;
	json_t *msg, *moved = agent(2);
	struct part part;

	(void)state;
	take(&none, snapshot(), &old);
	json_object_set_new(moved, "subnet", json_string("10.77.0.0/24"));
	msg = delta(&old);
	json_object_set_new(json_object_get(msg, "put"), "agents", json_pack("[o]", moved));
	take(&old, msg, &next);
	assert_int_equal(part_make(&old, &next, &part), 0);
	kk_config_clean(&next);
	/* Two denials of one prefix. */
	msg = json_pack("{s:s, s:i, s:i, s:{s:[{s:i, s:s}, {s:i, s:s}]}}", "type", "delta", "from",
			1, "generation", 2, "put", "rules", "id", 1, "prefix", "192.0.2.0/24", "id",
			2, "prefix", "192.0.2.0/24");
	take(&old, msg, &next);
	assert_int_equal(part_make(&old, &next, &part), 0);
	kk_config_clean(&next);
	kk_config_clean(&old);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_deltas),
		cmocka_unit_test(test_no_part),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
