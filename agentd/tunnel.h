/* SPDX-License-Identifier: MIT */
/*
 * The Agent's end of the tunnel: one interface in a namespace of its own, with every gateway as a peer from which
 * everything may come. Its engine remembers by which peer each flow came and answers through that one (reply to
 * ingress), so that a socket need not know of gateways. Everything here outlives the daemon; a new one adopts it,
 * with the key.
 */
#ifndef KK_AGENTD_TUNNEL_H
#define KK_AGENTD_TUNNEL_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "proto/model.h"
#include "util/err.h"

struct tunnel_options {
	const char *netns, *ifname;
	const char *engine; /* NULL: as wgctl_open chooses */
};

struct tunnel;

/*
 * Opens the namespace and the interface in it: adopts what is there, with its key, else makes one with a fresh key.
 * -EOPNOTSUPP: the engine cannot reply to ingress.
 */
int tunnel_new(const struct tunnel_options *options, struct tunnel **ret, struct kk_err *err);
/* Forgets it; nothing is torn down. */
void tunnel_free(struct tunnel *tunnel);
const uint8_t *tunnel_public_key(const struct tunnel *tunnel);

/* Looks whether the interface is still there. False: it is just gone, and tunnel_up would make it again. */
bool tunnel_check(struct tunnel *tunnel);
/*
 * Brings interface, address and the peers for the gateways of @config that have a key to what it says. What is so
 * already is left alone, so that sessions go on. Peers that are too many stay until tunnel_trim.
 */
int tunnel_up(struct tunnel *tunnel, const struct kk_config *config, struct kk_err *err);
/* Removes the peers that are no gateway of @config. */
int tunnel_trim(struct tunnel *tunnel, const struct kk_config *config, struct kk_err *err);

/* The Agent's addresses, the IPv4 one first and an IPv6 one where Control has a prefix and the kernel IPv6. */
size_t tunnel_addresses(const struct tunnel *tunnel, const struct kk_self *self,
			struct kk_address ret[2]);
/*
 * A socket for @port (host byte order) of @address, one of the Agent's, whichever gateway passes something on to it.
 * Returns a descriptor or a negative errno.
 */
int tunnel_listen(struct tunnel *tunnel, const struct kk_address *address, uint8_t protocol,
		  uint16_t port, struct kk_err *err);
/* Whether sockets in the namespace with this cookie are in the tunnel's. */
bool tunnel_is_netns(const struct tunnel *tunnel, uint64_t netns_cookie);
/* As wgctl_flows: a descriptor that the caller closes. */
int tunnel_flows(struct tunnel *tunnel, struct kk_err *err);

/* For the report: {"kind","interface","reason"}, and "peers", one entry for each gateway of @config. */
json_t *tunnel_json(const struct tunnel *tunnel);
json_t *tunnel_peers_json(struct tunnel *tunnel, const struct kk_config *config);

/* Ends everything that a daemon with these options left, and the namespace. */
int tunnel_destroy(const struct tunnel_options *options, struct kk_err *err);

#endif
