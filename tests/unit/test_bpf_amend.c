// SPDX-License-Identifier: MIT
/*
 * Parts of the tables changed by themselves: after thousands of random changes they hold, entry by entry, what the whole set
 * at once makes, a change that cannot be is refused in the same words, and one that fails on its way leaves no trace. Needs
 * root.
 */
#include "datapath_world.h"
#include "table_model.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <bpf/bpf.h>

#include <kk/core/types.h>

#include "bpf/amend.h"
#include "bpf/groups.h"
#include "bpf/internal.h"
#include "bpf/listeners.h"
#include "bpf/lists.h"
#include "bpf/tables.h"
#include "bpf/uses.h"
#include "kk_tc.skel.h"

#define STEPS 1000
#define SLOTS 3 /* two addresses of IPv4 (0 and 2), one of IPv6 (1) */

/* Tables by themselves: no program is attached. */
struct host {
	struct kk_tc *skel;
	struct kk_tables tables;
};

static const struct kk_settings settings = {
	.address4 = {KK_BE32(0xc6336401), KK_BE32(0xc6336402)}, /* 198.51.100.1, .2 */
	.address6 = {{{KK_BE32(0x20010db8), 0, 0, KK_BE32(1)}}},
	.pool6 = {{KK_BE32(0xfd000000)}},
	.pool = KK_BE32(0x0a000000),
	.pool_mask = KK_BE32(0xff000000),
	.host = KK_BE32(1),
	.mtu = 1420,
};

static void host_init(struct host *host)
{
	struct kk_err err = {0};

	host->skel = kk_tc__open();
	assert_non_null(host->skel);
	host->skel->rodata->kk_settings = settings;
	assert_ok(kk_tables_size(host->skel->obj, SLOTS, &err), &err);
	assert_int_equal(kk_tc__load(host->skel), 0);
	assert_ok(kk_tables_init(&host->tables, host->skel->obj, &err), &err);
	host->tables.settings = settings;
}

static void host_clean(struct host *host)
{
	kk_tables_clean(&host->tables);
	kk_tc__destroy(host->skel);
}

static void set_ok(struct host *host, const struct kk_datapath_tables *wanted)
{
	struct kk_err err = {0};

	assert_ok(kk_tables_set(&host->tables, wanted, &err), &err);
}

static void model_init(struct model *m)
{
	*m = (struct model){.addresses = {public_address("198.51.100.1"),
					  public_address("198.51.100.2"),
					  public_address("2001:db8::1")}};
}

/* ---- two sets of tables, entry by entry ---- */

/* Numbers of slots and groups are a matter of history: what they stand for is in their place. */
struct plain_listener {
	__u64 word;
	uint32_t service, group;
};

static struct plain_listener plain_listener(const struct kk_tables *t, size_t i)
{
	__u64 word = t->listeners[i];
	struct plain_listener p = {
		.word = word & ~(0xfffffULL << 40),
		.service = t->services[kk_listener_service(word)].id,
	};

	if (!(word & KK_LISTENER_GROUP))
		return p;
	p.group = (uint32_t)t->group_ids[kk_listener_agent(word)];
	p.word &= ~0xffffffULL;
	return p;
}

static void compare_listeners(const struct kk_tables *a, const struct kk_tables *b)
{
	for (size_t i = 0; i < (size_t)SLOTS * KK_LISTENERS_PER_ADDRESS; i++) {
		struct plain_listener x, y;

		if (!a->listeners[i] && !b->listeners[i])
			continue;
		x = plain_listener(a, i);
		y = plain_listener(b, i);
		if (x.word != y.word || x.service != y.service || x.group != y.group)
			fail_msg("listener %zu: %llx of service %u, group %u; rebuilt %llx, %u, %u",
				 i, x.word, x.service, x.group, y.word, y.service, y.group);
	}
}

static int read_origins(const struct kk_tables *t, struct kk_origin_record **ret)
{
	const struct kk_table table = kk_tables_origins(t);
	struct kk_err err = {0};
	int n = kk_records_read(&table, (void **)ret, &err);

	assert_ok(n, &err);
	for (int i = 0; i < n; i++)
		(*ret)[i].value.service = t->services[(*ret)[i].value.service].id;
	return n;
}

static void compare_origins(const struct kk_tables *a, const struct kk_tables *b)
{
	KK_CLEANUP_FREE struct kk_origin_record *x = NULL, *y = NULL;
	int n = read_origins(a, &x);

	assert_int_equal(n, read_origins(b, &y));
	assert_memory_equal(x, y, (size_t)n * sizeof(*x));
}

