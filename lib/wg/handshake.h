/* SPDX-License-Identifier: MIT */
/* Handshake and cookie messages that come in: what is checked first, and what each one sets off. */
#ifndef WG_HANDSHAKE_H
#define WG_HANDSHAKE_H

#include <stddef.h>
#include <stdint.h>

#include "wg/endpoint.h"

struct wg_device;
struct wg_msg_initiation;
struct wg_noise_draft;

/* @msg is an initiation, response or cookie reply of the right length. */
void wg_handshake_receive(struct wg_device *d, const struct wg_endpoint *from, const void *msg,
			  size_t len, uint64_t now);

/* The rest of an initiation that another shard has opened up to @draft and let pass (wg_env.elsewhere). */
void wg_handshake_continue(struct wg_device *d, const struct wg_endpoint *from,
			   const struct wg_msg_initiation *msg, const struct wg_noise_draft *draft,
			   uint64_t now);

#endif
