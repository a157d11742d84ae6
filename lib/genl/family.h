/* SPDX-License-Identifier: MIT */
/* A generic netlink family, with the kernel's own words about what it refuses. */
#ifndef KK_GENL_FAMILY_H
#define KK_GENL_FAMILY_H

#include <netlink/msg.h>
#include <netlink/netlink.h>

#include "util/err.h"

struct kk_genl {
	struct nl_sock *sk; /* in the network namespace of the thread that opened it */
	int family;
	uint8_t version;
};

/* -ENOENT: the kernel knows no family @name, and no module that has it could be loaded. */
int kk_genl_open(struct kk_genl *ret, const char *name, uint8_t version, struct kk_err *err);
void kk_genl_close(struct kk_genl *genl);

/* A request with room for @room bytes of attributes, to be freed with nlmsg_free(). NULL: memory is short. */
struct nl_msg *kk_genl_request(const struct kk_genl *genl, uint8_t cmd, int flags, size_t room);

/*
 * kk_nl_call(); @err says what the kernel said, else what @what is: "the packet could not be tried: Operation not
 * permitted".
 */
int kk_genl_call(const struct kk_genl *genl, struct nl_msg *msg,
		 int (*each)(struct nlmsghdr *hdr, void *userdata), void *userdata,
		 const char *what, struct kk_err *err);

#endif