static void compare_lists(const struct kk_tables *a, const struct kk_tables *b)
{
	KK_CLEANUP_FREE void *x = NULL, *y = NULL;
	const struct kk_table s = kk_tables_lists(a), t = kk_tables_lists(b);
	struct kk_err err = {0};
	int n = kk_records_read(&s, &x, &err);

	assert_ok(n, &err);
	assert_int_equal(n, kk_records_read(&t, &y, &err));
	assert_memory_equal(x, y, (size_t)n * sizeof(struct kk_list_record));
}

/* Used slots by id, and the policy that each has. */
static void read_services(const struct kk_tables *t, struct kk_policy ret[MODEL_SERVICES + 1],
			  bool there[MODEL_SERVICES + 1])
{
	memset(there, 0, MODEL_SERVICES + 1);
	for (size_t slot = 0; slot < KK_SERVICES_MAX; slot++) {
		const union kk_service_slot *s = &t->services[slot];

		if (s->state != KK_SLOT_USED)
			continue;
		assert_in_range(s->id, 1, MODEL_SERVICES);
		assert_false(there[s->id]);
		there[s->id] = true;
		ret[s->id] = t->policies[s->policy];
	}
}

static void compare_services(const struct kk_tables *a, const struct kk_tables *b)
{
	struct kk_policy x[MODEL_SERVICES + 1] = {0}, y[MODEL_SERVICES + 1] = {0};
	bool in_a[MODEL_SERVICES + 1], in_b[MODEL_SERVICES + 1];

	read_services(a, x, in_a);
	read_services(b, y, in_b);
	assert_memory_equal(in_a, in_b, sizeof(in_a));
	assert_memory_equal(x, y, sizeof(x));
	assert_int_equal(*a->features & KK_FEATURE_LIST, *b->features & KK_FEATURE_LIST);
}

static void compare_groups(const struct kk_tables *a, const struct kk_tables *b)
{
	size_t n_a = 0, n_b = 0;

	for (size_t i = 0; i < KK_GROUPS_MAX; i++) {
		int j = a->group_ids[i] ? kk_groups_number(b, (uint32_t)a->group_ids[i]) : -1;

		n_a += a->group_ids[i] != 0;
		n_b += b->group_ids[i] != 0;
		if (!a->group_ids[i])
			continue;
		assert_true(j >= 0);
		assert_memory_equal(&a->groups[i * KK_MAGLEV_SIZE],
				    &b->groups[(size_t)j * KK_MAGLEV_SIZE],
				    KK_MAGLEV_SIZE * sizeof(*a->groups));
	}
	assert_int_equal(n_a, n_b);
}

static int compare_numbers(const void *a, const void *b)
{
	return (*(const uint32_t *)a > *(const uint32_t *)b) -
	       (*(const uint32_t *)a < *(const uint32_t *)b);
}

/* What was counted along is what there is. */
static void check_uses(const struct kk_tables *t)
{
	struct kk_uses *kept = t->uses, *fresh;
	struct kk_err err = {0};

	assert_non_null(kept);
	assert_ok(kk_uses_make(t, &fresh, &err), &err);
	assert_memory_equal(kept->listeners, fresh->listeners,
			    KK_SERVICES_MAX * sizeof(*kept->listeners));
	assert_memory_equal(kept->policies, fresh->policies,
			    KK_POLICIES_MAX * sizeof(*kept->policies));
	assert_memory_equal(kept->groups, fresh->groups, sizeof(kept->groups));
	assert_int_equal(kept->n_services, fresh->n_services);
	assert_int_equal(kept->n_rules, fresh->n_rules);
	assert_int_equal(kept->n_denied, fresh->n_denied);
	assert_int_equal(kept->fresh, fresh->fresh);
	assert_int_equal(kept->n_retired, fresh->n_retired);
	qsort(kept->retired, kept->n_retired, sizeof(uint32_t), compare_numbers);
	qsort(fresh->retired, fresh->n_retired, sizeof(uint32_t), compare_numbers);
	assert_memory_equal(kept->retired, fresh->retired, kept->n_retired * sizeof(uint32_t));
	for (uint32_t id = 1; id <= MODEL_SERVICES; id++)
		assert_int_equal(kk_uses_slot(kept, t, id), kk_uses_slot(fresh, t, id));
	kk_uses_free(fresh);
}

