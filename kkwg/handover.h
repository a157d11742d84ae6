/* SPDX-License-Identifier: MIT */
/*
 * What lands at a worker and belongs to another goes there through a ring for each pair of them: packets of the
 * interface for a peer of another, messages that the kernel gave to the wrong socket, and initiations, which all come
 * to the first worker. The order within a flow is kept. Where a ring is full the packet is dropped and counted.
 */
#ifndef KKWG_HANDOVER_H
#define KKWG_HANDOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "kkwg/outbound.h"
#include "kkwg/udp.h"
#include "wg/device.h"

struct engine;
struct worker;

#define HANDOVER_RING (512u << 10) /* bytes from one worker to another: seven super-packets */

/* Makes the rings between all workers. Returns 0 or -ENOMEM. */
int handover_init(struct engine *e);
void handover_clean(struct engine *e);

/* A packet read by @w for @p, a peer of another worker. */
void handover_packet(struct worker *w, struct wg_peer *p, const struct outbound_packet *q);
/* Hands over what of the message belongs to others. Returns whether that was all of it. */
bool handover_message(struct worker *w, const struct udp_received *r);
/* As wg_env.elsewhere. */
bool handover_initiation(struct worker *w, const struct wg_endpoint *from,
			 const struct wg_msg_initiation *msg, const struct wg_noise_draft *draft);

/* Shows the others what was handed to them, and wakes who sleeps. */
void handover_publish(struct worker *w);
/* Handles what others have handed to @w, a bounded part of it. Returns whether there is more. */
bool handover_take(struct worker *w, uint64_t now);
/* Whether there is anything to take. */
bool handover_waits(const struct worker *w);

#endif
