/* SPDX-License-Identifier: MIT */
/*
 * One XDP program of ours on an interface, in the best mode that the interface gives: through
 * libxdp's dispatcher, beside other programs, where the kernel lets programs be attached to programs
 * (freplace); else alone. What is there of others stays.
 */
#ifndef KK_BPF_ATTACH_XDP_H
#define KK_BPF_ATTACH_XDP_H

#include <stdbool.h>
#include <bpf/libbpf.h>

#include "bpf/datapath.h"
#include "util/err.h"

/* The program, to be loaded. It is opened anew for each mode that is tried. */
struct kk_xdp_source {
	/*
	 * Makes an object that is not loaded yet, with one program called KK_XDP_PROGRAM, for @mode. NULL with
	 * @err.
	 */
	struct bpf_object *(*open)(void *userdata, enum kk_xdp_mode mode, struct kk_err *err);
	void (*close)(void *userdata);
	void *userdata;
};

#define KK_XDP_PROGRAM "kk_xdp"

/* Where our program is on @ifindex now, from the kernel. @ret->reason is left alone. */
int kk_xdp_query(int ifindex, struct kk_xdp_state *ret);

/*
 * Puts the program at @ifindex, in place of an earlier one of ours; packets meet the one or the
 * other at any time. With KK_XDP_OFF, and where it cannot be attached, there is none afterwards, and
 * @ret->reason says why: another program holds the interface, for example. So the return value is
 * negative only if an older program of ours can neither be replaced nor removed, or when there is no
 * memory.
 */
int kk_xdp_attach(const char *ifname, int ifindex, enum kk_xdp_mode wanted,
		  const struct kk_xdp_source *source, struct kk_xdp_state *ret, struct kk_err *err);
/* Takes our program away; nothing there is no error. */
int kk_xdp_detach(const char *ifname, int ifindex, struct kk_err *err);

#endif
