/* SPDX-License-Identifier: MIT */
/*
 * Numbers from 1 on, found by a hash of what they stand for: chains of those with like hashes. What a number stands for is
 * the caller's, who goes along the chain and compares.
 */
#ifndef KK_BPF_CHAINS_H
#define KK_BPF_CHAINS_H

#include <stddef.h>
#include <stdint.h>

struct kk_chains {
	uint32_t *heads, *next; /* 0: there is none */
};

/* For the numbers 1 to @max. -ENOMEM; to be cleaned in any case. */
int kk_chains_init(struct kk_chains *chains, uint32_t max);
void kk_chains_clean(struct kk_chains *chains);

uint32_t kk_chains_hash(const void *key, size_t len);
/* The first of the chain, then kk_chains_next(), until 0. */
uint32_t kk_chains_first(const struct kk_chains *chains, uint32_t hash);
uint32_t kk_chains_next(const struct kk_chains *chains, uint32_t number);
/* @number is in no chain. */
void kk_chains_add(struct kk_chains *chains, uint32_t hash, uint32_t number);
/* @number is in that chain. */
void kk_chains_remove(struct kk_chains *chains, uint32_t hash, uint32_t number);

#endif
