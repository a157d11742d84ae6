/* SPDX-License-Identifier: MIT */
/* One interface of the tunnel, PREFIX + gateway index, seen from inside its namespace. */
#ifndef KK_AGENTD_WAYS_H
#define KK_AGENTD_WAYS_H

#include <stdbool.h>
#include <stdint.h>
#include <net/if.h>

#include "proto/model.h"
#include "wgctl/wgctl.h"

#define WAYS_MAX 256 /* by gateway index */

/* "PREFIX7" of prefix "PREFIX" and index 7. */
void way_name(const char *prefix, uint8_t index, char out[IFNAMSIZ]);
/* Calls @found for each such interface of the caller's namespace. Stops at an error and returns it. */
int ways_each(const char *prefix, int (*found)(uint8_t index, void *userdata, struct kk_err *err),
	      void *userdata, struct kk_err *err);

/* The WireGuard side: @gateway is the only peer, and everything may come from it. */
int way_set_peer(struct wgctl *wg, const uint8_t private_key[KK_KEY_LEN],
		 const struct kk_gateway *gateway, struct kk_err *err);
/* The network side: the Agent's address as the only one, routes, up. */
int way_set_link(const char *ifname, const struct kk_prefix4 *subnet,
		 const struct kk_gateway *gateway, struct kk_err *err);

#endif
