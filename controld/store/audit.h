/* SPDX-License-Identifier: MIT */
/*
 * The audit log: who changed what, from where, with the object before and after. It is written by the
 * database itself in the transaction of the change, so that nothing can be changed past it. Of secrets it
 * has the first digits of their hashes.
 */
#ifndef KK_CONTROLD_STORE_AUDIT_H
#define KK_CONTROLD_STORE_AUDIT_H

#include "controld/store/store.h"

struct kk_audit_row {
	int64_t id, at; /* UNIX seconds */
	const char *who, *from, *action, *kind, *object;
	const char *before, *after; /* JSON objects as text, or NULL */
};

struct kk_audit_filter {
	const char *who, *kind, *object; /* NULL: any */
	int64_t before;			 /* ids below this only, 0: all */
	int64_t limit;
};

/* The entered organisation's entries, newest first; the texts are valid during the call. */
int kk_store_audit_list(struct kk_store *store, const struct kk_audit_filter *filter,
			int (*row)(const struct kk_audit_row *row, void *userdata), void *userdata,
			struct kk_err *err);

#endif
