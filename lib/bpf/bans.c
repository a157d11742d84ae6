// SPDX-License-Identifier: MIT
#include "bpf/bans.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <bpf/bpf.h>

#include "bpf/address.h"
#include "bpf/change.h"
#include "bpf/sieve.h"
#include "util/cleanup.h"
#include "util/log.h"

#define SECOND	1000000000ULL
#define FOREVER UINT64_MAX

/* As the programs have it. */
static uint64_t monotonic(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

/* As kk_subscriber() of the core. */
static struct kk_ban_key key_of(const struct kk_address *source, uint32_t service)
{
	struct kk_ban_key key = {.address = kk_in6_of(source), .service = service};

	if (source->family == AF_INET6)
		key.address.word[2] = key.address.word[3] = 0;
	return key;
}

static int check_source(const struct kk_address *source, struct kk_err *err)
{
	char text[KK_ADDRESS_TEXT];

	if (kk_address_is_host(source))
		return 0;
	return kk_err_set(err, EINVAL, "source", "address \"%s\" is no host's",
			  kk_address_text(source, text));
}

/* Of two bans of one source the longer one counts. */
static size_t keep_longest(struct kk_ban_record *records, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		if (kept == 0 ||
		    memcmp(&records[kept - 1].key, &records[i].key, sizeof(records->key)) != 0)
			records[kept++] = records[i];
		else if (records[i].until > records[kept - 1].until)
			records[kept - 1].until = records[i].until;
	return kept;
}

int kk_bans_put(const struct kk_tables *tables, const struct kk_ban_entry *bans, size_t n,
		struct kk_err *err)
{
	KK_CLEANUP_FREE struct kk_ban_record *records = calloc(n ? n : 1, sizeof(*records));
	KK_CLEANUP(kk_change_clean) struct kk_change change = {0};
	const struct kk_table table = kk_tables_bans(tables);
	uint64_t now = monotonic();
	int r;

	if (!records)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	for (size_t i = 0; i < n; i++) {
		r = check_source(&bans[i].source, err);
		if (r < 0)
			return r;
		records[i].key = key_of(&bans[i].source, bans[i].service);
		records[i].until = bans[i].seconds ? now + bans[i].seconds * SECOND : FOREVER;
	}
	kk_records_sort(&table, records, n);
	n = keep_longest(records, n);
	r = kk_change_plan_some(&change, &table, records, n, NULL, 0, err);
	if (r == 0)
		r = kk_change_put(&change, err);
	for (size_t i = 0; i < n && r == 0; i++) {
		const struct kk_ban_key key = records[i].key;

		kk_sieve_until(tables->sieve, &key, records[i].until);
	}
	return r;
}

static int take_out(const struct kk_tables *tables, const struct kk_ban_key *key)
{
	const struct kk_table table = kk_tables_bans(tables);

	if (bpf_map_delete_elem(table.fd, key) < 0)
		return -errno;
	if (table.watch)
		table.watch(table.watcher, key, -1);
	return 0;
}

int kk_bans_lift(const struct kk_tables *tables, const struct kk_address *source, uint32_t service,
		 struct kk_err *err)
{
	const struct kk_ban_key key = key_of(source, service);
	char text[KK_ADDRESS_TEXT];
	int r = check_source(source, err);

	if (r < 0)
		return r;
	r = take_out(tables, &key);
	if (r == -ENOENT)
		return kk_err_set(err, ENOENT, "source", "%s is not banned",
				  kk_address_text(source, text));
	if (r < 0)
		return kk_err_set(err, -r, NULL, "cannot change the table of bans: %s",
				  strerror(-r));
	return 0;
}

static struct kk_ban_entry ban_of(const struct kk_ban_record *record, uint64_t now)
{
	const struct kk_ban_key key = record->key;

	return (struct kk_ban_entry){
		.source = kk_address_of(&key.address),
		.service = key.service,
		/* What is left of the last second is one: 0 would be for good. */
		.seconds = record->until == FOREVER
				   ? 0
				   : (uint32_t)((record->until - now + SECOND - 1) / SECOND),
	};
}

int kk_bans_read(const struct kk_tables *tables, bool sweep, struct kk_ban_entry **ret,
		 struct kk_bans_found *ret_found, struct kk_err *err)
{
	KK_CLEANUP_FREE struct kk_ban_record *records = NULL;
	const struct kk_table table = kk_tables_bans(tables);
	uint64_t now = monotonic();
	struct kk_ban_entry *bans;
	int n, kept = 0;

	n = kk_records_read(&table, (void **)&records, err);
	if (n < 0)
		return n;
	bans = calloc(n ? (size_t)n : 1, sizeof(*bans));
	if (!bans)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	*ret_found = (struct kk_bans_found){0};
	for (int i = 0; i < n; i++) {
		const struct kk_ban_record *record = &records[i];

		if (record->until > now) {
			bans[kept++] = ban_of(record, now);
			*(record->key.service ? &ret_found->service : &ret_found->gateway) = true;
		} else if (sweep) {
			const struct kk_ban_key key = record->key;
			int r = take_out(tables, &key);

			if (r < 0 && r != -ENOENT)
				kk_warn("cannot clean up the table of bans: %s", strerror(-r));
		}
	}
	*ret = bans;
	return kept;
}
