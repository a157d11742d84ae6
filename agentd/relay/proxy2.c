// SPDX-License-Identifier: MIT
#include "agentd/relay/proxy2.h"

#include <string.h>

#define VERSION_2_LOCAL	 0x20 /* version 2, command LOCAL */
#define VERSION_2_PROXY	 0x21 /* and command PROXY */
#define FAMILY_INET	 0x10
#define FAMILY_INET6	 0x20
#define TRANSPORT_STREAM 0x01
#define TRANSPORT_DGRAM	 0x02

static const uint8_t signature[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
				      0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};

/* Behind the header come both addresses, then both ports; all in network byte order. */
struct header {
	uint8_t signature[12];
	uint8_t version_command;
	uint8_t family_transport;
	uint16_t len; /* of what follows */
} __attribute__((packed));

_Static_assert(sizeof(struct header) + 2 * 16 + 2 * 2 == PROXY2_MAX, "what goes on the wire");

static size_t put(uint8_t *out, size_t at, const void *data, size_t len)
{
	memcpy(out + at, data, len);
	return at + len;
}

size_t proxy2_header(uint8_t protocol, const union kk_sockaddr *client,
		     const union kk_sockaddr *local, uint8_t out[PROXY2_MAX])
{
	const struct kk_address from = kk_sockaddr_address(client), to = kk_sockaddr_address(local);
	const uint16_t from_port = htons(kk_sockaddr_port(client));
	const uint16_t to_port = htons(kk_sockaddr_port(local));
	const bool v6 = from.family == AF_INET6;
	const size_t len = v6 ? 16 : 4;
	struct header h = {
		.version_command = VERSION_2_PROXY,
		.family_transport = (v6 ? FAMILY_INET6 : FAMILY_INET) |
				    (protocol == IPPROTO_TCP ? TRANSPORT_STREAM : TRANSPORT_DGRAM),
		.len = htons((uint16_t)(2 * len + 2 * sizeof(from_port))),
	};
	size_t at;

	memcpy(h.signature, signature, sizeof(signature));
	at = put(out, 0, &h, sizeof(h));
	at = put(out, at, from.bytes, len);
	at = put(out, at, to.bytes, len);
	at = put(out, at, &from_port, sizeof(from_port));
	return put(out, at, &to_port, sizeof(to_port));
}

size_t proxy2_local(uint8_t out[PROXY2_MAX])
{
	struct header h = {.version_command = VERSION_2_LOCAL};

	memcpy(h.signature, signature, sizeof(signature));
	return put(out, 0, &h, sizeof(h));
}
