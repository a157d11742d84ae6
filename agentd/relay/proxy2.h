/* SPDX-License-Identifier: MIT */
/* The header of the PROXY protocol, version 2 (HAProxy's proxy-protocol.txt, section 2.2). */
#ifndef KK_AGENTD_RELAY_PROXY2_H
#define KK_AGENTD_RELAY_PROXY2_H

#include <stddef.h>
#include <stdint.h>
#include <netinet/in.h>

#define PROXY2_MAX 28 /* bytes of a header for IPv4 without TLVs */

/*
 * Writes the header that says "@client talked to @local by @protocol" (IPPROTO_TCP or IPPROTO_UDP) to
 * @out and returns its length.
 */
size_t proxy2_header(uint8_t protocol, const struct sockaddr_in *client,
		     const struct sockaddr_in *local, uint8_t out[PROXY2_MAX]);

#endif
