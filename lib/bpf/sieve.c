// SPDX-License-Identifier: MIT
#include "bpf/sieve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <kk/core/martian.h>
#include <kk/core/sieve_types.h>

#include "bpf/address.h"
#include "bpf/bans.h"
#include "bpf/lists.h"
#include "bpf/tables.h"
#include "util/cleanup.h"

struct kk_sieve {
	__u64 *words;
	struct kk_shut *shut;
	/* How many prefixes and bans mean ... */
	uint32_t wide[65536];	/* ... all of an IPv4 /16 */
	uint32_t narrow[65536]; /* ... some of it */
	uint32_t look[65536];	/* ... of these, what the buckets had no room for; martians */
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
	__u64 state = sieve->wide[i]	 ? KK_SIEVE_DENIED
		      : sieve->look[i]	 ? KK_SIEVE_LOOK
		      : sieve->narrow[i] ? KK_SIEVE_FINER
					 : KK_SIEVE_CLEAR;

	store_bits(sieve, KK_SIEVE_16 + i / 32, i % 32 * 2, KK_SIEVE_CLEAR, state);
}

/* The word with @key, or an unused one for @key 0; NULL: there is none. */
static __u64 *find_shut(struct kk_sieve *sieve, uint32_t address, __u64 key)
{
	struct kk_shut *bucket = &sieve->shut[kk_shut_index(address)];

	for (size_t i = 0; i < ARRAY_SIZE(bucket->word); i++)
		if (bucket->word[i] >> KK_SHUT_SHIFT == key)
			return &bucket->word[i];
	return NULL;
}

/*
 * Several prefixes may ask for the same word, each of which has its own. One that found no room has been counted instead. A
 * ban is put as one that has ended, until kk_sieve_until().
 */
static void shut(struct kk_sieve *sieve, uint32_t address, uint32_t kind, int by)
{
	__u64 key = kk_shut_key(address, kind);
	__u64 *word = find_shut(sieve, address, by > 0 ? 0 : key);

	if (word)
		kk_tables_store(word, by > 0 ? key << KK_SHUT_SHIFT : 0);
	else
		sieve->look[address >> 16] += (uint32_t)by;
}

static void count_bit(struct kk_sieve *sieve, uint32_t part, uint32_t *counts, uint32_t bit, int by)
{
	counts[bit] += (uint32_t)by;
	store_bits(sieve, part + bit / 64, bit % 64, 1, !counts[bit]);
}

/* Finer bits and buckets are there before they are asked for. @address in host byte order, as those that follow. */
static void count_narrow(struct kk_sieve *sieve, uint32_t address, uint32_t n, int by)
{
	for (uint32_t i = 0; i < n; i++)
		count_bit(sieve, KK_SIEVE_24, sieve->of24, kk_sieve_bit24(address + (i << 8)), by);
	sieve->narrow[address >> 16] += (uint32_t)by;
	show16(sieve, address >> 16);
}

