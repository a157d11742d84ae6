/* SPDX-License-Identifier: MIT */
/* Settings and listeners as attributes of the family. Private to lib/genl. */
#ifndef KK_GENL_WIRE_H
#define KK_GENL_WIRE_H

#include "genl/module.h"

/* The most bytes that settings, or a listener, take in a request. */
#define KK_WIRE_SETTINGS_ROOM 512
#define KK_WIRE_LISTENER_ROOM 80

/* Return 0 or -EMSGSIZE; a listener's address must be one of the settings': -EINVAL. */
int kk_wire_put_settings(struct nl_msg *msg, const struct kk_module_settings *settings);
int kk_wire_put_listener(struct nl_msg *msg, const struct kk_settings *set,
			 const struct kk_listener *listener);
/* Of one that is to be removed. */
int kk_wire_put_gone(struct nl_msg *msg, const struct kk_settings *set,
		     const struct kk_listener *listener);

/* The slot of a public address, or -1. */
int kk_wire_slot(const struct kk_settings *set, const struct kk_address *address);

/* The attributes of an answer, by enum kk_attr, or -EBADMSG. */
int kk_wire_parse(struct nlmsghdr *hdr, struct nlattr **attrs);
int kk_wire_get_settings(struct nlattr *nest, struct kk_module_settings *ret);
/* A range of ports as one listener and, in *@n, how many follow it. */
int kk_wire_get_listener(struct nlattr *nest, const struct kk_settings *set,
			 struct kk_listener *ret, uint16_t *n);

#endif
