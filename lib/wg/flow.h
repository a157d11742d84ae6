/* SPDX-License-Identifier: MIT */
/*
 * Reply to ingress: which peer each flow last came from. A set-associative table of fixed size; the
 * oldest of a set makes room. Flows are told apart by 64 bits of a keyed hash, so no flow can be made
 * to meet another on purpose.
 *
 * A datagram moves its flow to the peer that brought it. A TCP segment does so only if the other side of the
 * connection can have sent it, judged by what our end has sent and acknowledged: anybody may write the
 * address of somebody else on a segment and send it to another gateway. So a RST moves nothing; a SYN waits
 * for the answer of our end, which alone knows whether it begins a connection; anything else has to have
 * sequence and acknowledgement numbers near those of the connection (RFC 9293 section 3.10.7.4, RFC 5961).
 */
#ifndef WG_FLOW_H
#define WG_FLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "wg/packet.h"
#include "wg/siphash.h"

#define WG_FLOW_WAYS   4
#define WG_FLOW_SETS   4096	  /* with the ways: 16384 flows, 512 KiB where all are in use */
#define WG_FLOW_WINDOW (1u << 26) /* bytes that a segment may be off what our end expects */

struct wg_flow_entry {
	uint64_t tag;	      /* hash of the key; 0: free */
	uint32_t peer : 31;   /* wg_peer.id */
	uint32_t chosen : 1;  /* nothing came in yet: the peer was chosen for what our end sent */
	uint32_t caller : 31; /* TCP: peer that brought a SYN that is not answered yet; 0 none */
	uint32_t spoken : 1;  /* TCP: @expects and @sent are known */
	uint32_t call;	      /* TCP: acknowledgement that would answer that SYN */
	uint32_t used;	  /* when it last came in, units of 2^26 ns (67 ms), wraps after 9 years */
	uint32_t expects; /* TCP: what our end acknowledged last */
	uint32_t sent;	  /* TCP: end of what our end has sent */
};

struct wg_flow_table {
	struct wg_siphash_key key;
	struct wg_flow_entry sets[WG_FLOW_SETS][WG_FLOW_WAYS];
};

/* Which of WG_FLOW_STRIPES parts of the table holds @key. A flow is looked up and changed in its part only. */
#define WG_FLOW_STRIPES 64
uint32_t wg_flow_stripe(const struct wg_flow_table *t, const struct wg_flow_key *key);
/* A packet of flow @key came in from @peer; @tcp is NULL unless it is TCP. Returns whether the flow is now @peer's. */
bool wg_flow_learn(struct wg_flow_table *t, const struct wg_flow_key *key, const struct wg_tcp *tcp,
		   uint32_t peer, uint64_t now);
/*
 * The entry by which a packet of flow @key goes out, or NULL; @tcp as above is remembered. Valid until the
 * next call.
 */
const struct wg_flow_entry *wg_flow_send(struct wg_flow_table *t, const struct wg_flow_key *key,
					 const struct wg_tcp *tcp);
/* Remembers @peer for a flow that our end began, or that is not known any more, until a packet comes in. */
void wg_flow_choose(struct wg_flow_table *t, const struct wg_flow_key *key,
		    const struct wg_tcp *tcp, uint32_t peer, uint64_t now);
/* Forgets all flows of a peer that goes away. */
void wg_flow_flush(struct wg_flow_table *t, uint32_t peer);
/* The peer that @key last came from, or 0 where nothing came. */
uint32_t wg_flow_find(const struct wg_flow_table *t, const struct wg_flow_key *key);

#endif
