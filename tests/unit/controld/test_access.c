// SPDX-License-Identifier: MIT
/*
 * What follows from hosts, groups and access rules is what a plain reading of them says, after any changes; and the
 * change log tells of it what gateways have to hear.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#include "controld/store/store.h"
#include "temporary.h"
#include "util/cleanup.h"

#define SERVICES 3
#define HOSTS	 4
#define GROUPS	 3
#define RULES	 5
#define ROUNDS	 3000
#define KNOWN	 65536 /* ids of rules */

static const char *const prefixes[] = {
	"192.0.2.0/24",	 "192.0.2.7/32", "198.51.100.0/24", "0.0.0.0/0",
	"2001:db8::/32", "::/0",	 "2001:db8::7/128",
};

struct world {
	struct temporary temporary;
	struct kk_store *store;
	unsigned int seed;
	bool known[KNOWN]; /* as a gateway that hears of every change */
};

static void on_change(const struct kk_change *changes, size_t n, void *userdata)
{
	struct world *w = userdata;

	for (size_t i = 0; i < n; i++) {
		if (changes[i].kind != KK_RULE)
			continue;
		assert_in_range(changes[i].id, 1, KNOWN - 1);
		assert_int_equal(w->known[changes[i].id], changes[i].op == KK_REMOVE);
		w->known[changes[i].id] = changes[i].op != KK_REMOVE;
	}
}

