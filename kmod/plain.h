/* SPDX-License-Identifier: GPL-2.0 */
/* The short way as the module has it: the answers of all ports, for a look into a hash is cheaper than the stack. */
#ifndef KK_KMOD_PLAIN_H
#define KK_KMOD_PLAIN_H

#include "kmod/env.h"
#include "kmod/env_edge.h"

#define KK_PLAIN_ORIGINS 1
#include <kk/core/plain.h>

static __always_inline enum kk_reason kk_decide_plain(struct kk_packet *pkt,
						      enum kk_direction direction)
{
	return kk_plain(pkt, direction, pkt->tables->flags & KK_SETTINGS_F_EDGE);
}

#endif
