/* SPDX-License-Identifier: MIT */
/*
 * A change of a table with keys (hash or trie) by map batches, in two steps around that of the tables in
 * memory: what is new is put first, what is gone goes last, and between the two there is a way back.
 */
#ifndef KK_BPF_CHANGE_H
#define KK_BPF_CHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/err.h"

/* Records: a key and a value behind it, without a gap. */
struct kk_table {
	int fd;
	const char *name;  /* for messages: "table of origins" */
	const char *field; /* of what fills it */
	size_t key_size, value_size;
	size_t max; /* entries */
	/* Unless NULL: told of each key before it comes (@by 1) and after it has gone (-1). */
	void (*watch)(void *watcher, const void *key, int by);
	void *watcher;
};

#define KK_KEY_MAX 64

/* Keys and values apart, as the batch calls take them. */
struct kk_batch {
	uint8_t *keys, *values;
	size_t n;
};

struct kk_change {
	const struct kk_table *table;
	struct kk_batch put;   /* what is written */
	struct kk_batch fresh; /* those of it that were not there */
	struct kk_batch undo;  /* what was there before, of all that changes */
	struct kk_batch gone;  /* what goes */
	bool gone_first;       /* there is no room for both */
};

/* Sorts @n records of @table by key, in place. */
void kk_records_sort(const struct kk_table *table, void *records, size_t n);
/* The first record with the key of the one before it, or NULL; @records are sorted. */
const void *kk_records_twin(const struct kk_table *table, const void *records, size_t n);
/* All that the table holds, sorted; *@ret is freed by the caller. Count or a negative errno. */
int kk_records_read(const struct kk_table *table, void **ret, struct kk_err *err);

/*
 * What brings @table to @n sorted @wanted records, each key once. Nothing is changed yet. @ret is to be
 * cleaned in any case. -ENOSPC: more than the table holds.
 */
int kk_change_plan(struct kk_change *ret, const struct kk_table *table, const void *wanted,
		   size_t n, struct kk_err *err);
/*
 * The same between two lists of sorted records, each key once in each: those of @old are in the table as they are, none
 * of @wanted is there but by @old, and the rest of the table stays. Nothing is read.
 */
int kk_change_plan_part(struct kk_change *ret, const struct kk_table *table, const void *old,
			size_t n_old, const void *wanted, size_t n, struct kk_err *err);
/* Only @gone keys go and @put records come; what is there of them is read. */
int kk_change_plan_some(struct kk_change *ret, const struct kk_table *table, const void *put,
			size_t n_put, const void *gone, size_t n_gone, struct kk_err *err);
/* On failure all is as before. */
int kk_change_put(const struct kk_change *change, struct kk_err *err);
/* Takes kk_change_put() back. */
void kk_change_undo(const struct kk_change *change);
/* The end of a change that was put: cannot fail but for the log. */
void kk_change_finish(const struct kk_change *change);
void kk_change_clean(struct kk_change *change);

#endif