static int set_up(void **state)
{
	static const struct kk_prefix4 pool = {.addr.s_addr = 0x0000000a, .len = 8};
	struct kk_agent_row agent = {.name = "home"};
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	temporary_make(&w->temporary);
	assert_int_equal(kk_store_open(temporary_path(&w->temporary, "db"), &pool, &w->store, NULL),
			 0);
	assert_int_equal(kk_store_agent_add(w->store, &agent, NULL), 0);
	kk_store_on_change(w->store, on_change, w);
	w->seed = 7;
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

/* ---- some change, which may be refused ---- */

static int below(struct world *w, int n)
{
	return rand_r(&w->seed) % n;
}

static void name_one(struct world *w, char out[KK_NAME_MAX + 1], char kind, int n)
{
	snprintf(out, KK_NAME_MAX + 1, "%c%d", kind, below(w, n));
}

static struct kk_prefix some_prefix(size_t i)
{
	struct kk_prefix prefix;

	assert_int_equal(kk_parse_prefix("prefix", prefixes[i], &prefix, NULL), 0);
	return prefix;
}

/* Either one of the hosts or one of the groups. */
static void name_source(struct world *w, char out[KK_NAME_MAX + 1])
{
	name_one(w, out, below(w, 2) ? 'h' : 'g', HOSTS);
}

static void change_service(struct world *w)
{
	struct kk_service_row row = {.protocol = IPPROTO_TCP, .n_members = 1, .target = "a:1"};
	struct kk_service_row now;

	name_one(w, row.name, 's', SERVICES);
	row.port = (uint16_t)(1000 + row.name[1]);
	strcpy(row.members[0].name, "home");
	row.closed = below(w, 4) > 0;
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (below(w, 6) == 0)
			row.rules[row.n_rules++] =
				(struct kk_service_rule){some_prefix(i), below(w, 2)};
	qsort(row.rules, row.n_rules, sizeof(row.rules[0]), kk_service_rule_compare);
	if (kk_store_service_get(w->store, row.name, &now, NULL) < 0) {
		kk_store_service_add(w->store, &row, NULL);
		return;
	}
	row.id = now.id;
	switch (below(w, 8)) {
	case 0:
		kk_store_service_remove(w->store, row.name, NULL);
		break;
	case 1: /* as when a gateway rejects what was made */
		kk_store_service_restore(w->store, now.id, NULL, NULL);
		break;
	default:
		kk_store_service_set(w->store, &row, NULL);
	}
}

static void change_host(struct world *w)
{
	struct kk_host_row row = {0}, now;

	name_one(w, row.name, 'h', HOSTS);
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (below(w, 3) == 0)
			row.prefixes[row.n_prefixes++] = some_prefix(i);
	if (kk_store_host_get(w->store, row.name, &now, NULL) < 0) {
		kk_store_host_add(w->store, &row, NULL);
	} else if (below(w, 6) == 0) {
		kk_store_host_remove(w->store, row.name, NULL);
	} else {
		row.id = now.id;
		assert_int_equal(kk_store_host_set(w->store, &row, NULL), 0);
	}
}

static void change_group(struct world *w)
{
	struct kk_group_row row = {0}, now;

	name_one(w, row.name, 'g', GROUPS);
	for (int i = 0; i < HOSTS; i++)
		if (below(w, 2))
			snprintf(row.hosts[row.n_hosts++], sizeof(row.hosts[0]), "h%d", i);
	if (kk_store_group_get(w->store, row.name, &now, NULL) < 0) {
		kk_store_group_add(w->store, &row, NULL);
	} else if (below(w, 6) == 0) {
		kk_store_group_remove(w->store, row.name, NULL);
	} else {
		row.id = now.id;
		kk_store_group_set(w->store, &row, NULL);
	}
}

static void change_rule(struct world *w)
{
	struct kk_access_rule_row row = {0}, now;

	name_one(w, row.name, 'r', RULES);
	name_source(w, row.source);
	if (below(w, 4)) {
		name_one(w, row.destination, 's', SERVICES);
	} else {
		name_source(w, row.destination);
		row.protocol = IPPROTO_UDP;
		row.port = row.last_port = 53;
	}
	if (kk_store_access_rule_get(w->store, row.name, &now, NULL) < 0) {
		kk_store_access_rule_add(w->store, &row, NULL);
	} else if (below(w, 4) == 0) {
		assert_int_equal(kk_store_access_rule_remove(w->store, row.name, NULL), 0);
	} else {
		row.id = now.id;
		kk_store_access_rule_set(w->store, &row, NULL);
	}
}

/* ---- the plain reading ---- */

enum word {
	NOTHING,
	ALLOW,
	DENY,
};

/* What a service says of each of the prefixes. */
struct reading {
	struct world *w;
	const struct kk_service_row *service;
	enum word words[ARRAY_SIZE(prefixes)];
};

static size_t index_of(const struct kk_prefix *prefix)
{
	char text[KK_PREFIX_TEXT];

	kk_prefix_text(prefix, text);
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (strcmp(prefixes[i], text) == 0)
			return i;
	fail_msg("%s came from nowhere", text);
	return 0;
}

static void read_host(struct reading *reading, const char *name)
{
	struct kk_host_row host;

	assert_int_equal(kk_store_host_get(reading->w->store, name, &host, NULL), 0);
	for (size_t i = 0; i < host.n_prefixes; i++)
		reading->words[index_of(&host.prefixes[i])] = ALLOW;
}

static int read_access_rule(const struct kk_access_rule_row *row, void *userdata)
{
	struct reading *reading = userdata;
	struct kk_group_row group;

	if (row->protocol || strcmp(row->destination, reading->service->name) != 0)
		return 0;
	assert_true(row->enforced && reading->service->closed);
	if (row->source[0] == 'h') {
		read_host(reading, row->source);
		return 0;
	}
	assert_int_equal(kk_store_group_get(reading->w->store, row->source, &group, NULL), 0);
	for (size_t i = 0; i < group.n_hosts; i++)
		read_host(reading, group.hosts[i]);
	return 0;
}

struct told {
	struct world *w;
	int64_t service;
	enum word words[ARRAY_SIZE(prefixes)];
	size_t n;
};

static int read_told(const struct kk_rule_row *row, void *userdata)
{
	struct told *told = userdata;
	size_t i = index_of(&row->prefix);

	assert_true(told->w->known[row->id]);
	told->n++;
	if (row->service != told->service)
		return 0;
	assert_int_equal(told->words[i], NOTHING);
	told->words[i] = row->allow ? ALLOW : DENY;
	return 0;
}

static int check_service(const struct kk_service_row *service, void *userdata)
{
	struct reading reading = {.w = userdata, .service = service};
	struct told told = {.w = userdata, .service = service->id};
	struct kk_store *store = reading.w->store;

	if (service->closed)
		reading.words[3] = reading.words[5] = DENY;
	assert_int_equal(kk_store_access_rule_list(store, read_access_rule, &reading, NULL), 0);
	for (size_t i = 0; i < service->n_rules; i++)
		reading.words[index_of(&service->rules[i].prefix)] =
			service->rules[i].allow ? ALLOW : DENY;
	assert_int_equal(kk_store_rule_list(store, read_told, &told, NULL), 0);
	assert_memory_equal(told.words, reading.words, sizeof(told.words));
	return 0;
}

/* Rules of services that are gone were not told of one by one: their services were. */
static int count_rule(const struct kk_rule_row *row, void *userdata)
{
	((bool *)userdata)[row->id] = true;
	return 0;
}

static void forget_gone(struct world *w)
{
	KK_CLEANUP_FREE bool *there = calloc(KNOWN, sizeof(*there));

	assert_non_null(there);
	assert_int_equal(kk_store_rule_list(w->store, count_rule, there, NULL), 0);
	for (size_t id = 0; id < KNOWN; id++)
		w->known[id] &= there[id];
}

static void test_any_changes(void **state)
{
	struct world *w = *state;

	for (int round = 0; round < ROUNDS; round++) {
		const int what = below(w, 4);

		if (what == 0) {
			change_service(w);
			forget_gone(w);
		} else if (what == 1) {
			change_host(w);
		} else if (what == 2) {
			change_group(w);
		} else {
			change_rule(w);
		}
		assert_int_equal(kk_store_service_list(w->store, 0, check_service, w, NULL), 0);
	}
}

/* A rule that means nothing stops the whole transaction, at its end: what comes after it may give it a meaning. */
static void test_rules_are_judged_at_the_end(void **state)
{
	struct kk_service_row service = {.name = "ssh",
					 .protocol = IPPROTO_TCP,
					 .port = 22,
					 .n_members = 1,
					 .members[0].name = "home",
					 .target = "a:1"};
	struct kk_access_rule_row rule = {.name = "r", .source = "h9", .destination = "ssh"};
	struct kk_host_row host = {.name = "h9", .n_prefixes = 1, .prefixes[0] = some_prefix(1)};
	struct world *w = *state;
	struct kk_err err = {0};

	assert_int_equal(kk_store_service_add(w->store, &service, NULL), 0);
	assert_int_equal(kk_store_host_add(w->store, &host, NULL), 0);
	assert_int_equal(kk_store_access_rule_add(w->store, &rule, &err), -EEXIST);
	assert_string_equal(err.field, "access");
	assert_int_equal(kk_store_begin(w->store, NULL), 0);
	assert_int_equal(kk_store_access_rule_add(w->store, &rule, NULL), 0);
	assert_int_equal(kk_store_check(w->store, NULL), -EEXIST);
	service.closed = true;
	assert_int_equal(kk_store_service_set(w->store, &service, NULL), 0);
	assert_int_equal(kk_store_check(w->store, NULL), 0);
	assert_int_equal(kk_store_end(w->store, 0, NULL), 0);
	check_service(&service, w);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_any_changes),
		test(test_rules_are_judged_at_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