static void compare_tables(const struct kk_tables *a, const struct kk_tables *b)
{
	compare_listeners(a, b);
	compare_origins(a, b);
	compare_lists(a, b);
	compare_services(a, b);
	compare_groups(a, b);
}

/* ---- tests ---- */

static void test_equals_the_whole(void **state)
{
	struct model_tables *from = malloc(sizeof(*from)), *to = malloc(sizeof(*to)),
			    *whole = malloc(sizeof(*whole));
	const struct kk_datapath_tables nothing = {0};
	struct host amended, rebuilt;
	struct model now, next;
	size_t refused = 0;

	(void)state;
	assert_true(from && to && whole);
	host_init(&amended);
	host_init(&rebuilt);
	model_init(&now);
	model_seed = 1;
	for (int step = 0; step < STEPS; step++) {
		struct kk_err err = {0}, whole_err = {0};
		bool touched[MODEL_SERVICES + 1];
		int r, whole_r;

		next = now;
		model_change(&next, touched);
		model_tables(from, &now, touched, now.denied & ~next.denied);
		model_tables(to, &next, touched, next.denied & ~now.denied);
		model_tables(whole, &next, NULL, next.denied);
		r = kk_tables_amend(&amended.tables, &from->all, &to->all, &err);
		whole_r = kk_tables_set(&rebuilt.tables, &whole->all, &whole_err);
		if (r != whole_r || strcmp(err.msg, whole_err.msg) ||
		    strcmp(err.field, whole_err.field))
			fail_msg("step %d: %d: %s (%s); whole %d: %s (%s)", step, r, err.msg,
				 err.field, whole_r, whole_err.msg, whole_err.field);
		if (r == 0)
			now = next;
		else
			refused++;
		if (r == 0 && step % 8 == 0) {
			set_ok(&rebuilt, &nothing);
			set_ok(&rebuilt, &whole->all);
		}
		compare_tables(&amended.tables, &rebuilt.tables);
		check_uses(&amended.tables);
	}
	print_message("%d changes, %zu of them refused\n", STEPS, refused);
	assert_in_range(refused, STEPS / 50, STEPS / 2);
	host_clean(&rebuilt);
	host_clean(&amended);
	free(from);
	free(to);
	free(whole);
}

/* A service with one listener on the first address. */
static struct kk_listener listener(uint16_t port, const char *agent, uint16_t agent_port,
				   uint32_t service)
{
	return (struct kk_listener){
		.protocol = IPPROTO_TCP,
		.address = public_address("198.51.100.1"),
		.port = port,
		.agent_address = ip4(agent),
		.agent_port = agent_port,
		.service = service,
	};
}

static void amend_fails(struct host *host, const struct kk_datapath_tables *from,
			const struct kk_datapath_tables *to, int code, const char *field,
			const char *part)
{
	struct kk_err err = {0};

	assert_int_equal(kk_tables_amend(&host->tables, from, to, &err), -code);
	assert_err(&err, field, part);
	check_uses(&host->tables);
}

/* Lists cannot be written once origins are: both are as they were. */
static void test_failure_in_the_middle(void **state)
{
	const struct kk_listener old = listener(80, "10.1.0.100", 8080, 1),
				 next = listener(80, "10.2.0.100", 8081, 1);
	const struct kk_rule rule = {model_prefix(4), false};
	const struct kk_list list = {KK_LIST_GATEWAY, &rule, 1};
	const struct kk_datapath_tables from = {.listeners = &old, .n_listeners = 1},
					to = {.listeners = &next,
					      .n_listeners = 1,
					      .lists = &list,
					      .n_lists = 1};
	struct kk_err err = {0};
	struct host amended, rebuilt;
	int lists_fd;

	(void)state;
	host_init(&amended);
	host_init(&rebuilt);
	set_ok(&amended, &from);
	set_ok(&rebuilt, &from);
	assert_ok(kk_tables_amend(&amended.tables, &(struct kk_datapath_tables){0},
				  &(struct kk_datapath_tables){0}, &err),
		  &err);
	lists_fd = amended.tables.lists_fd;
	amended.tables.lists_fd = -1;
	assert_int_equal(kk_tables_amend(&amended.tables, &from, &to, &err), -EBADF);
	assert_err(&err, "", "cannot change the table of lists");
	amended.tables.lists_fd = lists_fd;
	compare_tables(&amended.tables, &rebuilt.tables);
	check_uses(&amended.tables);
	kk_err_reset(&err);
	assert_ok(kk_tables_amend(&amended.tables, &from, &to, &err), &err);
	set_ok(&rebuilt, &to);
	compare_tables(&amended.tables, &rebuilt.tables);
	host_clean(&rebuilt);
	host_clean(&amended);
}

