/* SPDX-License-Identifier: MIT */
/*
 * The gateway's one WireGuard interface. It outlives the daemon: opening adopts interface, key, peers and
 * addresses that are there, and setting changes only what differs.
 */
#ifndef KK_GATEWAYD_TUNNEL_H
#define KK_GATEWAYD_TUNNEL_H

#include <net/if.h>

#include "gatewayd/options.h"
#include "gatewayd/peers.h"

struct tunnel {
	char ifname[IFNAMSIZ];
	struct wgctl *wg;
	uint8_t public_key[KK_KEY_LEN];
	struct peers now; /* as the machine has it */
};

/*
 * Opens or adopts the interface, brings it up and gives it a key where it has none. Returns 0, or a negative
 * errno with @err and nothing that was made left behind.
 */
int tunnel_open(const struct options *o, struct tunnel *ret, struct kk_err *err);
/* Lets go; the tunnel goes on. */
void tunnel_close(struct tunnel *tunnel);

/* Brings it to @wanted, wholly or (with a negative errno and @err) not at all. */
int tunnel_set(struct tunnel *tunnel, const struct peers *wanted, struct kk_err *err);

/* Whether the interface is still there. */
bool tunnel_alive(const struct tunnel *tunnel);
/* "kernel" or "userspace". */
const char *tunnel_kind(const struct tunnel *tunnel);

#endif
