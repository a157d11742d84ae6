// SPDX-License-Identifier: MIT
#include "controld/attempts.h"

#include <time.h>

#define WAYS 8 /* slots that one may have */

void kk_attempts_init(struct kk_attempts *attempts, unsigned int burst, unsigned int refill_s,
		      uint64_t seed)
{
	*attempts = (struct kk_attempts){.burst = burst, .refill_s = refill_s, .seed = seed};
}

/* FNV-1a over a random beginning: collisions cost an attacker nothing but chance. */
static uint64_t hash(const struct kk_attempts *attempts, const char *who)
{
	uint64_t h = attempts->seed ^ 0xcbf29ce484222325ull;

	for (; *who; who++)
		h = (h ^ (uint8_t)*who) * 0x100000001b3ull;
	h ^= h >> 29;
	return h ? h : 1;
}

static int64_t now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static int find(const struct kk_attempts *attempts, uint64_t who)
{
	for (unsigned int i = 0; i < WAYS; i++) {
		unsigned int slot = (unsigned int)((who + i) % KK_ATTEMPTS_SLOTS);

		if (attempts->slots[slot].who == who)
			return (int)slot;
	}
	return -1;
}

bool kk_attempts_allowed(const struct kk_attempts *attempts, const char *who)
{
	int slot = find(attempts, hash(attempts, who));
	int64_t left = slot < 0 ? 0 : attempts->slots[slot].until - now_s();

	return left <= (int64_t)(attempts->burst - 1) * attempts->refill_s;
}

void kk_attempts_failed(struct kk_attempts *attempts, const char *who)
{
	uint64_t h = hash(attempts, who);
	int64_t now = now_s();
	int slot = find(attempts, h);

	if (slot < 0) {
		slot = (int)(h % KK_ATTEMPTS_SLOTS);
		for (unsigned int i = 1; i < WAYS; i++) {
			int other = (int)((h + i) % KK_ATTEMPTS_SLOTS);

			if (attempts->slots[other].until < attempts->slots[slot].until)
				slot = other;
		}
		attempts->slots[slot] = (struct kk_attempts_slot){.who = h};
	}
	if (attempts->slots[slot].until < now)
		attempts->slots[slot].until = now;
	attempts->slots[slot].until += attempts->refill_s;
}
