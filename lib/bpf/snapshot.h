/* SPDX-License-Identifier: MIT */
/* A copy of the tables in plain memory, for the core in user space. */
#ifndef KK_BPF_SNAPSHOT_H
#define KK_BPF_SNAPSHOT_H

#include "bpf/tables.h"
#include "core/user.h"

/*
 * *@ret is freed with kk_user_free(). What packets left behind is copied too. *@ret_ifindex is the public interface. Of sockets
 * of the gateway's own nothing is known.
 */
int kk_tables_snapshot(const struct kk_tables *tables, struct kk_user **ret, uint32_t *ret_ifindex,
		       struct kk_err *err);

#endif
