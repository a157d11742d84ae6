// SPDX-License-Identifier: MIT
#include "core/maglev.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * The finalizer of splitmix64. What it gives is part of what gateways agree on: another one moves flows
 * while gateways of two versions are in use.
 */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

/* The order in which a member wants elements: from @next on in steps of @skip, the size being prime. */
struct permutation {
	uint32_t next, skip;
};

static struct permutation permutation_of(uint32_t agent)
{
	uint64_t h = mix(agent);

	return (struct permutation){
		.next = (uint32_t)(h % KK_MAGLEV_SIZE),
		.skip = (uint32_t)(mix(h) % (KK_MAGLEV_SIZE - 1)) + 1,
	};
}

static int compare_members(const void *a, const void *b)
{
	const struct kk_maglev_member *x = a, *y = b;

	return (x->agent > y->agent) - (x->agent < y->agent);
}

#define FREE UINT16_MAX

/* By turns each member takes of the free elements the one that it wants most. */
static void take_turns(const struct kk_maglev_member *members, size_t n,
		       uint16_t owner[KK_MAGLEV_SIZE])
{
	struct permutation wish[KK_MAGLEV_MEMBERS_MAX];

	for (size_t i = 0; i < n; i++)
		wish[i] = permutation_of(members[i].agent);
	for (size_t i = 0; i < KK_MAGLEV_SIZE; i++)
		owner[i] = FREE;
	for (size_t taken = 0; taken < KK_MAGLEV_SIZE; taken++) {
		struct permutation *w = &wish[taken % n];

		while (owner[w->next] != FREE)
			w->next = (w->next + w->skip) % KK_MAGLEV_SIZE;
		owner[w->next] = (uint16_t)(taken % n);
	}
}

/* Of the healthy ones the one with the highest weight at @element (rendezvous hashing). */
static size_t stand_in(const struct kk_maglev_member *members, size_t n, size_t element)
{
	uint64_t best_weight = 0;
	size_t best = n;

	for (size_t i = 0; i < n; i++) {
		uint64_t weight = mix(mix(members[i].agent) ^ element);

		if (!members[i].healthy || (best < n && weight <= best_weight))
			continue;
		best = i;
		best_weight = weight;
	}
	return best;
}

static bool any_healthy(const struct kk_maglev_member *members, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (members[i].healthy)
			return true;
	return false;
}

int kk_maglev_fill(const struct kk_maglev_member *members, size_t n, uint32_t table[KK_MAGLEV_SIZE])
{
	struct kk_maglev_member sorted[KK_MAGLEV_MEMBERS_MAX];
	uint16_t owner[KK_MAGLEV_SIZE];
	bool judge;

	if (n == 0 || n > KK_MAGLEV_MEMBERS_MAX)
		return -EINVAL;
	memcpy(sorted, members, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), compare_members);
	for (size_t i = 1; i < n; i++)
		if (sorted[i].agent == sorted[i - 1].agent)
			return -EINVAL;
	take_turns(sorted, n, owner);
	judge = any_healthy(sorted, n);
	for (size_t i = 0; i < KK_MAGLEV_SIZE; i++) {
		size_t m = owner[i];

		if (judge && !sorted[m].healthy)
			m = stand_in(sorted, n, i);
		table[i] = sorted[m].agent;
	}
	return 0;
}
