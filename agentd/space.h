/* SPDX-License-Identifier: MIT */
/* The network namespace of the Agent's end of the tunnel: nothing in it but the tunnel and listeners. */
#ifndef KK_AGENTD_SPACE_H
#define KK_AGENTD_SPACE_H

#include <stdbool.h>

#include "util/err.h"

/*
 * Opens namespace @name, made if need be, and sees to it that nothing passes through it: no forwarding
 * (a gateway must not reach another one through us), no way to loopback addresses from outside, of IPv6
 * no addresses but those that are set. Reverse-path filters are off, since the same client may come by any gateway.
 * Returns a descriptor that the caller closes, or a negative errno.
 */
int space_open(const char *name, struct kk_err *err);
/* Whether the caller's namespace can have IPv6 addresses. */
bool space_has_ipv6(void);

#endif
