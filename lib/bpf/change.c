// SPDX-License-Identifier: MIT
#include "bpf/change.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/bpf.h>

#include "util/cleanup.h"
#include "util/log.h"

/* ---- records ---- */

static size_t record_size(const struct kk_table *table)
{
	return table->key_size + table->value_size;
}

static const uint8_t *record(const struct kk_table *table, const void *records, size_t i)
{
	return (const uint8_t *)records + i * record_size(table);
}

static int compare_keys(const void *a, const void *b, void *table)
{
	return memcmp(a, b, ((const struct kk_table *)table)->key_size);
}

void kk_records_sort(const struct kk_table *table, void *records, size_t n)
{
	qsort_r(records, n, record_size(table), compare_keys, (void *)table);
}

const void *kk_records_twin(const struct kk_table *table, const void *records, size_t n)
{
	for (size_t i = 1; i < n; i++)
		if (memcmp(record(table, records, i - 1), record(table, records, i),
			   table->key_size) == 0)
			return record(table, records, i);
	return NULL;
}

/* ---- batches ---- */

static void batch_clean(struct kk_batch *batch)
{
	free(batch->keys);
	free(batch->values);
}

static int batch_init(struct kk_batch *batch, const struct kk_table *table, size_t n)
{
	batch->keys = calloc(n ? n : 1, table->key_size);
	batch->values = calloc(n ? n : 1, table->value_size);
	batch->n = 0;
	return batch->keys && batch->values ? 0 : -ENOMEM;
}

static void batch_add(struct kk_batch *batch, const struct kk_table *table, const uint8_t *entry)
{
	memcpy(batch->keys + batch->n * table->key_size, entry, table->key_size);
	memcpy(batch->values + batch->n * table->value_size, entry + table->key_size,
	       table->value_size);
	batch->n++;
}

/* A batch of none would be -EINVAL to some kernels. */
static int batch_put(const struct kk_table *table, const struct kk_batch *batch)
{
	__u32 n = (__u32)batch->n;

	if (n && bpf_map_update_batch(table->fd, batch->keys, batch->values, &n, NULL) < 0)
		return -errno;
	return 0;
}

/* One by one: a key that is not there is what is wanted, but would end a batch. */
static int batch_delete(const struct kk_table *table, const struct kk_batch *batch)
{
	int r = 0;

	for (size_t i = 0; i < batch->n; i++)
		if (bpf_map_delete_elem(table->fd, batch->keys + i * table->key_size) < 0 &&
		    errno != ENOENT && r == 0)
			r = -errno;
	return r;
}

#define READ_CHUNK 4096

/* Reads all entries, a chunk at a time. */
static int read_all(const struct kk_table *table, struct kk_batch *all)
{
	uint8_t token[KK_KEY_MAX], *from = NULL; /* of a hash a number, of a trie a key */
	int r = 0;

	while (r == 0 && all->n < table->max) {
		__u32 n = (__u32)(table->max - all->n < READ_CHUNK ? table->max - all->n
								   : READ_CHUNK);

		if (bpf_map_lookup_batch(table->fd, from, token,
					 all->keys + all->n * table->key_size,
					 all->values + all->n * table->value_size, &n, NULL) < 0)
			r = -errno;
		if (r == 0 || r == -ENOENT)
			all->n += n;
		from = token;
	}
	return r == -ENOENT ? 0 : r; /* the end was reached, which is what is hoped for */
}

int kk_records_read(const struct kk_table *table, void **ret, struct kk_err *err)
{
	KK_CLEANUP(batch_clean) struct kk_batch all = {0};
	uint8_t *records;
	int r;

	if (batch_init(&all, table, table->max) < 0)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	r = read_all(table, &all);
	if (r < 0)
		return kk_err_set(err, -r, NULL, "cannot read the %s: %s", table->name,
				  strerror(-r));
	records = calloc(all.n ? all.n : 1, record_size(table));
	if (!records)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	for (size_t i = 0; i < all.n; i++) {
		uint8_t *to = records + i * record_size(table);

		memcpy(to, all.keys + i * table->key_size, table->key_size);
		memcpy(to + table->key_size, all.values + i * table->value_size, table->value_size);
	}
	kk_records_sort(table, records, all.n);
	*ret = records;
	return (int)all.n;
}

/* ---- changes ---- */

void kk_change_clean(struct kk_change *change)
{
	batch_clean(&change->put);
	batch_clean(&change->fresh);
	batch_clean(&change->undo);
	batch_clean(&change->gone);
	*change = (struct kk_change){0};
}

static int change_init(struct kk_change *change, const struct kk_table *table, size_t n_put,
		       size_t n_old, struct kk_err *err)
{
	*change = (struct kk_change){.table = table};
	if (batch_init(&change->put, table, n_put) < 0 ||
	    batch_init(&change->fresh, table, n_put) < 0 ||
	    batch_init(&change->undo, table, n_old) < 0 ||
	    batch_init(&change->gone, table, n_old) < 0)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	return 0;
}

