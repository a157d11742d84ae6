/* SPDX-License-Identifier: MIT */
/* Tables of groups (kk/core/maglev.h), from members in any order. */
#ifndef KK_CORE_USER_MAGLEV_H
#define KK_CORE_USER_MAGLEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kk/core/maglev.h>

struct kk_maglev_member {
	uint32_t agent; /* what the table holds for it, and what it is known by */
	bool healthy;
};

/* kk_maglev_make(). -EINVAL: no member, more than KK_MAGLEV_MEMBERS_MAX, or one twice. */
int kk_maglev_fill(const struct kk_maglev_member *members, size_t n,
		   uint32_t table[KK_MAGLEV_SIZE]);

#endif
