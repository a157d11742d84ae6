/* SPDX-License-Identifier: MIT */
/* The gateways as peers of the Agent's interface, brought to what is configured by difference. */
#ifndef KK_AGENTD_PEERS_H
#define KK_AGENTD_PEERS_H

#include <stdbool.h>

#include <jansson.h>

#include "proto/model.h"
#include "util/err.h"
#include "wgctl/wgctl.h"

/* What the interface is known to have, so that a change of services costs no look at it. Zeroed: nothing is known. */
struct peers {
	struct {
		bool is_set;
		union kk_sockaddr endpoint;
		uint8_t public_key[KK_KEY_LEN];
	} gateways[256]; /* by index */
	bool is_trim;	 /* there is no peer beside them */
};

void peers_forget(struct peers *peers);
/* Adds and changes. A peer that is right is not touched. */
int peers_up(struct peers *peers, struct wgctl *wg, const struct kk_config *config,
	     struct kk_err *err);
/* Removes what is no gateway of @config, also a gateway's earlier key. */
int peers_trim(struct peers *peers, struct wgctl *wg, const struct kk_config *config,
	       struct kk_err *err);
/* For the report: [{"gateway","last_handshake","rx_bytes","tx_bytes","endpoint"}]. */
json_t *peers_json(const struct wgctl_device *device, const struct kk_config *config);

#endif