static int too_many(const struct kk_table *table, struct kk_err *err)
{
	return kk_err_set(err, ENOSPC, table->field, "the %s has room for %zu entries and no more",
			  table->name, table->max);
}

/* The two lists side by side. */
static void compare(struct kk_change *change, const void *old, size_t n_old, const void *new,
		    size_t n_new)
{
	const struct kk_table *table = change->table;
	size_t i = 0, j = 0;

	while (i < n_old || j < n_new) {
		const uint8_t *a = record(table, old, i), *b = record(table, new, j);
		int c = i == n_old ? 1 : j == n_new ? -1 : memcmp(a, b, table->key_size);

		if (c < 0) {
			batch_add(&change->gone, table, a);
			batch_add(&change->undo, table, a);
		} else if (c > 0) {
			batch_add(&change->put, table, b);
			batch_add(&change->fresh, table, b);
		} else if (memcmp(a, b, record_size(table)) != 0) {
			batch_add(&change->put, table, b);
			batch_add(&change->undo, table, a);
		}
		i += c <= 0;
		j += c >= 0;
	}
}

int kk_change_plan(struct kk_change *ret, const struct kk_table *table, const void *wanted,
		   size_t n, struct kk_err *err)
{
	KK_CLEANUP_FREE void *old = NULL;
	int n_old, r;

	if (n > table->max)
		return too_many(table, err);
	n_old = kk_records_read(table, &old, err);
	if (n_old < 0)
		return n_old;
	r = change_init(ret, table, n, (size_t)n_old, err);
	if (r < 0)
		return r;
	compare(ret, old, (size_t)n_old, wanted, n);
	ret->gone_first = (size_t)n_old + ret->fresh.n > table->max;
	return 0;
}

int kk_change_plan_part(struct kk_change *ret, const struct kk_table *table, const void *old,
			size_t n_old, const void *wanted, size_t n, struct kk_err *err)
{
	int r = change_init(ret, table, n, n_old, err);

	if (r == 0)
		compare(ret, old, n_old, wanted, n);
	return r;
}

static bool read_one(const struct kk_table *table, const uint8_t *key, uint8_t *entry)
{
	memcpy(entry, key, table->key_size);
	return bpf_map_lookup_elem(table->fd, key, entry + table->key_size) == 0;
}

int kk_change_plan_some(struct kk_change *ret, const struct kk_table *table, const void *put,
			size_t n_put, const void *gone, size_t n_gone, struct kk_err *err)
{
	uint8_t old[2 * KK_KEY_MAX];
	int r = change_init(ret, table, n_put, n_put + n_gone, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n_gone; i++)
		if (read_one(table, record(table, gone, i), old)) {
			batch_add(&ret->gone, table, old);
			batch_add(&ret->undo, table, old);
		}
	for (size_t i = 0; i < n_put; i++) {
		const uint8_t *entry = record(table, put, i);

		if (!read_one(table, entry, old))
			batch_add(&ret->fresh, table, entry);
		else if (memcmp(old, entry, record_size(table)) != 0)
			batch_add(&ret->undo, table, old);
		else
			continue;
		batch_add(&ret->put, table, entry);
	}
	return 0;
}

static void tell(const struct kk_table *table, const struct kk_batch *batch, int by)
{
	for (size_t i = 0; table->watch && i < batch->n; i++)
		table->watch(table->watcher, batch->keys + i * table->key_size, by);
}

void kk_change_undo(const struct kk_change *change)
{
	int r = batch_delete(change->table, &change->fresh);

	if (r == 0)
		tell(change->table, &change->fresh, -1);
	if (r == 0)
		r = batch_put(change->table, &change->undo);
	if (r < 0)
		kk_error("cannot put the %s back: %s", change->table->name, strerror(-r));
}

int kk_change_put(const struct kk_change *change, struct kk_err *err)
{
	const struct kk_table *table = change->table;
	int r = change->gone_first ? batch_delete(table, &change->gone) : 0;

	tell(table, &change->fresh, 1);
	if (r == 0)
		r = batch_put(table, &change->put);
	if (r == 0)
		return 0;
	kk_change_undo(change);
	if (r == -E2BIG || r == -ENOSPC)
		return too_many(table, err);
	return kk_err_set(err, -r, NULL, "cannot change the %s: %s", table->name, strerror(-r));
}

/* An entry that stays too long leads nowhere, or is taken away by the next change. */
void kk_change_finish(const struct kk_change *change)
{
	int r = change->gone_first ? 0 : batch_delete(change->table, &change->gone);

	if (r == 0)
		tell(change->table, &change->gone, -1);
	else
		kk_warn("cannot clean up the %s: %s", change->table->name, strerror(-r));
}
