// SPDX-License-Identifier: MIT
#include "core/maglev.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int compare_members(const void *a, const void *b)
{
	const struct kk_maglev_member *x = a, *y = b;

	return (x->agent > y->agent) - (x->agent < y->agent);
}

int kk_maglev_fill(const struct kk_maglev_member *members, size_t n, uint32_t table[KK_MAGLEV_SIZE])
{
	struct kk_maglev_member sorted[KK_MAGLEV_MEMBERS_MAX];
	uint32_t agents[KK_MAGLEV_MEMBERS_MAX];
	uint8_t healthy[KK_MAGLEV_MEMBERS_MAX];
	struct kk_maglev_work work;

	if (n == 0 || n > KK_MAGLEV_MEMBERS_MAX)
		return -EINVAL;
	memcpy(sorted, members, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), compare_members);
	for (size_t i = 0; i < n; i++) {
		agents[i] = sorted[i].agent;
		healthy[i] = sorted[i].healthy;
		if (i > 0 && agents[i] == agents[i - 1])
			return -EINVAL;
	}
	kk_maglev_make(&work, agents, healthy, (uint32_t)n, table);
	return 0;
}
