/* SPDX-License-Identifier: MIT */
/*
 * Reply to ingress: which peer each flow last came from. A set-associative table of fixed size; the
 * oldest of a set makes room. Flows are told apart by 64 bits of a keyed hash, so no flow can be made
 * to meet another on purpose.
 */
#ifndef WG_FLOW_H
#define WG_FLOW_H

#include <stdint.h>

#include "wg/packet.h"
#include "wg/siphash.h"

#define WG_FLOW_WAYS 4
#define WG_FLOW_SETS 4096 /* with the ways: 16384 flows, 256 KiB */

struct wg_flow_entry {
	uint64_t tag;  /* hash of the key; 0: free */
	uint32_t peer; /* wg_peer.id */
	uint32_t used; /* when it last came in, units of 2^26 ns (67 ms), wraps after 9 years */
};

struct wg_flow_table {
	struct wg_siphash_key key;
	struct wg_flow_entry sets[WG_FLOW_SETS][WG_FLOW_WAYS];
};

/* Remembers that @key came in from @peer. */
void wg_flow_learn(struct wg_flow_table *t, const struct wg_flow_key *key, uint32_t peer,
		   uint64_t now);
/* Forgets all flows of a peer that goes away. */
void wg_flow_flush(struct wg_flow_table *t, uint32_t peer);
/* The peer that @key last came from, or 0. */
uint32_t wg_flow_find(const struct wg_flow_table *t, const struct wg_flow_key *key);

#endif
