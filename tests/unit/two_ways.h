/* SPDX-License-Identifier: MIT */
/*
 * One packet after another by two ways through the core in user space, with the same tables: the general one, edge and
 * forwarding, and as the programs go, the short one first (kk/core/plain.h). They agree on what becomes of each packet, and on what
 * is remembered and counted.
 */
#ifndef KK_TEST_TWO_WAYS_H
#define KK_TEST_TWO_WAYS_H

#include "random_packets.h"

struct two_ways {
	const struct edge_world *world;
	struct kk_user *general, *brief; /* made once, for world after world */
	uint64_t n_plain, n_forwarded;	 /* of these the short way took so many */
};

static inline void two_ways_init(struct two_ways *w)
{
	*w = (struct two_ways){.general = kk_user_new(), .brief = kk_user_new()};
	assert_true(w->general && w->brief);
}

static inline void two_ways_clean(struct two_ways *w)
{
	kk_user_free(w->general);
	kk_user_free(w->brief);
}

/* With @world, which stays where it is. */
static inline void two_ways_begin(struct two_ways *w, const struct edge_world *world)
{
	w->world = world;
	edge_user_fill(w->general, world);
	edge_user_fill(w->brief, world);
}

/* What two_ways_begin() and packets have written: the tables are large, and most of them are not used. */
static inline void empty(struct kk_user *user, const struct edge_world *world)
{
	struct kk_map *maps[] = {&user->origins,       &user->fragments,  &user->lists,
				 &user->bans,	       &user->sources,	  &user->snat,
				 &user->edge.verified, &user->edge.relays};

	for (size_t i = 0; i < ARRAY_SIZE(maps); i++)
		kk_map_clear(maps[i]);
	for (size_t i = 0; i < world->base.n_listeners; i++) {
		const struct kk_listener *l = &world->base.listeners[i];
		uint32_t slot = slot_of(&world->base.settings, &l->address);

		user->listeners[kk_listener_index(slot, l->protocol, l->port)] = 0;
	}
	memset(user->groups, 0, GROUPS_MAX * KK_MAGLEV_SIZE * sizeof(user->groups[0]));
	memset(user->services, 0, (RANDOM_SERVICES + 1) * sizeof(user->services[0]));
	memset(user->policies, 0, (EDGE_MAX + 1) * sizeof(user->policies[0]));
	memset(user->traffic, 0, (RANDOM_SERVICES + 1) * sizeof(user->traffic[0]));
	memset(user->edge.floods, 0, (RANDOM_SERVICES + 1) * sizeof(user->edge.floods[0]));
	memset(user->counters, 0, sizeof(user->counters));
	memset(&user->scratch, 0, sizeof(user->scratch));
}

/* A packet as it comes; where the short way is, it is asked as XDP asks it (edge and all) or as tc does behind the edge. */
enum two_ways_host { AS_XDP, AS_TC };

static inline enum kk_reason general_way(struct kk_user *user, struct kk_user_packet *p,
					 enum kk_direction direction)
{
	enum kk_reason reason = direction == KK_INBOUND ? kk_user_edge(user, p) : KK_REASON_MAX;

	return reason == KK_REASON_MAX ? kk_user_forward(user, p, direction) : reason;
}

static inline enum kk_reason brief_way(struct kk_user *user, struct kk_user_packet *p,
				       enum kk_direction direction, enum two_ways_host host,
				       bool *ret_plain)
{
	bool edge = direction == KK_INBOUND;
	enum kk_reason reason;

	if (edge && host == AS_TC) {
		reason = kk_user_edge(user, p);
		if (reason != KK_REASON_MAX)
			return reason;
		edge = false;
	}
	reason = kk_user_plain(user, p, direction, edge);
	*ret_plain = reason != KK_REASON_MAX;
	if (!*ret_plain && edge)
		reason = kk_user_edge(user, p);
	return reason == KK_REASON_MAX ? kk_user_forward(user, p, direction) : reason;
}

/* The buffer has the packet's very length, so that a sanitizer sees what is read beyond. */
static inline uint8_t *copy_of(const struct kk_user_packet *in, struct kk_user_packet *ret)
{
	uint8_t *buffer = malloc(KK_USER_HEADROOM + in->len);

	assert_non_null(buffer);
	*ret = *in;
	ret->data = buffer + KK_USER_HEADROOM;
	memcpy(ret->data, in->data, in->len);
	return buffer;
}

static inline void print_bytes(const char *what, const struct kk_user_packet *p)
{
	print_error("%s, gso %u, partial %d:", what, p->gso_size, p->partial);
	for (uint32_t i = 0; i < p->len; i++)
		print_error("%s%02x", i % 32 ? "" : "\n  ", p->data[i]);
	print_error("\n");
}

/* What both make of @in; fails where that is not the same. */
static inline enum kk_reason two_ways_run(struct two_ways *w, const struct kk_user_packet *in,
					  enum kk_direction direction, enum two_ways_host host)
{
	struct kk_user_packet a, b;
	KK_CLEANUP_FREE uint8_t *buffer_a = copy_of(in, &a);
	KK_CLEANUP_FREE uint8_t *buffer_b = copy_of(in, &b);
	bool plain = false;
	enum kk_reason general = general_way(w->general, &a, direction);
	enum kk_reason brief = brief_way(w->brief, &b, direction, host, &plain);

	w->n_plain += plain;
	w->n_forwarded += general == KK_REASON_INBOUND || general == KK_REASON_OUTBOUND;
	if (general == brief && a.len == b.len && a.gso_size == b.gso_size &&
	    memcmp(a.data, b.data, a.len) == 0)
		return general;
	print_bytes("in", in);
	print_bytes("general", &a);
	print_bytes(plain ? "plain" : "not plain", &b);
	fail_msg("%s: %s by the general way, %s by the other",
		 direction == KK_INBOUND ? "inbound" : "outbound", kk_reason_name(general),
		 kk_reason_name(brief));
	return general;
}

static inline void assert_same_map(const char *name, const struct kk_map *a, const struct kk_map *b)
{
	const void *key;
	size_t at = 0;
	void *value;

	if (a->n != b->n)
		fail_msg("%s: %zu and %zu entries", name, a->n, b->n);
	while ((value = kk_map_next(a, &at, &key))) {
		const void *other = kk_map_get(b, key);

		if (!other || memcmp(value, other, a->value_size) != 0)
			fail_msg("%s: the two differ", name);
	}
}

/* Fails unless both have counted and remembered the same, and empties them. */
static inline void two_ways_end(struct two_ways *w)
{
	const struct kk_user *a = w->general, *b = w->brief;

	assert_memory_equal(a->counters, b->counters, sizeof(a->counters));
	for (uint32_t service = 0; service <= RANDOM_SERVICES; service++) {
		assert_memory_equal(&a->traffic[service], &b->traffic[service],
				    sizeof(a->traffic[0]));
		assert_memory_equal(&a->edge.floods[service], &b->edge.floods[service],
				    sizeof(a->edge.floods[0]));
	}
	assert_same_map("fragments", &a->fragments, &b->fragments);
	assert_same_map("sources", &a->sources, &b->sources);
	assert_same_map("translated flows", &a->snat, &b->snat);
	assert_same_map("verified sources", &a->edge.verified, &b->edge.verified);
	assert_same_map("relays", &a->edge.relays, &b->edge.relays);
	empty(w->general, w->world);
	empty(w->brief, w->world);
}

#endif
