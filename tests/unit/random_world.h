/* SPDX-License-Identifier: MIT */
/*
 * Tables drawn at random for packets of the cases: whatever the loader takes, of addresses, ports and sources that those
 * packets have, so that each table is met and not only missed.
 */
#ifndef KK_TEST_RANDOM_WORLD_H
#define KK_TEST_RANDOM_WORLD_H

#include "edge_cases.h"
#include "packet_stream.h"

#define RANDOM_NOW	 1000000000000001ULL /* many windows and cookies' times after the start */
#define RANDOM_LISTENERS 28
#define RANDOM_SERVICES	 12
#define PICK(s, list)	 ((list)[draw(s, ARRAY_SIZE(list))])

static const char *const random_sources[] = {
	"203.0.113.7",	     "203.0.113.50",	"203.0.113.99",	       "192.0.2.51",
	"2001:db8:77::7",    "2001:db8:50::50", "2001:db8:bad::1",     "192.0.2.33",
	"2001:db8:77:9::33", "203.0.113.10",	"2001:db8:bad:0:1::2",
};

/* Of @list, or of the gateway's own. */
static const struct {
	const char *address;
	uint32_t len;
} random_prefixes[] = {
	{"0.0.0.0", 0},	      {"203.0.113.0", 24},   {"203.0.113.7", 32},
	{"203.0.113.64", 26}, {"192.0.2.0", 25},     {"::", 0},
	{"2001:db8::", 32},   {"2001:db8:77::", 64}, {"2001:db8:77::7", 128},
};

/* Whom bans and proofs mean: of IPv6 the /64. */
static inline struct kk_in6 random_subscriber(struct stream *s)
{
	const char *text = PICK(s, random_sources);
	struct kk_in6 source = end_of(text);

	if (strchr(text, ':'))
		source.word[2] = source.word[3] = 0;
	return source;
}

/* Mostly long from now, else the very edge. */
static inline uint64_t random_until(struct stream *s)
{
	return RANDOM_NOW + (draw(s, 4) ? 10000ULL * 1000000000 : draw(s, 3) - 1ULL);
}

static inline __be32 random_agent(struct stream *s)
{
	static const uint8_t hosts[] = {100, 100, 100, 7};

	return htonl(0x0a000000u | (draw(s, 5) + 1) << 16 | PICK(s, hosts));
}

static inline void random_settings(struct stream *s, struct edge_world *w)
{
	static const uint32_t mtus[] = {1420, 1420, 1280, 1380, 0};
	struct kk_settings *set = &w->base.settings;

	*set = (struct kk_settings){
		.address4 = {htonl(0xc6336401), draw(s, 2) ? htonl(0xc633644d) : 0},
		.pool = htonl(0x0a000000),
		.pool_mask = htonl(draw(s, 4) ? 0xff000000 : 0xfff80000),
		.host = draw(s, 8) ? htonl(1) : 0,
		.mtu = PICK(s, mtus),
	};
	if (draw(s, 4)) {
		set->address6[0] = in6_of("2001:db8:1::1");
		if (draw(s, 2))
			set->address6[1] = in6_of("2001:db8:1::2");
		set->pool6 = in6_of("fd4b:6b6b:1:2:3:4::");
	}
	for (size_t i = 0; i < KK_FLOW_KEY_WORDS; i++)
		set->flow_key[i] = (uint64_t)draw(s, UINT32_MAX) << 32 | draw(s, UINT32_MAX);
	w->settings = (struct kk_edge_settings){
		.cookie_key = {0x0706050403020100, 0x0f0e0d0c0b0a0908},
		.syn_rate = draw(s, 3) ? draw(s, 6) : 0,
		.ephemeral = 32768,
	};
}

static inline void random_groups(struct stream *s, struct packet_world *world)
{
	world->n_groups = draw(s, GROUPS_MAX);
	for (size_t i = 0; i < world->n_groups; i++) {
		struct kk_group *group = &world->groups[i];
		uint32_t first = draw(s, 5), n = draw(s, 5) + 1;

		*group = (struct kk_group){.id = 7 + (uint32_t)i, .n_members = n};
		for (uint32_t m = 0; m < n; m++)
			world->members[i][m] = (struct kk_member){
				.address.s_addr = htonl(0x0a000064 | ((first + m) % 5 + 1) << 16),
				.healthy = draw(s, 4) != 0,
			};
	}
}

/* The members of @l's group, or its Agent. */
static inline size_t agents_of(const struct packet_world *world, const struct kk_listener *l,
			       __be32 agents[MEMBERS_MAX])
{
	agents[0] = l->agent_address.s_addr;
	for (size_t i = 0; i < world->n_groups; i++) {
		if (world->groups[i].id != l->group)
			continue;
		for (size_t m = 0; m < world->groups[i].n_members; m++)
			agents[m] = world->members[i][m].address.s_addr;
		return world->groups[i].n_members;
	}
	return 1;
}

