/* SPDX-License-Identifier: MIT */
/* A part of the tables changed, at the cost of that part. */
#ifndef KK_BPF_AMEND_H
#define KK_BPF_AMEND_H

#include "bpf/tables.h"

/* kk_datapath_amend() on tables: all of it or nothing. Listeners of @to were checked one by one before. */
int kk_tables_amend(struct kk_tables *tables, const struct kk_datapath_tables *from,
		    const struct kk_datapath_tables *to, struct kk_err *err);

#endif
