/* SPDX-License-Identifier: MIT */
/* What the kernel module tells by itself, in the network namespace of the thread that subscribes. */
#ifndef KK_GENL_EVENTS_H
#define KK_GENL_EVENTS_H

#include <netlink/netlink.h>
#include <uapi/kakuremichi.h>

#include "util/address.h"
#include "util/err.h"

struct kk_module_event {
	enum kk_event kind;
	/* Of bans and limits. */
	struct kk_address source; /* family 0: there is none; of IPv6 the /64 */
	uint32_t service;	  /* id; 0: all */
	uint32_t seconds;	  /* that a ban lasts; 0: for good */
	/* Of translated flows. */
	uint32_t flows;
	uint32_t
		missed; /* events of that kind that were not told since the last one: at most 10 a second are */
};

struct kk_module_events {
	struct nl_sock *sk;
};

/* -ENOENT: the module is not there and cannot be loaded. */
int kk_module_events_open(struct kk_module_events *ret, struct kk_err *err);
void kk_module_events_close(struct kk_module_events *events);
/* To be waited for until it can be read. */
int kk_module_events_fd(const struct kk_module_events *events);
/*
 * Calls @each for what has come, and does not wait. 0, or a negative errno; -ENOBUFS: some were lost, for they came
 * faster than they were read.
 */
int kk_module_events_read(const struct kk_module_events *events,
			  void (*each)(const struct kk_module_event *event, void *userdata),
			  void *userdata);
/* Static: "limited-packets", say. */
const char *kk_module_event_name(enum kk_event kind);

#endif
