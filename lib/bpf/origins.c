// SPDX-License-Identifier: MIT
#include "bpf/origins.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/bpf.h>

#include "util/cleanup.h"
#include "util/log.h"

/* Keys and values apart, as the batch calls take them. */
struct batch {
	struct kk_origin_key *keys;
	struct kk_origin *values;
	__u32 n;
};

static void batch_clean(struct batch *batch)
{
	free(batch->keys);
	free(batch->values);
}

static int batch_init(struct batch *batch, size_t n)
{
	batch->keys = calloc(n ? n : 1, sizeof(*batch->keys));
	batch->values = calloc(n ? n : 1, sizeof(*batch->values));
	batch->n = 0;
	return batch->keys && batch->values ? 0 : -ENOMEM;
}

static void batch_add(struct batch *batch, const struct kk_origin_entry *entry)
{
	batch->keys[batch->n] = entry->key;
	batch->values[batch->n] = entry->value;
	batch->n++;
}

/* A batch of none would be -EINVAL to some kernels. */
static int batch_put(int fd, const struct batch *batch)
{
	__u32 n = batch->n;

	if (n && bpf_map_update_batch(fd, batch->keys, batch->values, &n, NULL) < 0)
		return -errno;
	return 0;
}

/* One by one: a key that is not there is what is wanted, but would end a batch. */
static int batch_delete(int fd, const struct batch *batch)
{
	int r = 0;

	for (__u32 i = 0; i < batch->n; i++)
		if (bpf_map_delete_elem(fd, &batch->keys[i]) < 0 && errno != ENOENT && r == 0)
			r = -errno;
	return r;
}

int kk_origin_compare(const void *a, const void *b)
{
	const struct kk_origin_entry *x = a, *y = b;

	return memcmp(&x->key, &y->key, sizeof(x->key));
}

/* All that the table holds, sorted. */
static int dump(int fd, struct kk_origin_entry **ret, size_t *ret_n)
{
	KK_CLEANUP(batch_clean) struct batch all = {0};
	struct kk_origin_entry *entries;
	__u32 token;

	if (batch_init(&all, KK_ORIGINS_MAX) < 0)
		return -ENOMEM;
	all.n = KK_ORIGINS_MAX;
	/* ENOENT: the end was reached, which is what is hoped for. */
	if (bpf_map_lookup_batch(fd, NULL, &token, all.keys, all.values, &all.n, NULL) < 0 &&
	    errno != ENOENT)
		return -errno;
	entries = calloc(all.n ? all.n : 1, sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	for (__u32 i = 0; i < all.n; i++)
		entries[i] = (struct kk_origin_entry){all.keys[i], all.values[i]};
	qsort(entries, all.n, sizeof(*entries), kk_origin_compare);
	*ret = entries;
	*ret_n = all.n;
	return 0;
}

struct change {
	struct batch put;   /* what is written */
	struct batch fresh; /* those of it that were not there */
	struct batch gone;  /* what goes */
	struct batch undo;  /* what was there before, of all that changes */
};

static void change_clean(struct change *change)
{
	batch_clean(&change->put);
	batch_clean(&change->fresh);
	batch_clean(&change->gone);
	batch_clean(&change->undo);
}

static int change_make(struct change *change, const struct kk_origin_entry *old, size_t n_old,
		       const struct kk_origin_entry *new, size_t n_new)
{
	size_t i = 0, j = 0;

	if (batch_init(&change->put, n_new) < 0 || batch_init(&change->fresh, n_new) < 0 ||
	    batch_init(&change->gone, n_old) < 0 || batch_init(&change->undo, n_old) < 0)
		return -ENOMEM;
	while (i < n_old || j < n_new) {
		int c = i == n_old ? 1 : j == n_new ? -1 : kk_origin_compare(&old[i], &new[j]);

		if (c < 0) {
			batch_add(&change->gone, &old[i]);
			batch_add(&change->undo, &old[i]);
		} else if (c > 0) {
			batch_add(&change->put, &new[j]);
			batch_add(&change->fresh, &new[j]);
		} else if (memcmp(&old[i].value, &new[j].value, sizeof(old->value)) != 0) {
			batch_add(&change->put, &new[j]);
			batch_add(&change->undo, &old[i]);
		}
		i += c <= 0;
		j += c >= 0;
	}
	return 0;
}

static int change_apply(int fd, const struct change *change, struct kk_err *err)
{
	int r, undone;

	r = batch_put(fd, &change->put);
	if (r == 0)
		r = batch_delete(fd, &change->gone);
	if (r == 0)
		return 0;
	undone = batch_delete(fd, &change->fresh);
	if (undone == 0)
		undone = batch_put(fd, &change->undo);
	if (undone < 0)
		kk_error("cannot put the table of origins back: %s", strerror(-undone));
	if (r == -E2BIG)
		return kk_err_set(err, ENOSPC, "services",
				  "more than %d ports differ from the Agent's port they lead to",
				  KK_ORIGINS_MAX);
	return kk_err_set(err, -r, NULL, "cannot change the table of origins: %s", strerror(-r));
}

int kk_origins_sync(int fd, const struct kk_origin_entry *wanted, size_t n, struct kk_err *err)
{
	KK_CLEANUP(change_clean) struct change change = {0};
	KK_CLEANUP_FREE struct kk_origin_entry *old = NULL;
	size_t n_old = 0;
	int r;

	r = dump(fd, &old, &n_old);
	if (r < 0)
		return kk_err_set(err, -r, NULL, "cannot read the table of origins: %s",
				  strerror(-r));
	if (change_make(&change, old, n_old, wanted, n) < 0)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	return change_apply(fd, &change, err);
}
