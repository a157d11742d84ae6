/* SPDX-License-Identifier: MIT */
/*
 * A gateway's data plane with whichever of its two hosts forwards: the kernel module (lib/genl) where it is there and can do
 * what is asked, eBPF at tc (lib/bpf) otherwise. The edge, that is XDP, closed ports, lists, limits, bans and relayed
 * sessions, is eBPF's in both cases, and its tables are filled in both cases: so eBPF can go on at any time, without a
 * packet lost, when the module cannot or is exchanged. Translated flows (snat) belong to one host and do not change over.
 */
#ifndef KK_PLANE_H
#define KK_PLANE_H

#include "bpf/datapath.h"
#include "bpf/trace.h"

enum kk_plane_host {
	KK_PLANE_AUTO,	 /* the module where it can be */
	KK_PLANE_MODULE, /* the module: what it cannot do is refused */
	KK_PLANE_BPF,
};

/* -EINVAL: @text is none of "auto", "module", "bpf". */
int kk_plane_host_parse(const char *text, enum kk_plane_host *ret);

struct kk_plane;

/*
 * kk_datapath_open(); the module is loaded if that can be. What forwards now goes on until the first kk_plane_set(). With
 * KK_PLANE_MODULE it is an error (field "datapath") if there is no module.
 */
int kk_plane_open(const struct kk_datapath_config *config, enum kk_plane_host host,
		  struct kk_plane **ret, struct kk_err *err);
/* kk_datapath_open_readonly(), and the module if it is loaded. */
int kk_plane_open_readonly(const char *pin_dir, struct kk_plane **ret, struct kk_err *err);
/* Lets go; what forwards goes on. */
void kk_plane_close(struct kk_plane *plane);
/* kk_datapath_remove(), and the module's tables of this network namespace if they are @tunnel_ifname's. */
int kk_plane_remove(const char *pin_dir, const char *public_ifname, const char *tunnel_ifname,
		    struct kk_err *err);
/* kk_datapath_fits() */
bool kk_plane_fits(const struct kk_plane *plane);

/*
 * kk_datapath_set(), in both hosts. Where the module cannot take the tables, eBPF goes on, and kk_plane_reason() says why; the
 * next call tries again.
 */
int kk_plane_set(struct kk_plane *plane, const struct kk_datapath_tables *wanted,
		 struct kk_err *err);
/*
 * kk_datapath_amend(), in both hosts, or in neither. Where the module is there and does not forward, or refuses, it is -ESTALE or its
 * error, and all is as before: kk_plane_set() has the last word.
 */
int kk_plane_amend(struct kk_plane *plane, const struct kk_datapath_tables *from,
		   const struct kk_datapath_tables *to, struct kk_err *err);
/* kk_datapath_set_group(), in both. */
int kk_plane_set_group(struct kk_plane *plane, const struct kk_group *group, struct kk_err *err);

/*
 * The module's family came or went (genl/watch.h): if the module went, eBPF goes on; if it came, it is opened. True: the
 * tables are to be set again.
 */
bool kk_plane_follow_module(struct kk_plane *plane);

/* The tables read back, listeners from the host that forwards; *@ret is freed by the caller with the function below. */
int kk_plane_read(struct kk_plane *plane, struct kk_datapath_tables **ret, struct kk_err *err);
void kk_plane_tables_free(struct kk_datapath_tables *tables);
/* kk_datapath_counters() and kk_datapath_services(), of both together. */
int kk_plane_counters(struct kk_plane *plane, struct kk_datapath_counter **ret, struct kk_err *err);
int kk_plane_services(struct kk_plane *plane, struct kk_datapath_service **ret, struct kk_err *err);
/*
 * kk_datapath_trace() of all; where the module forwards, what the edge lets on is looked up in a copy of the module's tables,
 * and then the module itself is asked, which has the last word.
 */
int kk_plane_trace(struct kk_plane *plane, const struct kk_trace_packet *packet,
		   void (*note)(void *data, const char *line), void *note_data,
		   struct kk_trace *ret, struct kk_err *err);

/* For what is eBPF's in both cases: bans, relayed sessions, XDP, and the listeners of the edge. */
struct kk_datapath *kk_plane_bpf(const struct kk_plane *plane);
/* For status: "module" or "tc", and why. Both last as long as @plane; the latter changes with it. */
const char *kk_plane_kind(const struct kk_plane *plane);
const char *kk_plane_reason(const struct kk_plane *plane);

#endif
