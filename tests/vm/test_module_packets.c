// SPDX-License-Identifier: MIT
/*
 * The kernel module as a host of the core: the packet cases and those of the edge, by KK_CMD_TRY, have to fare there as
 * in the other hosts, and a stream of mutated packets as in user space, byte for byte. The module must be loaded; needs
 * root.
 */
#include "tests/unit/edge_cases.h"
#include "tests/unit/packet_stream.h"

#include "tests/unit/datapath_world.h"

#include "bpf/address.h"
#include "bpf/guards.h"
#include "bpf/lists.h"
#include "genl/module.h"

#define STREAM_PACKETS 120000 /* or as KK_STREAM_PACKETS says */
#define BATCH	       128
#define CASES_MAX      1024
#define SERVICES       1024 /* more than the ids of any world */

struct module_host {
	struct kk_module module;
	struct kk_module_settings settings;
};

static int enter_fresh_netns(void **state)
{
	struct kk_err err = {0};

	(void)state;
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	assert_ok(kk_net_link_add(WORLD_PUBLIC, "veth", &err), &err);
	assert_true(world_tun(WORLD_TUNNEL) >= 0);
	return 0;
}

static void host_open(struct module_host *host)
{
	struct kk_err err = {0};

	assert_ok(kk_module_open(&host->module, &err), &err);
}

static void host_load(struct module_host *host, struct packet_world *world)
{
	const struct kk_datapath_tables tables = tables_of(world);
	struct kk_err err = {0};

	host->settings = (struct kk_module_settings){
		.core = world->settings,
		.public_ifindex = if_nametoindex(WORLD_PUBLIC),
		.tunnel_ifindex = if_nametoindex(WORLD_TUNNEL),
	};
	assert_ok(kk_module_replace_all(&host->module, &host->settings, &tables, &err), &err);
}

static struct kk_module_trial trial_of(enum kk_direction direction, const struct packet *in,
				       uint64_t now)
{
	return (struct kk_module_trial){
		.direction = direction,
		.gso_size = (uint16_t)in->gso_size,
		.now = now,
		.data = (uint8_t *)in->data,
		.len = in->len,
	};
}

/* What became of a packet; its data is let go. */
static void outcome_of(struct kk_module_trial *trial, struct outcome *ret)
{
	ret->reason = trial->reason;
	ret->verdict = kk_verdict(trial->reason);
	assert_true(trial->len <= PACKET_MAX);
	ret->packet.len = trial->len;
	memcpy(ret->packet.data, trial->data, trial->len);
	free(trial->data);
	trial->data = NULL;
}

static size_t run_cases(struct module_host *host, const json_t *world_obj)
{
	const json_t *cases = json_object_get(world_obj, "cases"), *obj;
	size_t n = json_array_size(cases), i;
	KK_CLEANUP_FREE struct packet_case *c = calloc(n, sizeof(*c));
	KK_CLEANUP_FREE struct kk_module_trial *trials = calloc(n, sizeof(*trials));
	struct kk_err err = {0};

	assert_non_null(c);
	assert_non_null(trials);
	json_array_foreach((json_t *)cases, i, obj) {
		case_of(world_obj, obj, &c[i]);
		trials[i] = trial_of(c[i].direction, &c[i].in, 0);
	}
	assert_ok(kk_module_try_all(&host->module, trials, n, &err), &err);
	for (i = 0; i < n; i++) {
		static struct outcome got;

		outcome_of(&trials[i], &got);
		assert_case(&c[i], &got);
	}
	return n;
}

/* All cases of a world in one request: some follow from those before them. */
static void test_cases(void **state)
{
	json_t *doc = load_cases(), *world_obj;
	struct module_host host;
	size_t i, n = 0;

	(void)state;
	host_open(&host);
	json_array_foreach(json_object_get(doc, "worlds"), i, world_obj) {
		struct packet_world world = world_of(world_obj);

		host_load(&host, &world);
		n += run_cases(&host, world_obj);
	}
	kk_module_close(&host.module);
	json_decref(doc);
	print_message("%zu cases\n", n);
	assert_true(n > 600);
}

/* Nothing that a trial leaves behind is there for the next request. */
static void test_trials_leave_nothing(void **state)
{
	json_t *doc = load_cases(), *world_obj = json_array_get(json_object_get(doc, "worlds"), 1);
	struct packet_world world = world_of(world_obj);
	struct kk_module_info info;
	struct module_host host;
	struct kk_err err = {0};

	(void)state;
	host_open(&host);
	host_load(&host, &world);
	run_cases(&host, world_obj);
	run_cases(&host, world_obj);
	assert_ok(kk_module_info(&host.module, &info, &err), &err);
	assert_int_equal(info.n_flows, 0);
	kk_module_close(&host.module);
	json_decref(doc);
}

