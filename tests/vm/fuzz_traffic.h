/* SPDX-License-Identifier: MIT */
/* What else goes on in a namespace whose netlink is fuzzed: packets both ways, and tables and interfaces that change. */
#ifndef KK_FUZZ_TRAFFIC_H
#define KK_FUZZ_TRAFFIC_H

#include "tests/vm/fuzz_genl.h"

/* Both until @now is @end. */
void fuzz_traffic(struct fuzz *fuzz, double end, double (*now)(void));
/* Takes interfaces away, makes and renames them, and puts good tables into force. */
void fuzz_unruly(struct fuzz *fuzz, double end, double (*now)(void));

/* An IPv4 packet of @protocol with good checksums to @port, 40 bytes or more; its length. */
size_t fuzz_packet(uint8_t *packet, uint8_t protocol, const char *from, const char *to,
		   uint16_t port);

#endif