/* Whether both are of one public port, or lead to one port of one Agent. */
static inline bool collide(const struct packet_world *world, const struct kk_listener *a,
			   const struct kk_listener *b)
{
	__be32 left[MEMBERS_MAX], right[MEMBERS_MAX];
	size_t n_left = agents_of(world, a, left), n_right = agents_of(world, b, right);

	if (a->protocol != b->protocol || a->address.family != b->address.family)
		return false;
	if (a->port == b->port && memcmp(&a->address, &b->address, sizeof(a->address)) == 0)
		return true;
	for (size_t i = 0; i < n_left; i++)
		for (size_t j = 0; j < n_right; j++)
			if (left[i] == right[j] && a->agent_port == b->agent_port)
				return true;
	return false;
}

static inline struct kk_address random_address(struct stream *s, const struct kk_settings *set)
{
	struct kk_address address = {.family = AF_INET, .v4.s_addr = set->address4[0]};
	uint32_t i = draw(s, 2);

	if (set->pool6.word[0] && draw(s, 2)) {
		address.family = AF_INET6;
		if (!set->address6[i].word[0])
			i = 0;
		memcpy(address.bytes, &set->address6[i], sizeof(address.bytes));
	} else if (set->address4[i]) {
		address.v4.s_addr = set->address4[i];
	}
	return address;
}

/* Where the cases' packets go, so that answers of theirs are answers here. */
static const struct {
	uint8_t protocol;
	uint16_t port, agent_port;
	uint32_t agent;
} random_ways[] = {
	{KK_TCP, 2222, 2222, 0x0a010064}, {KK_TCP, 8080, 80, 0x0a020064},
	{KK_TCP, 80, 80, 0x0a010064},	  {KK_UDP, 27015, 27015, 0x0a010064},
	{KK_UDP, 2222, 53, 0x0a020064},	  {KK_UDP, 28000, 28000, 0x0a020064},
	{KK_TCP, 3000, 2222, 0x0a020064}, {KK_TCP, 443, 8443, 0x0a010064},
	{KK_UDP, 53, 53, 0x0a010064},	  {KK_TCP, 2022, 22, 0x0a010064},
	{KK_UDP, 2053, 5353, 0x0a010064}, {KK_UDP, 6000, 6000, 0x0a010064},
	{KK_TCP, 9443, 9443, 0x0a030064}, {KK_TCP, 81, 81, 0x0a020064},
	{KK_TCP, 65535, 1, 0x0a020064},	  {KK_UDP, 1, 65535, 0x0a020064},
};

static inline struct kk_listener random_listener(struct stream *s, const struct packet_world *world)
{
	uint32_t way = draw(s, ARRAY_SIZE(random_ways));
	struct kk_listener l = {
		.protocol = random_ways[way].protocol,
		.address = random_address(s, &world->settings),
		.port = random_ways[way].port,
		.service = 1 + draw(s, RANDOM_SERVICES),
		.agent_address.s_addr =
			draw(s, 4) ? htonl(random_ways[way].agent) : random_agent(s),
		.snat = draw(s, 5) == 0 && world->settings.host,
		.draining = draw(s, 8) == 0,
	};

	l.agent_port = draw(s, 4)   ? random_ways[way].agent_port
		       : draw(s, 2) ? l.port
				    : random_ways[draw(s, ARRAY_SIZE(random_ways))].agent_port;
	if (world->n_groups && draw(s, 4) == 0) {
		l.group = world->groups[draw(s, (uint32_t)world->n_groups)].id;
		l.agent_address.s_addr = 0;
	}
	if (l.protocol == KK_UDP && !l.snat)
		l.draining = false; /* the loader takes such a one away */
	return l;
}

static inline void random_listeners(struct stream *s, struct packet_world *world)
{
	for (uint32_t tries = draw(s, 4 * RANDOM_LISTENERS); tries > 0; tries--) {
		struct kk_listener l = random_listener(s, world);
		bool free = world->n_listeners < RANDOM_LISTENERS;

		for (size_t i = 0; i < world->n_listeners && free; i++)
			free = !collide(world, &l, &world->listeners[i]);
		if (free)
			world->listeners[world->n_listeners++] = l;
	}
}

