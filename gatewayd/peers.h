/* SPDX-License-Identifier: MIT */
/*
 * What the tunnel interface carries: its port, one peer an Agent, one address of each family an Agent. Computed from a
 * configuration, read from the machine, and compared; nothing here changes anything.
 */
#ifndef KK_GATEWAYD_PEERS_H
#define KK_GATEWAYD_PEERS_H

#include "proto/model.h"
#include "wgctl/wgctl.h"

struct peers {
	uint16_t port;		  /* UDP */
	struct wgctl_peer *peers; /* sorted by key */
	size_t n_peers;
	struct kk_prefix *addresses; /* of the interface, sorted; with their host bits */
	size_t n_addresses;
};

/*
 * As @config wants it: each Agent that has a key is a peer with its /24, and what that is behind pool6. -EEXIST: two Agents have one key or one
 * subnet; -EINVAL: a subnet is not in the pool.
 */
int peers_wanted(const struct kk_config *config, struct peers *ret, struct kk_err *err);
/* As the machine has it; takes @addresses over. */
int peers_found(const struct wgctl_device *device, struct kk_prefix *addresses, size_t n_addresses,
		struct peers *ret, struct kk_err *err);
/* -ENOMEM. */
int peers_copy(const struct peers *from, struct peers *ret);
void peers_clean(struct peers *peers);

/* Sorts @device's peers so that peers_lookup finds them by key; NULL: there is none. */
void peers_sort(struct wgctl_device *device);
const struct wgctl_peer *peers_lookup(const struct wgctl_device *device,
				      const uint8_t public_key[KK_KEY_LEN]);

/* What leads from one to another: pointers into both, freed by peers_change_clean. */
struct peers_change {
	const struct wgctl_peer **set, **removed;
	size_t n_set, n_removed;
	const struct kk_prefix **addresses_added, **addresses_removed;
	size_t n_addresses_added, n_addresses_removed;
};

/* -ENOMEM. Peers and addresses that are the same on both sides are in none of the lists. */
int peers_compare(const struct peers *from, const struct peers *to, struct peers_change *ret);
void peers_change_clean(struct peers_change *change);

#endif