/* What the caller takes for the old state is not. */
static void test_stale(void **state)
{
	const struct kk_listener two[] = {listener(80, "10.1.0.100", 8080, 1),
					  listener(81, "10.1.0.100", 8081, 1)},
				 wrong = listener(80, "10.3.0.100", 8080, 1);
	const struct kk_datapath_tables whole = {.listeners = two, .n_listeners = 2}, none = {0},
					half = {.listeners = two, .n_listeners = 1},
					other = {.listeners = &wrong, .n_listeners = 1},
					both = {.listeners = (struct kk_listener[]){two[1], wrong},
						.n_listeners = 2};
	struct host amended, rebuilt;

	(void)state;
	host_init(&amended);
	host_init(&rebuilt);
	set_ok(&amended, &whole);
	set_ok(&rebuilt, &whole);
	amend_fails(&amended, &half, &none, ESTALE, "", "other listeners of service 1");
	amend_fails(&amended, &none, &other, ESTALE, "", "other listeners of service 1");
	amend_fails(&amended, &both, &none, ESTALE, "", "other listeners of service 1");
	compare_tables(&amended.tables, &rebuilt.tables);
	host_clean(&rebuilt);
	host_clean(&amended);
}

/* As many services as there are slots, as many origins as there is room for; each change fits all the same. */
static void test_full(void **state)
{
	const size_t n = KK_SERVICES_MAX - 1;
	KK_CLEANUP_FREE struct kk_listener *list = calloc(n, sizeof(*list));
	const struct kk_datapath_tables whole = {.listeners = list, .n_listeners = n}, none = {0};
	struct kk_datapath_tables from = {.listeners = list, .n_listeners = 2}, to;
	struct kk_listener next[2];
	struct kk_err err = {0};
	struct host host;

	(void)state;
	assert_non_null(list);
	host_init(&host);
	for (uint32_t i = 0; i < n; i++)
		list[i] = (struct kk_listener){
			.protocol = i < 65535 ? IPPROTO_TCP : IPPROTO_UDP,
			.address = public_address("198.51.100.2"),
			.port = (uint16_t)(i % 65535 + 1),
			.agent_address = model_agent(i % 200),
			.agent_port = (uint16_t)(i % 65535 + 1),
			.service = i + 1,
		};
	/* One is left over, of which there are 2 * 65535. */
	list[n - 1] = listener(9, "10.250.0.100", 10, (uint32_t)n);
	set_ok(&host, &whole);
	next[0] = list[0];
	next[0].service = 1000001;
	next[0].agent_port = 65535;
	next[0].agent_address = ip4("10.251.0.100");
	next[1] = list[1];
	next[1].agent_port = 65534;
	next[1].agent_address = ip4("10.251.0.100");
	to = (struct kk_datapath_tables){.listeners = next, .n_listeners = 2};
	assert_ok(kk_tables_amend(&host.tables, &from, &to, &err), &err);
	check_uses(&host.tables);
	from = (struct kk_datapath_tables){.listeners = &next[1], .n_listeners = 1};
	next[0] = listener(11, "10.252.0.100", 12, 1000002);
	amend_fails(&host, &none, &(struct kk_datapath_tables){.listeners = next, .n_listeners = 1},
		    ENOSPC, "services", "131072 services are more than the 131071");
	assert_ok(kk_tables_amend(&host.tables, &from, &none, &err), &err);
	assert_ok(kk_tables_amend(&host.tables, &none,
				  &(struct kk_datapath_tables){.listeners = next, .n_listeners = 1},
				  &err),
		  &err);
	check_uses(&host.tables);
	host_clean(&host);
}

/* ---- a process that dies on the way ---- */

#define KILLS 5

static struct kk_datapath *open_datapath(struct world *world)
{
	struct kk_datapath *dp;
	struct kk_err err = {0};

	assert_ok(kk_datapath_open(&world->config, &dp, &err), &err);
	return dp;
}

