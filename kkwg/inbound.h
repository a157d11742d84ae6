/* SPDX-License-Identifier: MIT */
/* From UDP to TUN: takes received messages apart, opens each datagram, writes what comes out. */
#ifndef KKWG_INBOUND_H
#define KKWG_INBOUND_H

#include <stdint.h>

#include "kkwg/coalesce.h"
#include "kkwg/udp.h"
#include "wg/device.h"

#define INBOUND_MESSAGE 65536	       /* largest received message, bytes */
#define INBOUND_ARENA	(2 * 65536) /* opened packets that wait for one write */

struct inbound {
	struct wg_device *dev;
	struct coalesce coalesce;
	size_t used;
	uint8_t headroom[WG_AEAD_HEADROOM];
	uint8_t arena[INBOUND_ARENA];
	struct {
		uint8_t headroom[WG_AEAD_HEADROOM];
		uint8_t data[INBOUND_MESSAGE];
	} buffers[UDP_BATCH];
};

/*
 * Receives from @fd once, at most @max messages, and handles what came. Returns the bytes received, 0
 * where nothing was there.
 */
size_t inbound_pump(struct inbound *in, int fd, unsigned int max, uint64_t now);

#endif