/* ---- the edge ---- */

/* Sockets of the gateway's own, as a world has them. */
static void open_sockets(const struct edge_world *w)
{
	for (size_t i = 0; i < w->n_sockets; i++) {
		bool tcp = w->sockets[i].protocol == KK_TCP;
		struct sockaddr_in6 any = {.sin6_family = AF_INET6,
					   .sin6_port = htons(w->sockets[i].port)};
		int fd = socket(AF_INET6, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);

		assert_true(fd >= 0);
		assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
		if (tcp)
			assert_int_equal(listen(fd, 1), 0);
	}
}

static void edge_bans(const struct module_host *host, const struct edge_world *w)
{
	struct kk_err err = {0};

	for (size_t i = 0; i < w->n_bans; i++) {
		/* One that is over ended long before the world's time, which is far ahead of the kernel's. */
		const struct kk_ban_entry ban = {
			.source = kk_address_of(&w->bans[i].key.address),
			.service = w->bans[i].key.service,
			.seconds = w->bans[i].until > w->now ? 0 : 600,
		};

		assert_ok(kk_module_ban(&host->module, &ban, 1, &err), &err);
	}
}

static void edge_load(struct module_host *host, struct edge_world *w)
{
	struct kk_datapath_tables tables = tables_of(&w->base);
	struct kk_list_record records[EDGE_MAX];
	struct kk_guard guards[EDGE_MAX];
	struct kk_list *lists;
	struct kk_err err = {0};
	int n;

	for (size_t i = 0; i < w->n_policies; i++)
		guards[i] = kk_guard_of(w->policies[i].service, &w->policies[i].policy);
	for (size_t i = 0; i < w->n_lists; i++)
		records[i] =
			(struct kk_list_record){.key = w->lists[i].key, .value = w->lists[i].value};
	n = kk_lists_make(records, w->n_lists, &lists, &err);
	assert_ok(n, &err);
	tables.guards = guards;
	tables.n_guards = w->n_policies;
	tables.lists = lists;
	tables.n_lists = (size_t)n;
	host->settings = (struct kk_module_settings){
		.core = w->base.settings,
		.public_ifindex = if_nametoindex(WORLD_PUBLIC),
		.tunnel_ifindex = if_nametoindex(WORLD_TUNNEL),
		.edge = true,
		.closed_ports = w->features & KK_FEATURE_CLOSED_PORTS,
		.edge_settings = w->settings,
	};
	assert_ok(kk_module_clear(&host->module, &err), &err);
	assert_ok(kk_module_replace_all(&host->module, &host->settings, &tables, &err), &err);
	free(lists);
	edge_bans(host, w);
}

/* The module relays nothing, and nobody is verified there before he has proved himself. */
static struct kk_user *edge_user_of(struct edge_world *w)
{
	w->n_relays = w->n_verified = 0;
	w->features &= ~(uint64_t)KK_FEATURE_RELAY;
	w->features |= KK_FEATURE_SYN_COOKIES;
	return edge_user_new(w);
}

/* The edge, and what it lets on is forwarded. */
static void edge_and_on(struct kk_user *user, const struct packet *in, struct outcome *ret)
{
	edge_user_run(user, in, ret);
	if (ret->reason == KK_REASON_MAX)
		user_run(user, KK_INBOUND, in, ret);
}

static void print_difference(const struct packet *in, enum kk_direction direction,
			     const struct outcome *theirs, const struct outcome *ours)
{
	print_packet("in  ", in);
	print_packet("module ", &theirs->packet);
	print_packet("user", &ours->packet);
	fail_msg("%s: %s in the module, %s in user space",
		 direction == KK_INBOUND ? "inbound" : "outbound", kk_reason_name(theirs->reason),
		 kk_reason_name(ours->reason));
}

static void compare(const struct packet *in, enum kk_direction direction,
		    struct kk_module_trial *trial, const struct outcome *ours)
{
	static struct outcome theirs;

	outcome_of(trial, &theirs);
	if (theirs.reason != ours->reason || !same_packet(&theirs.packet, &ours->packet))
		print_difference(in, direction, &theirs, ours);
}

