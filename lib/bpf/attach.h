/* SPDX-License-Identifier: MIT */
/*
 * One program at the tc ingress of an interface, replaced atomically: at tcx (Linux 6.6), in front of all filters, or at clsact
 * (direct action), where the kernel has no tcx or others have filters there.
 */
#ifndef KK_BPF_ATTACH_H
#define KK_BPF_ATTACH_H

#include <stdbool.h>

#include "util/err.h"

/*
 * Our place in the chain of filters at clsact. Others may stand before and behind: what we pass goes on to
 * them.
 */
#define KK_TC_PRIORITY 100
#define KK_TC_HANDLE   1

enum kk_place {
	KK_PLACE_CLSACT,
	KK_PLACE_TCX,
};

/* What was there before, for kk_attach_undo(); .old_fd is closed by one of _undo and _done. */
struct kk_attachment {
	const char *ifname;
	int ifindex;
	int old_fd; /* -1: nothing */
	enum kk_place old_place;
};

/* True if a program of ours is at @ifindex, wherever. */
bool kk_attached(int ifindex);
/*
 * Puts @prog_fd at our place of the ingress of @ifindex. -EEXIST: a program that is not ours is
 * at that of clsact. On failure everything is as before and @ret is untouched.
 */
int kk_attach(const char *ifname, int ifindex, int prog_fd, struct kk_attachment *ret,
	      struct kk_err *err);
/* Puts back what kk_attach() replaced. */
void kk_attach_undo(struct kk_attachment *attachment);
/* Lets go of what it replaced. */
void kk_attach_done(struct kk_attachment *attachment);
/* Takes our program away, and clsact if nobody else uses it. Nothing there is no error. */
int kk_detach(const char *ifname, int ifindex, struct kk_err *err);

#endif
