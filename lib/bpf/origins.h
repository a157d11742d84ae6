/* SPDX-License-Identifier: MIT */
/* The table of origins, changed by batches with a way back. */
#ifndef KK_BPF_ORIGINS_H
#define KK_BPF_ORIGINS_H

#include <stddef.h>

#include <kk/core/types.h>

#include "util/err.h"

struct kk_origin_entry {
	struct kk_origin_key key;
	struct kk_origin value;
};

/* In the order of the table of origins' keys; as qsort(3) wants it, of struct kk_origin_entry. */
int kk_origin_compare(const void *a, const void *b);
/*
 * Brings the table from what it holds to @wanted, sorted with kk_origin_compare(). On failure what
 * was changed is put back.
 */
int kk_origins_sync(int fd, const struct kk_origin_entry *wanted, size_t n, struct kk_err *err);

#endif
