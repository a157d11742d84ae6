/* SPDX-License-Identifier: MIT */
/* A request of the configuration protocol as it was read (config.c) and is applied (config_apply.c). */
#ifndef KKWG_CHANGE_H
#define KKWG_CHANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "wg/crypto.h"
#include "wg/endpoint.h"

struct allowed_change {
	struct allowed_change *next;
	uint8_t addr[16];
	uint8_t addr_len, bits;
	bool remove;
};

struct peer_change {
	struct peer_change *next;
	uint8_t public[WG_KEY_LEN], psk[WG_KEY_LEN];
	struct wg_endpoint endpoint;
	uint16_t keepalive;
	bool remove, update_only, replace_allowed;
	bool has_psk, has_endpoint, has_keepalive;
	struct allowed_change *allowed, **allowed_end;
};

struct config_change {
	uint8_t secret[WG_KEY_LEN];
	uint32_t mark;
	uint16_t port;
	bool has_secret, has_mark, has_port, has_reply, reply_to_ingress, replace_peers;
	bool has_forwarding, forwarding, has_eager, eager;
	struct peer_change *peers, **peers_end, *last;
};

#endif