static inline void random_lists(struct stream *s, struct edge_world *w)
{
	for (uint32_t tries = draw(s, EDGE_MAX); tries > 0; tries--) {
		uint32_t p = draw(s, ARRAY_SIZE(random_prefixes)), list = draw(s, 3);
		bool v6 = strchr(random_prefixes[p].address, ':');
		struct kk_list_key key = {
			.prefix_len = 32 + (v6 ? 0 : 96) + random_prefixes[p].len,
			.list = kk_list_number(list, v6 ? KK_IP6 : KK_IP4),
			.address = end_of(random_prefixes[p].address),
		};
		bool free = true;

		for (size_t i = 0; i < w->n_lists && free; i++)
			free = memcmp(&w->lists[i].key, &key, sizeof(key)) != 0;
		if (!free)
			continue;
		w->lists[w->n_lists].key = key;
		w->lists[w->n_lists++].value.verdict =
			list == KK_LIST_GATEWAY || draw(s, 2) ? KK_LIST_DENY : KK_LIST_ALLOW;
	}
}

static inline void random_guards(struct stream *s, struct edge_world *w)
{
	uint32_t n = draw(s, 8);

	random_lists(s, w);
	for (uint32_t service = 1; service <= n; service++)
		for (size_t i = 0; i < w->base.n_listeners; i++) {
			if (w->base.listeners[i].service != service)
				continue;
			w->policies[w->n_policies++] = (struct edge_policy){
				.service = service,
				.policy = {.list = draw(s, 3),
					   .flags = draw(s, 4) ? 0 : KK_POLICY_DENY,
					   .packet_interval = draw(s, 2) ? 0 : 4000000000,
					   .packet_slack = 4ULL * 1000000000,
					   .connection_interval = draw(s, 2) ? 0 : 4000000000,
					   .connection_slack = 1ULL * 1000000000,
					   .syn_rate = draw(s, 3) ? 0 : 1 + draw(s, 6)},
			};
			break;
		}
	for (uint32_t i = draw(s, 5); i > 0; i--) {
		w->bans[w->n_bans].key = (struct kk_ban_key){
			.address = random_subscriber(s),
			.service = draw(s, 2) ? 1 + draw(s, RANDOM_SERVICES) : 0};
		w->bans[w->n_bans++].until = random_until(s);
	}
}

static inline void random_relays(struct stream *s, struct edge_world *w)
{
	static const struct {
		const char *a, *b;
		uint16_t a_port, b_port;
	} sessions[] = {
		{"203.0.113.50", "192.0.2.51", 51820, 40000},
		{"2001:db8:50::50", "2001:db8:77::7", 51820, 5000},
		{"203.0.113.7", "203.0.113.50", 9, 51820},
	};

	for (size_t i = 0; i < ARRAY_SIZE(sessions); i++) {
		uint16_t at = (uint16_t)(3478 + 2 * i);

		if (draw(s, 2))
			continue;
		for (int end = 0; end < 2; end++, w->n_relays++) {
			w->relays[w->n_relays].key = (struct kk_relay_key){
				.address = end_of(end ? sessions[i].b : sessions[i].a),
				.port = htons(end ? sessions[i].b_port : sessions[i].a_port),
				.at = htons((uint16_t)(at + end)),
			};
			w->relays[w->n_relays].value = (struct kk_relay){
				.peer = end_of(end ? sessions[i].a : sessions[i].b),
				.peer_port = htons(end ? sessions[i].a_port : sessions[i].b_port),
				.at = htons((uint16_t)(at + !end)),
				.until = random_until(s),
			};
		}
	}
}

/* Each is on where its table holds something, as the loader has it; the rest by chance. */
static inline void random_features(struct stream *s, struct edge_world *w)
{
	for (size_t i = 0; i < w->n_lists; i++)
		if (ntohl(w->lists[i].key.list) >> 1 == KK_LIST_GATEWAY)
			w->features |= KK_FEATURE_LIST;
	for (size_t i = 0; i < w->n_bans; i++)
		w->features |= w->bans[i].key.service ? KK_FEATURE_SERVICE_BANS : KK_FEATURE_BANS;
	if (w->n_relays)
		w->features |= KK_FEATURE_RELAY;
	if (draw(s, 2))
		w->features |= KK_FEATURE_CLOSED_PORTS;
	if (draw(s, 2))
		w->features |= KK_FEATURE_SYN_COOKIES;
}

/* Fills @w by what @s draws: the same again from the same number. */
static inline void random_world(struct stream *s, struct edge_world *w)
{
	memset(w, 0, sizeof(*w));
	w->name = "drawn at random";
	w->now = RANDOM_NOW;
	random_settings(s, w);
	random_groups(s, &w->base);
	random_listeners(s, &w->base);
	if (draw(s, 2))
		random_guards(s, w);
	random_relays(s, w);
	for (uint32_t i = draw(s, 3); i > 0; i--) {
		w->verified[w->n_verified].source = random_subscriber(s);
		w->verified[w->n_verified++].until = random_until(s);
	}
	w->sockets[w->n_sockets].protocol = KK_TCP;
	w->sockets[w->n_sockets++].port = 22;
	w->sockets[w->n_sockets].protocol = KK_UDP;
	w->sockets[w->n_sockets++].port = 4500;
	random_features(s, w);
}

#endif
