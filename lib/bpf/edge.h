/* SPDX-License-Identifier: MIT */
/*
 * The edge of a data plane (include/kk/core/edge.h): XDP on the public interface where it can be, and at tc what XDP does not
 * do.
 */
#ifndef KK_BPF_EDGE_H
#define KK_BPF_EDGE_H

#include <stdint.h>

#include <kk/core/edge_types.h>

#include "bpf/datapath.h"
#include "util/err.h"

struct kk_tc;
struct kk_tables;

/* Settings of the edge for the programs; the cookie's key comes of the flows' key, or by chance if that is all zero. */
int kk_edge_settings_of(const struct kk_datapath_config *config, struct kk_edge_settings *ret,
			struct kk_err *err);
/*
 * Attaches XDP to the public interface, with tables and settings of the loaded programs @tc, which are in force, and
 * divides the work. Where XDP cannot be, all of it stays at tc, and that is no error.
 */
int kk_edge_attach(struct kk_tc *tc, const struct kk_edge_config *config, const char *ifname,
		   int ifindex, struct kk_err *err);
/*
 * kk_datapath_edge(). @tc: of programs that are in force here, where the whole edge is put back to tc if XDP has been
 * taken off by somebody else; NULL: nothing is changed.
 */
int kk_edge_query(int place_fd, struct kk_tc *tc, struct kk_xdp_state *ret, struct kk_err *err);

#endif
