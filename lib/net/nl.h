/* SPDX-License-Identifier: MIT */
/* Netlink requests by libnl-3 with the kernel's own errno (libnl folds many of them together). */
#ifndef KK_NET_NL_H
#define KK_NET_NL_H

#include <netlink/msg.h>
#include <netlink/netlink.h>

#include "util/cleanup.h"

/* A socket of family @protocol (NETLINK_ROUTE ...) in the calling thread's network namespace. */
int kk_nl_open(int protocol, struct nl_sock **ret);

/*
 * Sends @msg and reads until the kernel has acknowledged it, or its dump has ended; @each (may be NULL)
 * gets every message in between and ends the call with a negative errno. @msg stays the caller's.
 * Returns 0 or a negative errno; -EAGAIN: the dump was overtaken by a change and is not consistent.
 */
int kk_nl_call(struct nl_sock *sk, struct nl_msg *msg,
	       int (*each)(struct nlmsghdr *hdr, void *userdata), void *userdata);

/*
 * kk_nl_call() on a socket with NETLINK_EXT_ACK set: *@text is what the kernel said
 * about a refusal, cut to @size bytes, or "".
 */
int kk_nl_call_text(struct nl_sock *sk, struct nl_msg *msg,
		    int (*each)(struct nlmsghdr *hdr, void *userdata), void *userdata, char *text,
		    size_t size);

/* kk_nl_call over a NETLINK_ROUTE socket of its own. */
int kk_rtnl_call(struct nl_msg *msg, int (*each)(struct nlmsghdr *hdr, void *userdata),
		 void *userdata);

static inline void kk_nl_freep(struct nl_sock **sk)
{
	if (*sk)
		nl_socket_free(*sk);
}

static inline void kk_nlmsg_freep(struct nl_msg **msg)
{
	nlmsg_free(*msg);
}

#define KK_CLEANUP_NL	 KK_CLEANUP(kk_nl_freep)
#define KK_CLEANUP_NLMSG KK_CLEANUP(kk_nlmsg_freep)

#endif
