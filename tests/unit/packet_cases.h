/* SPDX-License-Identifier: MIT */
/* The packet cases of tests/packets, and running a packet through the core in user space. */
#ifndef KK_TEST_PACKET_CASES_H
#define KK_TEST_PACKET_CASES_H

#include <arpa/inet.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "kk_test.h"

#include "bpf/datapath.h"
#include "core/maglev.h"
#include "core/names.h"
#include "core/user.h"
#include "util/cleanup.h"
#include "util/encode.h"

#define PACKET_MAX    4096
#define LISTENERS_MAX 32
#define GROUPS_MAX    4
#define MEMBERS_MAX   8

struct packet {
	uint8_t data[PACKET_MAX]; /* from the IP header on */
	uint32_t len;
	uint32_t gso_size; /* 0: no GSO packet */
};

struct packet_case {
	const char *world, *name;
	enum kk_direction direction;
	struct packet in, out;
	const char *verdict, *reason;
};

/* Settings and tables that a list of cases goes through. */
struct packet_world {
	struct kk_settings settings;
	struct kk_listener listeners[LISTENERS_MAX];
	size_t n_listeners;
	struct kk_member members[GROUPS_MAX][MEMBERS_MAX];
	struct kk_group groups[GROUPS_MAX];
	size_t n_groups;
};

/* What became of a packet in one of the hosts. */
struct outcome {
	enum kk_verdict verdict;
	enum kk_reason reason;
	struct packet packet;
};

/* Path of @name in tests/packets, looked for upwards from the program that runs. */
static inline void packets_path(const char *name, char path[PATH_MAX])
{
	char dir[PATH_MAX / 2] = "";
	struct stat st;

	assert_true(readlink("/proc/self/exe", dir, sizeof(dir) - 1) > 0);
	do {
		*strrchr(dir, '/') = '\0';
		snprintf(path, PATH_MAX, "%s/tests/packets/%s", dir, name);
		if (stat(path, &st) == 0)
			return;
	} while (strchr(dir, '/'));
	fail_msg("no tests/packets/%s above the test program", name);
}

static inline json_t *load_cases(void)
{
	char path[PATH_MAX];
	json_error_t error;
	json_t *doc;

	packets_path("cases.json", path);
	doc = json_load_file(path, 0, &error);
	if (!doc)
		fail_msg("%s: %s", path, error.text);
	return doc;
}

static inline const char *text_of(const json_t *obj, const char *key)
{
	const char *text = json_string_value(json_object_get(obj, key));

	if (!text)
		fail_msg("%s is missing", key);
	return text;
}

static inline uint32_t number_of(const json_t *obj, const char *key)
{
	const json_t *number = json_object_get(obj, key);

	if (!json_is_integer(number))
		fail_msg("%s is missing", key);
	return (uint32_t)json_integer_value(number);
}

static inline struct in_addr address_of(const char *text)
{
	struct in_addr a;

	assert_int_equal(inet_pton(AF_INET, text, &a), 1);
	return a;
}

static inline struct kk_in6 in6_of(const char *text)
{
	struct kk_in6 a;

	assert_int_equal(inet_pton(AF_INET6, text, &a), 1);
	return a;
}

/* The public address of a listener: the first of IPv4 if it names none. */
static inline struct kk_address public_of(const json_t *listener, const struct kk_settings *set)
{
	const char *text = json_string_value(json_object_get(listener, "address"));
	struct kk_address address = {.family = AF_INET, .v4.s_addr = set->address4[0]};

	if (text)
		assert_int_equal(kk_parse_address("address", text, &address, NULL), 0);
	return address;
}

static inline uint32_t slot_of(const struct kk_settings *set, const struct kk_address *address)
{
	for (uint32_t i = 0; i < KK_ADDRESSES_MAX; i++) {
		if (address->family == AF_INET && set->address4[i] == address->v4.s_addr)
			return kk_slot(KK_IP4, i);
		if (address->family == AF_INET6 &&
		    memcmp(&set->address6[i], address->bytes, sizeof(address->bytes)) == 0)
			return kk_slot(KK_IP6, i);
	}
	fail_msg("a listener's address is none of the world's");
	return 0;
}

/* A number of 64 bits, in hexadecimal. */
static inline uint64_t word_of(const json_t *text)
{
	return strtoull(json_string_value(text), NULL, 16);
}

static inline bool flag_of(const json_t *obj, const char *key)
{
	return json_is_true(json_object_get(obj, key));
}

static inline void group_of(const json_t *obj, struct packet_world *world)
{
	struct kk_member *members = world->members[world->n_groups];
	struct kk_group *group = &world->groups[world->n_groups++];
	const json_t *entry;
	size_t i;

	group->id = number_of(obj, "id");
	json_array_foreach(json_object_get(obj, "members"), i, entry) {
		assert_true(i < MEMBERS_MAX);
		members[group->n_members++] =
			(struct kk_member){.address = address_of(text_of(entry, "agent")),
					   .healthy = flag_of(entry, "healthy")};
	}
}