/* A prefix of the gateway's list. */
static void count4(struct kk_sieve *sieve, uint32_t address, uint32_t len, int by)
{
	uint32_t n = len <= 16 ? 1U << (16 - len) : len <= 24 ? 1U << (24 - len) : 1U << (32 - len);

	if (len <= 16) {
		for (uint32_t i = address >> 16; n > 0; i++, n--) {
			sieve->wide[i] += (uint32_t)by;
			show16(sieve, i);
		}
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		shut(sieve, address + (len <= 24 ? i << 8 : i),
		     len <= 24 ? KK_SHUT_PREFIX : KK_SHUT_SOURCE, by);
	count_narrow(sieve, address, len <= 24 ? n : 1, by);
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

	uint32_t address = KK_HOST32(key->address.word[3]);

	if (kk_address_of(&key->address).family == AF_INET6) {
		count6(sieve, KK_HOST32(key->address.word[0]), 64, by);
		return;
	}
	if (!key->service)
		shut(sieve, address, KK_SHUT_BAN, by);
	count_narrow(sieve, address, 1, by);
}

void kk_sieve_until(struct kk_sieve *sieve, const struct kk_ban_key *key, uint64_t until)
{
	uint32_t address = KK_HOST32(key->address.word[3]);
	__u64 id = kk_shut_key(address, KK_SHUT_BAN), *word;

	if (!sieve || key->service || kk_address_of(&key->address).family == AF_INET6)
		return;
	until >>= KK_SHUT_SHIFT;
	word = find_shut(sieve, address, id);
	if (word)
		kk_tables_store(word, id << KK_SHUT_SHIFT |
					      (until < KK_SHUT_UNTIL ? until : KK_SHUT_UNTIL));
}

/* kk_is_martian4() of the core goes by the first 16 bits. */
static void count_martians(struct kk_sieve *sieve)
{
	for (uint32_t i = 0; i < 65536; i++) {
		if (!kk_is_martian4(KK_BE32(i << 16)))
			continue;
		sieve->look[i]++;
		show16(sieve, i);
	}
}

static int count_lists(struct kk_sieve *sieve, const struct kk_tables *tables, struct kk_err *err)
{
	const struct kk_table table = kk_tables_lists(tables);
	KK_CLEANUP_FREE struct kk_list_record *records = NULL;
	int n = kk_records_read(&table, (void **)&records, err);

	for (int i = 0; i < n; i++)
		kk_sieve_list(sieve, &records[i].key, 1);
	return n;
}

static int count_bans(struct kk_sieve *sieve, const struct kk_tables *tables, struct kk_err *err)
{
	const struct kk_table table = kk_tables_bans(tables);
	KK_CLEANUP_FREE struct kk_ban_record *records = NULL;
	int n = kk_records_read(&table, (void **)&records, err);

	for (int i = 0; i < n; i++) {
		const struct kk_ban_key key = records[i].key;

		kk_sieve_ban(sieve, &key, 1);
		kk_sieve_until(sieve, &key, records[i].until);
	}
	return n;
}

static void sieve_freep(struct kk_sieve **sieve)
{
	kk_sieve_free(*sieve);
}

#define N_SHUT ((size_t)1 << KK_SHUT_BITS)

/* So that nobody gets through half-made bits and buckets: those that they would be asked of are looked up meanwhile. */
static void look_up(struct kk_sieve *sieve, const __u64 *words)
{
	const __u64 low = 0x5555555555555555;

	for (size_t i = KK_SIEVE_16; i < KK_SIEVE_24; i++)
		kk_tables_store(&sieve->words[i], words[i] & ~(words[i] & ~(words[i] >> 1) & low));
}

/* From the back: the coarse part last. */
static void store_all(__u64 *to, const __u64 *from, size_t n)
{
	while (n-- > 0)
		kk_tables_store(&to[n], from[n]);
}

int kk_sieve_make(struct kk_tables *tables, struct kk_err *err)
{
	KK_CLEANUP(sieve_freep) struct kk_sieve *sieve = calloc(1, sizeof(*sieve));
	KK_CLEANUP_FREE __u64 *words = malloc(KK_SIEVE_WORDS * sizeof(*words));
	KK_CLEANUP_FREE struct kk_shut *shut_out = calloc(N_SHUT, sizeof(*shut_out));
	int r;

	if (!sieve || !words || !shut_out)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	memset(words, 0xff, KK_SIEVE_WORDS * sizeof(*words));
	sieve->words = words;
	sieve->shut = shut_out;
	count_martians(sieve);
	r = count_lists(sieve, tables, err);
	if (r >= 0)
		r = count_bans(sieve, tables, err);
	if (r < 0)
		return r;
	sieve->words = tables->sieve_words;
	sieve->shut = tables->shut;
	look_up(sieve, words);
	store_all(sieve->shut->word, shut_out->word, 4 * N_SHUT);
	store_all(sieve->words, words, KK_SIEVE_WORDS);
	kk_sieve_free(tables->sieve);
	tables->sieve = KK_STEAL(sieve);
	return 0;
}

void kk_sieve_free(struct kk_sieve *sieve)
{
	free(sieve);
}