static size_t run_edge_cases(struct module_host *host, const json_t *world_obj,
			     uint32_t seen[KK_REASON_MAX])
{
	static struct edge_world world;
	static struct edge_case cases[CASES_MAX];
	static struct kk_module_trial trials[CASES_MAX];
	struct kk_user *user;
	struct kk_err err = {0};
	const json_t *obj;
	size_t i, n = 0;

	edge_world_of(world_obj, &world);
	user = edge_user_of(&world);
	open_sockets(&world);
	edge_load(host, &world);
	json_array_foreach(json_object_get(world_obj, "cases"), i, obj) {
		assert_true(n < CASES_MAX);
		edge_case_of(obj, &cases[n]);
		trials[n] = trial_of(KK_INBOUND, &cases[n].in, world.now);
		n++;
	}
	assert_ok(kk_module_try_all(&host->module, trials, n, &err), &err);
	for (i = 0; i < n; i++) {
		static struct outcome ours;

		edge_and_on(user, &cases[i].in, &ours);
		seen[ours.reason]++;
		compare(&cases[i].in, KK_INBOUND, &trials[i], &ours);
	}
	edge_user_free(user);
	return n;
}

/* Beside user space, which has the cases' own answers (test_edge): relays and whom it trusts already are not the module's. */
static void test_edge_cases(void **state)
{
	json_t *doc = load_edge_cases(), *world_obj;
	uint32_t seen[KK_REASON_MAX] = {0};
	struct module_host host;
	size_t i, n = 0;

	(void)state;
	json_array_foreach(json_object_get(doc, "worlds"), i, world_obj) {
		assert_int_equal(enter_fresh_netns(NULL), 0); /* without the last one's sockets */
		host_open(&host);
		n += run_edge_cases(&host, world_obj, seen);
		kk_module_close(&host.module);
	}
	json_decref(doc);
	print_message("%zu cases\n", n);
	assert_true(n > 100);
	for (int reason = 0; reason < KK_REASON_MAX; reason++)
		if (!seen[reason] && is_of_edge((enum kk_reason)reason) &&
		    reason != KK_REASON_RELAYED && reason != KK_REASON_RELAY_UNHEARD)
			fail_msg("no case ended as %s", kk_reason_name(reason));
}

/* ---- many packets ---- */

/* Packets that are tried in one request; what they leave behind goes with it, in both hosts. */
struct batch {
	struct packet packets[BATCH];
	enum kk_direction directions[BATCH];
	struct kk_module_trial trials[BATCH];
	size_t n;
};

static void run_batch(struct module_host *host, struct kk_user *user, struct batch *batch,
		      bool edge, uint32_t seen[KK_REASON_MAX])
{
	struct kk_err err = {0};

	for (size_t i = 0; i < batch->n; i++)
		batch->trials[i] = trial_of(batch->directions[i], &batch->packets[i], user->now);
	assert_ok(kk_module_try_all(&host->module, batch->trials, batch->n, &err), &err);
	kk_user_forget(user);
	memset(user->edge.floods, 0, SERVICES * sizeof(*user->edge.floods));
	for (size_t i = 0; i < batch->n; i++) {
		static struct outcome ours;

		if (edge && batch->directions[i] == KK_INBOUND)
			edge_and_on(user, &batch->packets[i], &ours);
		else
			user_run(user, batch->directions[i], &batch->packets[i], &ours);
		seen[ours.reason]++;
		compare(&batch->packets[i], batch->directions[i], &batch->trials[i], &ours);
	}
	batch->n = 0;
}

/* ---- lists ---- */

#define RULES	300
#define SOURCES 3000

/* Addresses that lie close together, so that prefixes hold each other and end where others begin. */
static struct kk_address draw_address(struct stream *s, bool v6)
{
	struct kk_address address = {.family = v6 ? AF_INET6 : AF_INET};
	uint32_t first = v6 ? 6 : 1, n = v6 ? 16 : 4;

	memcpy(address.bytes, v6 ? "\x20\x01\x0d\xb8\x00\x01" : "\xcb", first);
	for (uint32_t i = first; i < n; i++)
		address.bytes[i] = (uint8_t)(draw(s, 3) ? draw(s, 2) * 255 : draw(s, 256));
	return address;
}

static struct kk_rule draw_rule(struct stream *s, bool v6)
{
	struct kk_rule rule = {.prefix = {.addr = draw_address(s, v6)}, .allow = draw(s, 2)};
	uint32_t bits = v6 ? 128 : 32;

