/* SPDX-License-Identifier: MIT */
/* Answers to creations, kept for a day for who asks again (controld/rest/idempotency.c). */
#ifndef KK_CONTROLD_STORE_ANSWERS_H
#define KK_CONTROLD_STORE_ANSWERS_H

#include "controld/store/store.h"

#define KK_ANSWER_KEPT_S 86400

struct kk_answer_row {
	uint8_t request[KK_HASH_LEN]; /* what was asked for */
	unsigned int status;
	uint8_t *sealed;
	size_t len;
};

int kk_store_answer_add(struct kk_store *store, const uint8_t id[KK_HASH_LEN],
			const struct kk_answer_row *row, int64_t now, struct kk_err *err);
/* ret->sealed is the caller's. -ENOENT without @err where there is none. */
int kk_store_answer_get(struct kk_store *store, const uint8_t id[KK_HASH_LEN], int64_t now,
			struct kk_answer_row *ret, struct kk_err *err);
int kk_store_answer_remove(struct kk_store *store, const uint8_t id[KK_HASH_LEN],
			   struct kk_err *err);

#endif
