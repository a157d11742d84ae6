/* SPDX-License-Identifier: MIT */
/*
 * From TUN to UDP: completes checksums, cuts super-packets into segments, seals each and sends them
 * in as few calls as possible. Segments are cut without a copy: the header of each is written over
 * the end of the one before, which is sealed already.
 */
#ifndef KKWG_OUTBOUND_H
#define KKWG_OUTBOUND_H

#include <stddef.h>
#include <stdint.h>

#include "kkwg/tun.h"
#include "kkwg/udp.h"
#include "wg/device.h"

#define OUTBOUND_ARENA (3 * 65536) /* sealed messages that wait for one sendmmsg() */

struct outbound {
	struct wg_device *dev;
	struct udp *udp;
	size_t mtu; /* of the interface, bytes; bounds the padding */
	unsigned int n;
	struct udp_send sends[UDP_SENDS];
	struct wg_peer *peers[UDP_SENDS];
	size_t used;
	uint8_t headroom[WG_AEAD_HEADROOM];
	uint8_t arena[OUTBOUND_ARENA];
};

/*
 * Takes one packet or super-packet of the TUN interface. @data has WG_AEAD_HEADROOM bytes in front and
 * WG_PADDING behind its @len bytes that may be overwritten, as the packet itself.
 */
void outbound_packet(struct outbound *o, const tun_header *hdr, uint8_t *data, size_t len, uint64_t now);
/* Sends what was gathered. */
void outbound_flush(struct outbound *o, uint64_t now);

#endif
