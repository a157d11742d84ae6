/* SPDX-License-Identifier: MIT */
/* Handshake and cookie messages that come in: what is checked first, and what each one sets off. */
#ifndef WG_HANDSHAKE_H
#define WG_HANDSHAKE_H

#include <stddef.h>
#include <stdint.h>

#include "wg/endpoint.h"

struct wg_device;

/* @msg is an initiation, response or cookie reply of the right length. */
void wg_handshake_receive(struct wg_device *d, const struct wg_endpoint *from, const void *msg,
			  size_t len, uint64_t now);

#endif
