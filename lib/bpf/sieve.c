// SPDX-License-Identifier: MIT
#include "bpf/sieve.h"

#include <stdlib.h>
#include <string.h>

#include <kk/core/martian.h>
#include <kk/core/sieve_types.h>

#include "bpf/address.h"
#include "bpf/tables.h"
#include "util/cleanup.h"

struct kk_sieve {
	__u64 *words;
	/* How many prefixes and bans mean ... */
	uint32_t wide[65536];			 /* ... all of an IPv4 /16 */
	uint32_t narrow[65536];			 /* ... some of it */
	uint32_t of24[1 << KK_SIEVE_24_BITS];	 /* ... those of a bit of the second part */
	uint32_t of_ip6[1 << KK_SIEVE_IP6_BITS]; /* ... of the third */
};

static void store_bits(struct kk_sieve *sieve, uint32_t word, uint32_t shift, __u64 mask,
		       __u64 value)
{
	kk_tables_store(&sieve->words[word],
			(sieve->words[word] & ~(mask << shift)) | value << shift);
}

static void show16(struct kk_sieve *sieve, uint32_t i)
{
	__u64 state = sieve->wide[i]	 ? KK_SIEVE_LOOK
		      : sieve->narrow[i] ? KK_SIEVE_FINER
					 : KK_SIEVE_CLEAR;

	store_bits(sieve, KK_SIEVE_16 + i / 32, i % 32 * 2, KK_SIEVE_CLEAR, state);
}

static void count_bit(struct kk_sieve *sieve, uint32_t part, uint32_t *counts, uint32_t bit, int by)
{
	counts[bit] += (uint32_t)by;
	store_bits(sieve, part + bit / 64, bit % 64, 1, !counts[bit]);
}

/* @address in host byte order, as the next one. The finer bits are there before they are asked for. */
static void count4(struct kk_sieve *sieve, uint32_t address, uint32_t len, int by)
{
	uint32_t n = len < 24 ? 1U << (24 - len) : 1;

	if (len <= 16) {
		for (uint32_t i = 0; i < 1U << (16 - len); i++) {
			sieve->wide[(address >> 16) + i] += (uint32_t)by;
			show16(sieve, (address >> 16) + i);
		}
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		count_bit(sieve, KK_SIEVE_24, sieve->of24, kk_sieve_bit24(address + (i << 8)), by);
	sieve->narrow[address >> 16] += (uint32_t)by;
	show16(sieve, address >> 16);
}

/* Of a prefix of less than 16 bits everybody is looked up. */
static void count6(struct kk_sieve *sieve, uint32_t first, uint32_t len, int by)
{
	uint32_t n = len < 16 ? 1U << KK_SIEVE_IP6_BITS : len < 32 ? 1U << (32 - len) : 1;

	for (uint32_t i = 0; i < n; i++)
		count_bit(sieve, KK_SIEVE_IP6, sieve->of_ip6,
			  len < 16 ? i : kk_sieve_bit6(first + i), by);
}

void kk_sieve_list(void *data, const void *data_key, int by)
{
	const struct kk_list_key *key = data_key;
	struct kk_sieve *sieve = data;

	if (key->list == kk_list_number(KK_LIST_GATEWAY, KK_IP4))
		count4(sieve, KK_HOST32(key->address.word[3]), key->prefix_len - 32 - 96, by);
	else if (key->list == kk_list_number(KK_LIST_GATEWAY, KK_IP6))
		count6(sieve, KK_HOST32(key->address.word[0]), key->prefix_len - 32, by);
}

void kk_sieve_ban(void *data, const void *data_key, int by)
{
	const struct kk_ban_key *key = data_key;
	struct kk_sieve *sieve = data;

	if (kk_address_of(&key->address).family == AF_INET)
		count4(sieve, KK_HOST32(key->address.word[3]), 32, by);
	else
		count6(sieve, KK_HOST32(key->address.word[0]), 64, by);
}

/* kk_is_martian4() of the core goes by the first 16 bits. */
static void count_martians(struct kk_sieve *sieve)
{
	for (uint32_t i = 0; i < 65536; i++)
		if (kk_is_martian4(KK_BE32(i << 16)))
			count4(sieve, i << 16, 16, 1);
}

static int count_all(struct kk_sieve *sieve, const struct kk_table *table,
		     void (*count)(void *sieve, const void *key, int by), struct kk_err *err)
{
	KK_CLEANUP_FREE uint8_t *records = NULL;
	int n = kk_records_read(table, (void **)&records, err);

	for (int i = 0; i < n; i++) {
		uint8_t key[KK_KEY_MAX] __attribute__((aligned(8)));

		memcpy(key, records + (size_t)i * (table->key_size + table->value_size),
		       table->key_size);
		count(sieve, key, 1);
	}
	return n;
}

static void sieve_freep(struct kk_sieve **sieve)
{
	kk_sieve_free(*sieve);
}

int kk_sieve_make(struct kk_tables *tables, struct kk_err *err)
{
	KK_CLEANUP(sieve_freep) struct kk_sieve *sieve = calloc(1, sizeof(*sieve));
	KK_CLEANUP_FREE __u64 *words = malloc(KK_SIEVE_WORDS * sizeof(*words));
	const struct kk_table lists = kk_tables_lists(tables), bans = kk_tables_bans(tables);
	int r;

	if (!sieve || !words)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	memset(words, 0xff, KK_SIEVE_WORDS * sizeof(*words));
	sieve->words = words;
	count_martians(sieve);
	r = count_all(sieve, &lists, kk_sieve_list, err);
	if (r >= 0)
		r = count_all(sieve, &bans, kk_sieve_ban, err);
	if (r < 0)
		return r;
	sieve->words = tables->sieve_words;
	/* From the back, so that the finer bits are there first here too. */
	for (size_t i = KK_SIEVE_WORDS; i-- > 0;)
		kk_tables_store(&sieve->words[i], words[i]);
	kk_sieve_free(tables->sieve);
	tables->sieve = KK_STEAL(sieve);
	return 0;
}

void kk_sieve_free(struct kk_sieve *sieve)
{
	free(sieve);
}
