/* SPDX-License-Identifier: MIT */
/*
 * Tables that spread flows over the members of a group (Eisenbud et al., "Maglev: A Fast and Reliable
 * Software Network Load Balancer", NSDI 2016, section 3.4). They depend on the members alone, so every
 * gateway makes the same one.
 */
#ifndef KK_CORE_MAGLEV_H
#define KK_CORE_MAGLEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kk/core/types.h>

#define KK_MAGLEV_MEMBERS_MAX 128

struct kk_maglev_member {
	uint32_t agent; /* what the table holds for it, and what it is known by */
	bool healthy;
};

/*
 * Fills @table from @n members in any order. Members have equal shares, but for one element. Those that are
 * not healthy give theirs to the others, and nothing else changes: of each element the others have an
 * order of their own. If none is healthy all are taken for healthy: to try is better than not to.
 * -EINVAL: no member, more than KK_MAGLEV_MEMBERS_MAX, or one twice.
 */
int kk_maglev_fill(const struct kk_maglev_member *members, size_t n,
		   uint32_t table[KK_MAGLEV_SIZE]);

#endif
