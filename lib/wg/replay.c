// SPDX-License-Identifier: MIT
#include "wg/replay.h"

#include <string.h>

bool wg_replay_may(const struct wg_replay *r, uint64_t counter)
{
	if (counter >= r->next)
		return true;
	if (r->next - counter > WG_REPLAY_WINDOW)
		return false;
	return !(r->bits[counter / 64 % WG_REPLAY_WORDS] >> (counter % 64) & 1);
}

/* Empties the words between the old top and the new one. */
static void advance(struct wg_replay *r, uint64_t counter)
{
	uint64_t top = r->next ? (r->next - 1) / 64 : 0, word = counter / 64;

	if (word - top >= WG_REPLAY_WORDS)
		memset(r->bits, 0, sizeof(r->bits));
	else
		for (uint64_t i = top + 1; i <= word; i++)
			r->bits[i % WG_REPLAY_WORDS] = 0;
	r->next = counter + 1;
}

bool wg_replay_accept(struct wg_replay *r, uint64_t counter)
{
	if (!wg_replay_may(r, counter))
		return false;
	if (counter >= r->next)
		advance(r, counter);
	r->bits[counter / 64 % WG_REPLAY_WORDS] |= 1ull << (counter % 64);
	return true;
}
