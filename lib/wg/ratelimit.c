// SPDX-License-Identifier: MIT
#include "wg/ratelimit.h"

#include "wg/constants.h"

bool wg_bucket_take(struct wg_bucket *b, uint64_t now, uint64_t rate, uint64_t burst)
{
	uint64_t cost = WG_SEC / rate, full = cost * burst;

	if (!b->last) {
		b->tokens = full;
	} else {
		uint64_t gained = now - b->last;

		b->tokens = gained >= full - b->tokens ? full : b->tokens + gained;
	}
	b->last = now ? now : 1;
	if (b->tokens < cost)
		return false;
	b->tokens -= cost;
	return true;
}

bool wg_ratelimit_allow(struct wg_ratelimit *r, const struct wg_endpoint *from, uint64_t now)
{
	const void *addr = &from->in6.sin6_addr;
	size_t len = 8;

	if (from->sa.sa_family == AF_INET) {
		addr = &from->in.sin_addr;
		len = 4;
	}
	return wg_bucket_take(&r->slots[wg_siphash(&r->key, addr, len) % WG_RATELIMIT_SLOTS], now,
			      WG_SOURCE_RATE, WG_SOURCE_BURST);
}
