/* SPDX-License-Identifier: MIT */
/* Access lists as the table of lists has them: a record for each prefix. */
#ifndef KK_BPF_LISTS_H
#define KK_BPF_LISTS_H

#include <kk/core/types.h>

#include "bpf/datapath.h"
#include "util/err.h"

struct kk_list_record {
	struct kk_list_key key;
	struct kk_list_entry value;
};
_Static_assert(sizeof(struct kk_list_record) == 28, "a record has no gap");

/*
 * The records of @n lists, in no order; *@ret is freed by the caller. Count or errno. -EEXIST: two lists have
 * one id. -EINVAL: a prefix with host bits, a list 0 that allows.
 */
int kk_lists_records(const struct kk_list *lists, size_t n, struct kk_list_record **ret,
		     struct kk_err *err);
/* The number of its list. */
uint32_t kk_list_record_list(const struct kk_list_record *record);
/* "192.0.2.0/24", for messages. */
const char *kk_list_record_text(const struct kk_list_record *record, char out[KK_PREFIX_TEXT]);
/* What is wrong, as -EEXIST: one prefix twice in a list; as -ENOSPC: @n prefixes. */
int kk_list_record_twice(const struct kk_list_record *record, struct kk_err *err);
int kk_lists_too_many(size_t n, struct kk_err *err);
/*
 * The lists that sorted @records make, each with its rules behind them in the same block of memory;
 * *@ret is freed by the caller. Count or -ENOMEM.
 */
int kk_lists_make(const struct kk_list_record *records, size_t n, struct kk_list **ret,
		  struct kk_err *err);

#endif
