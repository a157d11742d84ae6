/* SPDX-License-Identifier: MIT */
/* Bans with an end, in the table of bans. */
#ifndef KK_BPF_BANS_H
#define KK_BPF_BANS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/tables.h"
#include "util/err.h"

struct kk_ban_record {
	struct kk_ban_key key;
	uint64_t until;
} __attribute__((packed));
_Static_assert(sizeof(struct kk_ban_record) == 28, "a record has no gap");

/* What there is at least one of in force. */
struct kk_bans_found {
	bool gateway, service;
};

/* kk_datapath_ban() on tables. */
int kk_bans_put(const struct kk_tables *tables, const struct kk_ban_entry *bans, size_t n,
		struct kk_err *err);
/* kk_datapath_unban() */
int kk_bans_lift(const struct kk_tables *tables, const struct kk_address *source, uint32_t service,
		 struct kk_err *err);
/* kk_datapath_bans(); with @sweep the expired ones are taken out of the table. */
int kk_bans_read(const struct kk_tables *tables, bool sweep, struct kk_ban_entry **ret,
		 struct kk_bans_found *ret_found, struct kk_err *err);

#endif
