/* SPDX-License-Identifier: GPL-2.0 */
/* What is done with a packet: first the edge, where it is here and the packet comes from outside, then the rest. */
#ifndef KK_KMOD_DECIDE_H
#define KK_KMOD_DECIDE_H

#include "kmod/env.h"
#include "kmod/env_edge.h"
#include <kk/core/edge.h>
#include <kk/core/forward.h>

/* A constant family in each call: the other one's half is left out. */
static __always_inline enum kk_reason kk_decide(struct kk_packet *pkt, u8 family,
						enum kk_direction direction)
{
	enum kk_reason reason;

	if (direction == KK_INBOUND && pkt->tables->flags & KK_SETTINGS_F_EDGE) {
		reason = kk_edge(pkt, family, KK_EDGE_CHECKS);
		if (reason != KK_EDGE_ON)
			return reason;
	}
	return kk_forward(pkt, family, direction);
}

#endif
