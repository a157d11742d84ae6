/* SPDX-License-Identifier: MIT */
/* What kk_datapath_read() and kk_module_read() hand out, so that kk_datapath_tables_free() frees both. */
#ifndef KK_BPF_ALL_H
#define KK_BPF_ALL_H

#include "bpf/datapath.h"

/* @tables is first, and points to the rest, each of which is freed by itself. */
struct kk_tables_all {
	struct kk_datapath_tables tables;
	struct kk_listener *listeners;
	struct kk_group *groups;
	struct kk_member *members; /* of all groups */
	struct kk_guard *guards;
	struct kk_list *lists; /* with their rules behind them */
};

#endif
