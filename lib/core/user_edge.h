/* SPDX-License-Identifier: MIT */
/* The edge's tables in plain memory, for kk_user_edge(). */
#ifndef KK_CORE_USER_EDGE_H
#define KK_CORE_USER_EDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kk/core/edge_types.h>

#include "core/map.h"

#define KK_USER_WANTED 16

/* Whom a packet to a port that is not published is for; ports in network byte order. */
struct kk_user_tuple {
	uint8_t family, protocol;
	struct kk_in6 source, dest;
	__be16 source_port, dest_port;
};

struct kk_user_edge {
	struct kk_edge_settings settings;
	struct kk_flood floods[KK_SERVICES_MAX];
	struct kk_map verified; /* struct kk_in6 -> uint64_t */
	struct kk_map relays;	/* struct kk_relay_key -> struct kk_relay */
	/* Ports that sockets of the gateway's own are bound to, network byte order. */
	struct {
		uint8_t protocol;
		__be16 port;
	} wanted[KK_USER_WANTED];
	size_t n_wanted;
	/* Is asked in their place whether a socket takes a packet, unless it is NULL. */
	bool (*wants)(void *data, const struct kk_user_tuple *tuple);
	void *wants_data;
};

#endif