	rule.prefix.len = (uint8_t)(draw(s, 8) ? bits - draw(s, v6 ? 90 : 26) : draw(s, bits + 1));
	for (uint32_t i = rule.prefix.len; i < bits; i++)
		rule.prefix.addr.bytes[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
	return rule;
}

static size_t draw_rules(struct stream *s, struct kk_rule *rules, struct kk_user *user)
{
	const struct kk_list list = {.id = 1, .rules = rules, .n_rules = 1};
	KK_CLEANUP_FREE struct kk_list_record *record = NULL;
	struct kk_err err = {0};
	size_t n = 0;

	for (int i = 0; i < RULES; i++) {
		struct kk_list one = list;

		rules[n] = draw_rule(s, i % 2);
		one.rules = &rules[n];
		free(KK_STEAL(record));
		assert_int_equal(kk_lists_records(&one, 1, &record, &err), 1);
		if (kk_map_get(&user->lists, &record->key))
			continue; /* drawn before */
		assert_non_null(kk_map_put(&user->lists, &record->key, &record->value));
		n++;
	}
	return n;
}

/* The first case of a family that goes to an Agent. */
static const struct packet_case *any_inbound(const struct stream *s, bool v6)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->cases[i].reason, "inbound") == 0 && is_ip6(&s->cases[i].in) == v6)
			return &s->cases[i];
	fail_msg("no case that could be used");
	return NULL;
}

static uint32_t service_of(const struct kk_user *user, const struct packet_case *c)
{
	const uint8_t *port = c->in.data + (is_ip6(&c->in) ? 40 : (c->in.data[0] & 0xf) * 4) + 2;
	uint8_t protocol = c->in.data[is_ip6(&c->in) ? 6 : 9];
	uint32_t slot = kk_slot(is_ip6(&c->in) ? KK_IP6 : KK_IP4, 0);
	uint64_t word = user->listeners[kk_listener_index(slot, protocol,
							  (uint16_t)(port[0] << 8 | port[1]))];

	assert_int_not_equal(kk_listener_service(word), 0);
	return kk_listener_service(word);
}

static void guard_in_user_space(struct kk_user *user, uint32_t service, uint16_t number)
{
	user->policies[number] = (struct kk_policy){.list = 1};
	user->services[service] =
		(union kk_service_slot){.id = service, .policy = number, .state = KK_SLOT_USED};
	for (size_t i = 0; i < ARRAY_SIZE(user->listeners); i++)
		if (kk_listener_service(user->listeners[i]) == service)
			user->listeners[i] |= KK_LISTENER_GUARDED;
}

static void try_sources(struct module_host *host, struct kk_user *user, struct stream *s,
			const struct packet_case *const cases[2])
{
	static struct batch batch;
	uint32_t seen[KK_REASON_MAX] = {0};

	for (int i = 0; i < SOURCES; i++) {
		bool v6 = i % 2;
		const struct kk_address source = draw_address(s, v6);
		struct packet *p = &batch.packets[batch.n];

		*p = cases[v6]->in;
		memcpy(p->data + (v6 ? 8 : 12), source.bytes, v6 ? 16 : 4);
		batch.directions[batch.n++] = KK_INBOUND;
		if (batch.n == BATCH)
			run_batch(host, user, &batch, true, seen);
	}
	run_batch(host, user, &batch, true, seen);
	assert_true(seen[KK_REASON_DENIED] > SOURCES / 20);
	assert_true(seen[KK_REASON_INBOUND] > SOURCES / 20);
}

/* Prefixes within prefixes: the spans that the module cuts them into say what the longest one says. */
static void test_lists_agree(void **state)
{
	json_t *doc = load_cases(), *world_obj = json_array_get(json_object_get(doc, "worlds"), 0);
	struct packet_world world = world_of(world_obj);
	static struct kk_rule rules[RULES];
	struct kk_list list = {.id = 1, .rules = rules};
	struct kk_guard guards[2];
	struct kk_datapath_tables tables = tables_of(&world);
	struct stream stream = {0};
	const struct packet_case *cases[2];
	struct module_host host;
	struct kk_err err = {0};

	(void)state;
	host_open(&host);
	stream_init(&stream, world_obj);
	host_load(&host, &world);
	host.settings.edge = true;
	for (int round = 0; round < 3; round++) {
		struct kk_user *user = user_new(&world);

		user->now = 1000 * 1000000000ULL;
		for (int v6 = 0; v6 < 2; v6++) {
			cases[v6] = any_inbound(&stream, v6);
			guards[v6] = (struct kk_guard){.service = service_of(user, cases[v6]),
						       .list = 1};
			guard_in_user_space(user, guards[v6].service, (uint16_t)(v6 + 1));
		}
		list.n_rules = draw_rules(&stream, rules, user);
		tables.guards = guards;
		tables.n_guards = guards[0].service == guards[1].service ? 1 : 2;
		tables.lists = &list;
		tables.n_lists = 1;
		assert_ok(kk_module_set(&host.module, &host.settings, &tables, &err), &err);
		try_sources(&host, user, &stream, cases);
		kk_user_free(user);
	}
	free(stream.cases);
	kk_module_close(&host.module);
	json_decref(doc);
}

