/* SPDX-License-Identifier: MIT */
/*
 * The sieve of the data plane (include/kk/core/sieve.h), kept by the one process that changes the gateway's list and the
 * bans: it counts here who is meant by each bit. A source is let out of the sieve before it is put into a table, and let in
 * again after it was taken out.
 */
#ifndef KK_BPF_SIEVE_H
#define KK_BPF_SIEVE_H

#include <stdint.h>

#include <linux/types.h>

#include "util/err.h"

struct kk_ban_key;
struct kk_sieve;
struct kk_tables;

/*
 * Makes the sieve of @tables be what their lists and bans ask for, and @tables->sieve, in place of one that was there: from
 * then on it follows what kk_change_put() and _finish() do to those tables, and kk_sieve_ban().
 */
int kk_sieve_make(struct kk_tables *tables, struct kk_err *err);
void kk_sieve_free(struct kk_sieve *sieve);
/* A struct kk_list_key, a struct kk_ban_key that comes (@by 1) or has gone (-1): watchers of struct kk_table. */
void kk_sieve_list(void *sieve, const void *key, int by);
void kk_sieve_ban(void *sieve, const void *key, int by);
/* Until when a ban is that has come: so long the programs need not look it up. @sieve may be NULL. */
void kk_sieve_until(struct kk_sieve *sieve, const struct kk_ban_key *key, uint64_t until);

#endif
