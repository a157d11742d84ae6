/* SPDX-License-Identifier: MIT */
/* Whether a generic netlink family comes or goes, as it does with its module. */
#ifndef KK_GENL_WATCH_H
#define KK_GENL_WATCH_H

#include <stdbool.h>

#include <netlink/netlink.h>

#include "util/err.h"

struct kk_genl_watch {
	struct nl_sock *sk;
	const char *name;
};

/* In the network namespace of the calling thread. @name stays the caller's. */
int kk_genl_watch_open(struct kk_genl_watch *ret, const char *name, struct kk_err *err);
void kk_genl_watch_close(struct kk_genl_watch *watch);
/* To be polled for input. */
int kk_genl_watch_fd(const struct kk_genl_watch *watch);
/* Reads what is there. True: the family came or went since, or that may have been missed. */
bool kk_genl_watch_read(struct kk_genl_watch *watch);

#endif
