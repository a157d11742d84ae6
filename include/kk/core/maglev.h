/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Tables that spread flows over the members of a group (Eisenbud et al., "Maglev: A Fast and Reliable
 * Software Network Load Balancer", NSDI 2016, section 3.4). They depend on the members alone, so every
 * gateway makes the same one, whoever fills it: user space for eBPF, the kernel for its module.
 */
#ifndef KK_CORE_MAGLEV_H
#define KK_CORE_MAGLEV_H

#include <kk/core/types.h>

#define KK_MAGLEV_MEMBERS_MAX 128
#define KK_MAGLEV_FREE	      0xffff

/*
 * The finalizer of splitmix64. What it gives is part of what gateways agree on: another one moves flows
 * while gateways of two versions are in use.
 */
KK_INLINE __u64 kk_maglev_mix(__u64 x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

/* The order in which a member wants elements: from @next on in steps of @skip, the size being prime. */
struct kk_maglev_wish {
	__u32 next, skip;
};

/* What a table is made with, too much for a kernel's stack. */
struct kk_maglev_work {
	struct kk_maglev_wish wish[KK_MAGLEV_MEMBERS_MAX];
	__u16 owner[KK_MAGLEV_SIZE]; /* of each element: the place of a member, or KK_MAGLEV_FREE */
};

/*
 * By turns each member takes of the free elements the one that it wants most. @agents are sorted, and each is
 * there once.
 */
KK_INLINE void kk_maglev_take_turns(struct kk_maglev_work *work, const __u32 *agents, __u32 n)
{
	for (__u32 i = 0; i < n; i++) {
		__u64 h = kk_maglev_mix(agents[i]);

		work->wish[i].next = (__u32)(h % KK_MAGLEV_SIZE);
		work->wish[i].skip = (__u32)(kk_maglev_mix(h) % (KK_MAGLEV_SIZE - 1)) + 1;
	}
	for (__u32 i = 0; i < KK_MAGLEV_SIZE; i++)
		work->owner[i] = KK_MAGLEV_FREE;
	for (__u32 taken = 0; taken < KK_MAGLEV_SIZE; taken++) {
		struct kk_maglev_wish *w = &work->wish[taken % n];

		while (work->owner[w->next] != KK_MAGLEV_FREE)
			w->next = (w->next + w->skip) % KK_MAGLEV_SIZE;
		work->owner[w->next] = (__u16)(taken % n);
	}
}

/* Of the healthy ones the one with the highest weight at @element (rendezvous hashing). */
KK_INLINE __u32 kk_maglev_stand_in(const __u32 *agents, const __u8 *healthy, __u32 n, __u32 element)
{
	__u64 best_weight = 0;
	__u32 best = n;

	for (__u32 i = 0; i < n; i++) {
		__u64 weight = kk_maglev_mix(kk_maglev_mix(agents[i]) ^ element);

		if (!healthy[i] || (best < n && weight <= best_weight))
			continue;
		best = i;
		best_weight = weight;
	}
	return best;
}

/*
 * Fills @table from 1 to KK_MAGLEV_MEMBERS_MAX members: @agents, sorted, each once, is what the table holds for
 * them. Members have equal shares, but for one element. Those that are not healthy give theirs to the others, and
 * nothing else changes: of each element the others have an order of their own. If none is healthy all are taken for
 * healthy: to try is better than not to.
 */
KK_INLINE void kk_maglev_make(struct kk_maglev_work *work, const __u32 *agents, const __u8 *healthy,
			      __u32 n, __u32 table[KK_MAGLEV_SIZE])
{
	int judge = 0;

	kk_maglev_take_turns(work, agents, n);
	for (__u32 i = 0; i < n; i++)
		judge |= healthy[i];
	for (__u32 i = 0; i < KK_MAGLEV_SIZE; i++) {
		__u32 m = work->owner[i];

		if (judge && !healthy[m])
			m = kk_maglev_stand_in(agents, healthy, n, i);
		table[i] = agents[m];
	}
}

#endif
