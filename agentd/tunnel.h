/* SPDX-License-Identifier: MIT */
/*
 * The Agent's end of the tunnel: ways to gateways, and sockets whose answers leave by the way that the
 * question came. Everything here outlives the daemon; a new one adopts it, with the key.
 *
 * This implementation has one interface PREFIX + gateway index per gateway, all in one namespace, all with
 * the Agent's address and key. Each listening socket is bound to the interface of its gateway, and what is accepted
 * from it inherits that: a reply cannot leave by another gateway. An engine that remembers by itself which
 * peer a flow came from makes do with a single interface; it replaces tunnel.c and nothing else.
 */
#ifndef KK_AGENTD_TUNNEL_H
#define KK_AGENTD_TUNNEL_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "proto/model.h"
#include "util/err.h"
#include "wgctl/wgctl.h"

#define TUNNEL_PREFIX_MAX 12 /* bytes, with room for a gateway's index behind it */

struct tunnel_options {
	const char *netns, *prefix;
	const char *engine; /* NULL: as wgctl_open chooses */
	enum wgctl_kind kind;
};

struct tunnel;

/* Opens the namespace and adopts what is in it; the key is the one found there or a fresh one. */
int tunnel_new(const struct tunnel_options *options, struct tunnel **ret, struct kk_err *err);
/* Forgets it; nothing is torn down. */
void tunnel_free(struct tunnel *tunnel);
const uint8_t *tunnel_public_key(const struct tunnel *tunnel);

/*
 * Brings the way to @gateway (which has a key) to what it says, for the Agent's @subnet; what is so
 * already is left alone, so that a session goes on.
 */
int tunnel_up(struct tunnel *tunnel, const struct kk_prefix4 *subnet,
	      const struct kk_gateway *gateway, struct kk_err *err);
/* Ends the way to the gateway with @index; none there is no error. */
int tunnel_down(struct tunnel *tunnel, uint8_t index, struct kk_err *err);
bool tunnel_is_up(const struct tunnel *tunnel, uint8_t index);
/* Looks whether the ways are still there. False: one is gone and tunnel_up would make it again. */
bool tunnel_check(struct tunnel *tunnel);

/*
 * A socket that hears what @gateway passes on to @port (host byte order) of the Agent's address, and that
 * answers through that gateway. Returns a descriptor or a negative errno.
 */
int tunnel_listen(struct tunnel *tunnel, const struct kk_prefix4 *subnet,
		  const struct kk_gateway *gateway, uint8_t protocol, uint16_t port,
		  struct kk_err *err);
/* Whether a socket that is bound to interface @device (or "" when that is gone) still does so. */
bool tunnel_device_fits(const struct tunnel *tunnel, const struct kk_gateway *gateway,
			const char *device);

/* For the report: {"kind","interface","reason"}, and one entry of "peers" ("gateway" is for the caller to add). */
json_t *tunnel_json(const struct tunnel *tunnel);
json_t *tunnel_peer_json(struct tunnel *tunnel, uint8_t index);

/* Ends everything that a daemon with these options left, and the namespace. */
int tunnel_destroy(const struct tunnel_options *options, struct kk_err *err);

#endif