static inline struct kk_listener listener_of(const json_t *obj, const struct kk_settings *set)
{
	const json_t *group = json_object_get(obj, "group");
	struct kk_listener l = {
		.protocol = strcmp(text_of(obj, "protocol"), "tcp") == 0 ? KK_TCP : KK_UDP,
		.address = public_of(obj, set),
		.port = (uint16_t)number_of(obj, "port"),
		.agent_port = (uint16_t)number_of(obj, "agent_port"),
		.service = number_of(obj, "service"),
		.group = group ? number_of(obj, "group") : 0,
		.snat = flag_of(obj, "snat"),
		.draining = flag_of(obj, "draining"),
	};

	if (!group)
		l.agent_address = address_of(text_of(obj, "agent"));
	return l;
}

static inline struct packet_world world_of(const json_t *obj)
{
	const json_t *set = json_object_get(obj, "settings"), *entry;
	struct packet_world world = {0};
	struct kk_prefix4 pool;
	size_t i;

	assert_int_equal(kk_parse_prefix4("pool", text_of(set, "pool"), &pool, NULL), 0);
	world.settings = (struct kk_settings){
		.pool = pool.addr.s_addr,
		.pool_mask = htonl(~0u << (32 - pool.len)),
		.host = htonl(number_of(set, "host")),
		.mtu = number_of(set, "mtu"),
	};
	json_array_foreach(json_object_get(set, "addresses"), i, entry) {
		assert_true(i < KK_ADDRESSES_MAX);
		world.settings.address4[i] = address_of(json_string_value(entry)).s_addr;
	}
	json_array_foreach(json_object_get(set, "addresses6"), i, entry) {
		assert_true(i < KK_ADDRESSES_MAX);
		world.settings.address6[i] = in6_of(json_string_value(entry));
	}
	if (json_object_get(set, "pool6"))
		world.settings.pool6 = in6_of(text_of(set, "pool6"));
	json_array_foreach(json_object_get(obj, "listeners"), i, entry) {
		assert_true(i < LISTENERS_MAX);
		world.listeners[world.n_listeners++] = listener_of(entry, &world.settings);
	}
	json_array_foreach(json_object_get(obj, "groups"), i, entry) {
		assert_true(i < GROUPS_MAX);
		group_of(entry, &world);
	}
	json_array_foreach(json_object_get(set, "flow_key"), i, entry) {
		assert_true(i < KK_FLOW_KEY_WORDS);
		world.settings.flow_key[i] = word_of(entry);
	}
	return world;
}

static inline void packet_of(const char *hex, struct packet *packet)
{
	packet->len = (uint32_t)strlen(hex) / 2;
	assert_true(packet->len <= PACKET_MAX);
	assert_int_equal(kk_unhex(hex, packet->data, packet->len), 0);
}

static inline void case_of(const json_t *world, const json_t *obj, struct packet_case *ret)
{
	const json_t *gso = json_object_get(obj, "gso_size"), *out = json_object_get(obj, "out");
	const char *direction = text_of(obj, "direction");

	ret->world = text_of(world, "name");
	ret->name = text_of(obj, "name");
	ret->direction = strcmp(direction, "inbound") == 0 ? KK_INBOUND : KK_OUTBOUND;
	ret->verdict = text_of(obj, "verdict");
	ret->reason = text_of(obj, "reason");
	packet_of(text_of(obj, "in"), &ret->in);
	ret->in.gso_size = gso ? (uint32_t)json_integer_value(gso) : 0;
	packet_of(out ? json_string_value(out) : text_of(obj, "in"), &ret->out);
}

/* What the loader is told; members are found by way of @world, which is not to move. */
static inline struct kk_datapath_tables tables_of(struct packet_world *world)
{
	for (size_t i = 0; i < world->n_groups; i++)
		world->groups[i].members = world->members[i];
	return (struct kk_datapath_tables){.listeners = world->listeners,
					   .n_listeners = world->n_listeners,
					   .groups = world->groups,
					   .n_groups = world->n_groups};
}

/* Group number @i of the world is in place @i. */
static inline void user_group(struct kk_user *user, const struct packet_world *world, size_t i)
{
	struct kk_maglev_member members[MEMBERS_MAX];
	uint32_t table[KK_MAGLEV_SIZE];
	size_t n = world->groups[i].n_members;

	for (size_t m = 0; m < n; m++)
		members[m] = (struct kk_maglev_member){
			.agent = kk_pool_offset(world->members[i][m].address.s_addr,
						world->settings.pool_mask),
			.healthy = world->members[i][m].healthy,
		};
	assert_int_equal(kk_maglev_fill(members, n, table), 0);
	for (size_t e = 0; e < KK_MAGLEV_SIZE; e++)
		user->groups[i * KK_MAGLEV_SIZE + e] = table[e];
}

