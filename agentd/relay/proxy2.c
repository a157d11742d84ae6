// SPDX-License-Identifier: MIT
#include "agentd/relay/proxy2.h"

#include <string.h>

#define VERSION_2_PROXY	 0x21 /* version 2, command PROXY */
#define FAMILY_INET	 0x10
#define TRANSPORT_STREAM 0x01
#define TRANSPORT_DGRAM	 0x02

static const uint8_t signature[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
				      0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};

struct header {
	uint8_t signature[12];
	uint8_t version_command;
	uint8_t family_transport;
	uint16_t len; /* of what follows; network byte order as all below */
	uint32_t src_addr, dst_addr;
	uint16_t src_port, dst_port;
} __attribute__((packed));

_Static_assert(sizeof(struct header) == PROXY2_MAX, "the header is what goes on the wire");

size_t proxy2_header(uint8_t protocol, const struct sockaddr_in *client,
		     const struct sockaddr_in *local, uint8_t out[PROXY2_MAX])
{
	struct header h = {
		.version_command = VERSION_2_PROXY,
		.family_transport = FAMILY_INET |
				    (protocol == IPPROTO_TCP ? TRANSPORT_STREAM : TRANSPORT_DGRAM),
		.len = htons(sizeof(h) - offsetof(struct header, src_addr)),
		.src_addr = client->sin_addr.s_addr,
		.dst_addr = local->sin_addr.s_addr,
		.src_port = client->sin_port,
		.dst_port = local->sin_port,
	};

	memcpy(h.signature, signature, sizeof(signature));
	memcpy(out, &h, sizeof(h));
	return sizeof(h);
}
