/* SPDX-License-Identifier: MIT */
/* The header of the PROXY protocol, version 2 (HAProxy's proxy-protocol.txt, section 2.2). */
#ifndef KK_AGENTD_RELAY_PROXY2_H
#define KK_AGENTD_RELAY_PROXY2_H

#include <stddef.h>
#include <stdint.h>

#include "util/address.h"

#define PROXY2_MAX 52 /* bytes of a header for IPv6 without TLVs; one for IPv4 has 28 */

/*
 * Writes the header that says "@client talked to @local by @protocol" (IPPROTO_TCP or IPPROTO_UDP; both of one
 * family) to @out and returns its length.
 */
size_t proxy2_header(uint8_t protocol, const union kk_sockaddr *client,
		     const union kk_sockaddr *local, uint8_t out[PROXY2_MAX]);

/*
 * The header of a datagram or connection that is the proxy's own, to see whether the target is there (command LOCAL), with no
 * addresses. Returns its length.
 */
size_t proxy2_local(uint8_t out[PROXY2_MAX]);

#endif