static inline void user_listener(struct kk_user *user, const struct packet_world *world,
				 const struct kk_listener *l)
{
	struct kk_user_listener published = {
		.slot = slot_of(&world->settings, &l->address),
		.protocol = l->protocol,
		.port = l->port,
		.agent = l->agent_address.s_addr,
		.agent_port = l->agent_port,
		.service = l->service,
		.flags =
			(l->snat ? KK_LISTENER_SNAT : 0) | (l->draining ? KK_LISTENER_DRAINING : 0),
	};

	for (size_t i = 0; i < world->n_groups && l->group; i++) {
		if (world->groups[i].id != l->group)
			continue;
		published.agent = (uint32_t)i;
		published.flags |= KK_LISTENER_GROUP;
		for (size_t m = 0; m < world->groups[i].n_members && !l->snat; m++)
			kk_user_origin(user, &published, world->members[i][m].address.s_addr);
	}
	kk_user_publish(user, &published);
}

/* @user is empty. */
static inline void user_fill(struct kk_user *user, const struct packet_world *world)
{
	user->settings = world->settings;
	for (size_t i = 0; i < world->n_groups; i++)
		user_group(user, world, i);
	for (size_t i = 0; i < world->n_listeners; i++)
		user_listener(user, world, &world->listeners[i]);
}

static inline struct kk_user *user_new(const struct packet_world *world)
{
	struct kk_user *user = kk_user_new();

	assert_non_null(user);
	user_fill(user, world);
	return user;
}

/* Reasons that kk_edge() alone gives: tests/packets/edge.json has them. */
static inline bool is_of_edge(enum kk_reason reason)
{
	switch (reason) {
	case KK_REASON_DENIED:
	case KK_REASON_BANNED:
	case KK_REASON_LIMITED_PACKETS:
	case KK_REASON_LIMITED_CONNECTIONS:
	case KK_REASON_SYN_CHALLENGE:
	case KK_REASON_SYN_PROOF:
	case KK_REASON_CLOSED_PORT:
	case KK_REASON_RELAYED:
	case KK_REASON_RELAY_UNHEARD:
		return true;
	default:
		return false;
	}
}

/* Every packet is counted once, under its reason, with the bytes it leaves with. */
static inline void assert_counted(const struct kk_counter *before, const struct kk_counter *after,
				  enum kk_reason reason, uint32_t bytes)
{
	for (int i = 0; i < KK_REASON_MAX; i++) {
		assert_int_equal(after[i].packets - before[i].packets, i == (int)reason);
		assert_int_equal(after[i].bytes - before[i].bytes, i == (int)reason ? bytes : 0);
	}
}

/* The buffer has the packet's very length, so that a sanitizer sees what is read beyond. */
static inline void user_run(struct kk_user *user, enum kk_direction direction,
			    const struct packet *in, struct outcome *ret)
{
	KK_CLEANUP_FREE uint8_t *data = malloc(KK_USER_HEADROOM + in->len);
	struct kk_user_packet packet = {
		.data = data + KK_USER_HEADROOM, .len = in->len, .gso_size = in->gso_size};
	struct kk_counter before[KK_REASON_MAX];

	assert_non_null(data);
	memcpy(packet.data, in->data, in->len);
	memcpy(before, user->counters, sizeof(before));
	ret->reason = kk_user_forward(user, &packet, direction);
	ret->verdict = kk_verdict(ret->reason);
	ret->packet.len = packet.len;
	memcpy(ret->packet.data, packet.data, packet.len);
	assert_counted(before, user->counters, ret->reason, packet.len);
}

static inline void print_packet(const char *what, const struct packet *packet)
{
	KK_CLEANUP_FREE char *hex = malloc(2 * PACKET_MAX + 1);

	assert_non_null(hex);
	kk_hex(packet->data, packet->len, hex);
	print_error("%s %s\n", what, hex);
}

static inline bool same_packet(const struct packet *a, const struct packet *b)
{
	return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

static inline void assert_case(const struct packet_case *c, const struct outcome *got)
{
	if (strcmp(kk_verdict_name(got->verdict), c->verdict) == 0 &&
	    strcmp(kk_reason_name(got->reason), c->reason) == 0 &&
	    same_packet(&got->packet, &c->out))
		return;
	print_packet("in  ", &c->in);
	print_packet("want", &c->out);
	print_packet("got ", &got->packet);
	fail_msg("%s: %s %s: want %s (%s), got %s (%s)", c->world,
		 c->direction == KK_INBOUND ? "inbound" : "outbound", c->name, c->verdict,
		 c->reason, kk_verdict_name(got->verdict), kk_reason_name(got->reason));
}

#endif
