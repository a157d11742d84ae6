/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Keys and values of the tables that the edge has for itself, and its settings. */
#ifndef KK_CORE_EDGE_TYPES_H
#define KK_CORE_EDGE_TYPES_H

#include <kk/core/types.h>

/* What the edge of one gateway is told before the first packet. */
struct kk_edge_settings {
	/* Of the challenge's cookies: secret, and the same on gateways that share an address. */
	__u64 cookie_key[2];
	/*
	 * SYNs per second to one service beyond which their sources have to prove themselves, where its policy
	 * does not say otherwise; 0: never.
	 */
	__u32 syn_rate;
	/*
	 * UDP from this port on goes to the stack though no socket wants it, host byte order: it may be the answer
	 * to what the gateway sent in another's name (masquerading).
	 */
	__u32 ephemeral;
};
_Static_assert(sizeof(struct kk_edge_settings) == 24, "layout of the edge's settings");

/* What of the edge a host does; another host of the same machine may do the rest. */
enum {
	KK_EDGE_CHECKS = 1 << 0,
	KK_EDGE_RELAY = 1 << 1,
};

/* Table of floods: an array by service slot. SYNs are counted in windows of about a second. */
struct kk_flood {
	__u32 window; /* its number: the clock without the low KK_FLOOD_SHIFT bits */
	__u32 count;  /* in it */
	__u32 before; /* in the window before it */
	__u32 zero;
};
_Static_assert(sizeof(struct kk_flood) == 16, "layout of a flood");

#define KK_FLOOD_SHIFT 30 /* 1.07 s */

/*
 * Table of sources that have answered a challenge: a hash by address (kk_subscriber()), of which what is longest
 * unused gives way; until when they need not answer another, nanoseconds of the monotonic clock.
 */
#define KK_VERIFIED_MAX 65536
#define KK_VERIFIED_NS	(120ULL * 1000000000)

/*
 * Table of relayed sessions: a hash, with two entries for each, one for what each end sends. Datagrams of one end
 * go to the other one as they are, from the port that the other sends to.
 */
struct kk_relay_key {
	struct kk_in6 address; /* the end that sends ... */
	__be16 port;	       /* ... from this port ... */
	__be16 at;	       /* ... to this one of ours, of any managed address */
};
_Static_assert(sizeof(struct kk_relay_key) == 20, "layout of a relayed session's key");

struct kk_relay {
	struct kk_in6 peer; /* the other end, of the same family ... */
	__be16 peer_port;   /* ... its port ... */
	__be16 at;	    /* ... and the one of ours that it sends to */
	/*
	 * Where packets of this end came from last, and so where those for it go; ifindex 0: nothing has come
	 * from it since it was entered, and nothing is sent to it.
	 */
	__u32 ifindex;
	__u32 macs[3]; /* the two addresses at the front of their Ethernet header, as they came */
	__u32 zero;
	__u64 until;	      /* nanoseconds of the monotonic clock */
	__u64 packets, bytes; /* from this end that were sent on */
};
_Static_assert(sizeof(struct kk_relay) == 64, "layout of a relayed session");

/* For user space: what the programs have as constants, where XDP is to be, and why it is as it is. One element. */
struct kk_edge_place {
	struct kk_edge_settings settings;
	__u32 ifindex;
	char reason[160];
	__u32 zero;
};
_Static_assert(sizeof(struct kk_edge_place) == 192, "layout of the edge's place");

#define KK_RELAYS_MAX 65536 /* entries: twice as many as sessions */

#endif
