// SPDX-License-Identifier: MIT
#include "bpf/chains.h"

#include <errno.h>
#include <stdlib.h>

#define HEADS 16384

int kk_chains_init(struct kk_chains *chains, uint32_t max)
{
	chains->heads = calloc(HEADS, sizeof(*chains->heads));
	/* Pages of numbers that are never used are never touched. */
	chains->next = calloc((size_t)max + 1, sizeof(*chains->next));
	return chains->heads && chains->next ? 0 : -ENOMEM;
}

void kk_chains_clean(struct kk_chains *chains)
{
	free(chains->heads);
	free(chains->next);
	*chains = (struct kk_chains){0};
}

/* FNV-1a: keys are ours, nobody outside chooses them. */
uint32_t kk_chains_hash(const void *key, size_t len)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ ((const uint8_t *)key)[i]) * 16777619u;
	return (hash ^ hash >> 16) % HEADS;
}

uint32_t kk_chains_first(const struct kk_chains *chains, uint32_t hash)
{
	return chains->heads[hash];
}

uint32_t kk_chains_next(const struct kk_chains *chains, uint32_t number)
{
	return chains->next[number];
}

void kk_chains_add(struct kk_chains *chains, uint32_t hash, uint32_t number)
{
	chains->next[number] = chains->heads[hash];
	chains->heads[hash] = number;
}

void kk_chains_remove(struct kk_chains *chains, uint32_t hash, uint32_t number)
{
	uint32_t *at = &chains->heads[hash];

	while (*at != number)
		at = &chains->next[*at];
	*at = chains->next[number];
}