/* ---- the stream ---- */

/* The cases first as they are, and then @packets of the stream that is made of them. */
static void run_stream(struct module_host *host, struct kk_user *user, struct stream *stream,
		       long packets, bool edge, uint32_t seen[KK_REASON_MAX])
{
	static struct batch batch;

	for (long i = 0; i < (long)stream->n + packets; i++) {
		bool first = i < (long)stream->n;
		const struct packet_case *c =
			&stream->cases[first ? (uint32_t)i : draw(stream, (uint32_t)stream->n)];
		struct packet *p = &batch.packets[batch.n];

		*p = c->in;
		if (!first)
			mutate(stream, p);
		if (!p->len)
			continue;
		batch.directions[batch.n++] = c->direction;
		if (batch.n == BATCH)
			run_batch(host, user, &batch, edge, seen);
	}
	run_batch(host, user, &batch, edge, seen);
}

static void stream_of_world(struct module_host *host, const json_t *world_obj, long packets,
			    uint32_t seen[KK_REASON_MAX])
{
	struct packet_world world = world_of(world_obj);
	struct kk_user *user = user_new(&world);
	struct stream stream = {0};

	user->now = 1000 * 1000000000ULL;
	stream_init(&stream, world_obj);
	host_load(host, &world);
	run_stream(host, user, &stream, packets, false, seen);
	free(stream.cases);
	kk_user_free(user);
}

static void stream_of_edge(struct module_host *host, const json_t *world_obj, long packets,
			   uint32_t seen[KK_REASON_MAX])
{
	static struct edge_world world;
	static struct edge_case c;
	struct stream stream = {.random = 0x9e3779b97f4a7c15};
	const json_t *cases = json_object_get(world_obj, "cases"), *obj;
	struct kk_user *user;
	size_t i;

	edge_world_of(world_obj, &world);
	for (i = 0; i < world.base.n_listeners; i++)
		assert_true(world.base.listeners[i].service < SERVICES);
	user = edge_user_of(&world);
	open_sockets(&world);
	edge_load(host, &world);
	stream.cases = calloc(json_array_size(cases), sizeof(*stream.cases));
	assert_non_null(stream.cases);
	json_array_foreach((json_t *)cases, i, obj) {
		edge_case_of(obj, &c);
		stream.cases[stream.n].direction = KK_INBOUND;
		stream.cases[stream.n++].in = c.in;
	}
	run_stream(host, user, &stream, packets, true, seen);
	free(stream.cases);
	edge_user_free(user);
}

static void test_mutated_stream(void **state)
{
	const char *wanted = getenv("KK_STREAM_PACKETS");
	long packets = wanted ? atol(wanted) : STREAM_PACKETS;
	json_t *doc = load_cases(), *edge = load_edge_cases(), *world_obj;
	uint32_t seen[KK_REASON_MAX] = {0};
	struct module_host host;
	size_t i;

	(void)state;
	host_open(&host);
	for (i = 0; i < 2; i++)
		stream_of_world(&host, json_array_get(json_object_get(doc, "worlds"), i),
				packets * 3 / 8, seen);
	kk_module_close(&host.module);
	json_array_foreach(json_object_get(edge, "worlds"), i, world_obj) {
		assert_int_equal(enter_fresh_netns(NULL), 0);
		host_open(&host);
		stream_of_edge(&host, world_obj, packets / 4 / 8, seen);
		kk_module_close(&host.module);
	}
	/* A stream that never gets somewhere compares nothing there. */
	for (i = 0; i < KK_REASON_MAX; i++) {
		/* Flows last as long as their request: only the cases, in one, fill all ports that one can have. */
		uint32_t least = i == KK_REASON_SNAT_EXHAUSTED ? 1 : 10;

		print_message("%8u %s\n", seen[i], kk_reason_name((enum kk_reason)i));
		if (i == KK_REASON_HOST || i == KK_REASON_RELAYED || i == KK_REASON_RELAY_UNHEARD)
			continue;
		if (seen[i] < least)
			fail_msg("only %u packets of the stream ended as %s", seen[i],
				 kk_reason_name((enum kk_reason)i));
	}
	json_decref(doc);
	json_decref(edge);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_cases, enter_fresh_netns),
		cmocka_unit_test_setup(test_trials_leave_nothing, enter_fresh_netns),
		cmocka_unit_test(test_edge_cases),
		cmocka_unit_test_setup(test_lists_agree, enter_fresh_netns),
		cmocka_unit_test_setup(test_mutated_stream, enter_fresh_netns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