/* Never returns: changes parts until it is killed. */
static void change_for_ever(struct world *world, struct model m, int ready)
{
	static struct model_tables from, to;
	struct kk_datapath *dp = open_datapath(world);
	struct kk_err err = {0};

	assert_ok(kk_datapath_set(dp, model_tables(&to, &m, NULL, m.denied), &err), &err);
	assert_int_equal(write(ready, "", 1), 1);
	for (;;) {
		struct model next = m;
		bool touched[MODEL_SERVICES + 1];

		model_change(&next, touched);
		model_tables(&from, &m, touched, m.denied & ~next.denied);
		model_tables(&to, &next, touched, next.denied & ~m.denied);
		if (kk_datapath_amend(dp, &from.all, &to.all, NULL) == 0)
			m = next;
	}
}

static void kill_on_the_way(struct world *world, const struct model *m, uint32_t after_us)
{
	int ready[2], status;
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		change_for_ever(world, *m, ready[1]);
		_exit(1);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	usleep(after_us);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

/* Some services that get along, as @host has them then. */
static void random_model(struct model *m, struct host *host)
{
	static struct model_tables whole;
	struct model next;
	bool touched[MODEL_SERVICES + 1];

	for (int i = 0; i < 60; i++) {
		next = *m;
		model_change(&next, touched);
		if (kk_tables_set(&host->tables, model_tables(&whole, &next, NULL, next.denied),
				  NULL) == 0)
			*m = next;
	}
}

/* Whatever it leaves, the next one adopts and mends by the whole, and changes go on from there. */
static void test_killed(void **state)
{
	static struct model_tables whole;
	struct kk_address addresses[MODEL_ADDRESSES];
	struct kk_err err = {0};
	struct host rebuilt;
	struct world world;
	struct model m;

	(void)state;
	world_init(&world);
	model_init(&m);
	memcpy(addresses, m.addresses, sizeof(addresses));
	world.config.addresses = addresses;
	world.config.n_addresses = MODEL_ADDRESSES;
	assert_int_equal(inet_pton(AF_INET6, "fd00::", &world.config.pool6), 1);
	host_init(&rebuilt);
	random_model(&m, &rebuilt);
	for (int i = 0; i < KILLS; i++) {
		struct kk_datapath *dp;

		kill_on_the_way(&world, &m, 500 + model_random(20000));
		dp = open_datapath(&world);
		assert_ok(kk_datapath_set(dp, model_tables(&whole, &m, NULL, m.denied), &err),
			  &err);
		compare_tables(&dp->tables, &rebuilt.tables);
		kk_datapath_close(dp);
	}
	host_clean(&rebuilt);
	world_clean(&world);
}

/* Tables that were adopted are changed by parts, too: what uses what is counted from them. */
static void test_adopted(void **state)
{
	static struct model_tables whole, from, to;
	struct kk_err err = {0};
	struct host rebuilt;
	struct world world;
	struct model now, next;
	struct kk_datapath *dp;
	bool touched[MODEL_SERVICES + 1];

	(void)state;
	world_init(&world);
	model_init(&now);
	world.config.addresses =
		(struct kk_address[]){now.addresses[0], now.addresses[2], now.addresses[1]};
	world.config.n_addresses = MODEL_ADDRESSES;
	assert_int_equal(inet_pton(AF_INET6, "fd00::", &world.config.pool6), 1);
	host_init(&rebuilt);
	random_model(&now, &rebuilt);
	dp = open_datapath(&world);
	assert_ok(kk_datapath_set(dp, model_tables(&whole, &now, NULL, now.denied), &err), &err);
	for (int i = 0; i < 3; i++) {
		kk_datapath_close(dp);
		dp = open_datapath(&world);
		for (int changes = 0; changes < 10;) {
			next = now;
			model_change(&next, touched);
			model_tables(&from, &now, touched, now.denied & ~next.denied);
			model_tables(&to, &next, touched, next.denied & ~now.denied);
			if (kk_datapath_amend(dp, &from.all, &to.all, NULL) < 0)
				continue;
			now = next;
			changes++;
		}
		set_ok(&rebuilt, model_tables(&whole, &now, NULL, now.denied));
		compare_tables(&dp->tables, &rebuilt.tables);
		check_uses(&dp->tables);
	}
	kk_datapath_close(dp);
	host_clean(&rebuilt);
	world_clean(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equals_the_whole),
		cmocka_unit_test(test_failure_in_the_middle),
		cmocka_unit_test(test_stale),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_adopted),
	};

	return kk_run_group_as_root("loads BPF programs and makes a network namespace", tests, NULL,
				    NULL);
}
