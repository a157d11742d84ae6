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

#include "util/err.h"

/* What is asked for; what there is, is among them too. */
enum kk_xdp_mode {
	KK_XDP_AUTO, /* the best that there is; on veth none, for reasons that kk_xdp_attach() gives */
	KK_XDP_OFF,
	KK_XDP_GENERIC,
	KK_XDP_NATIVE,
	KK_XDP_OFFLOAD,
};

/* Static: "auto", "off", "generic", "native", "offload". */
const char *kk_xdp_mode_name(enum kk_xdp_mode mode);
/* -EINVAL: @text is none of the first four; offload is found, not asked for. */
int kk_xdp_mode_parse(const char *text, enum kk_xdp_mode *ret);

/*
 * Makes a fresh object with one program called KK_XDP_PROGRAM, which is not loaded yet: it may be
 * asked several times. Returns NULL with @err.
 */
typedef struct bpf_object *kk_xdp_open_fn(void *userdata, struct kk_err *err);
#define KK_XDP_PROGRAM "kk_xdp"

#define KK_XDP_REASON_MAX 160

struct kk_xdp_state {
	enum kk_xdp_mode mode; /* KK_XDP_OFF: our program is not there */
	bool shared;	       /* beside others, in libxdp's dispatcher */
	/* In words: why not a better mode, or none. Empty: there is no better one. */
	char reason[KK_XDP_REASON_MAX];
};

/* Where our program is on @ifindex now, from the kernel. @ret->reason is left alone. */
int kk_xdp_query(int ifindex, struct kk_xdp_state *ret);

/*
 * Puts the program at @ifindex, in place of an earlier one of ours; packets meet the one or the
 * other at any time. With KK_XDP_OFF, and where it cannot be attached, there is none afterwards, and
 * @ret->reason says why: another program holds the interface, for example. So the return value is
 * negative only if an older program of ours can neither be replaced nor removed, or when there is no
 * memory.
 */
int kk_xdp_attach(const char *ifname, int ifindex, enum kk_xdp_mode wanted, kk_xdp_open_fn *open,
		  void *userdata, struct kk_xdp_state *ret, struct kk_err *err);
/* Takes our program away; nothing there is no error. */
int kk_xdp_detach(const char *ifname, int ifindex, struct kk_err *err);

#endif
