/* SPDX-License-Identifier: MIT */
/*
 * Engines in a simulated network: virtual time, and a link that loses, repeats, delays and reorders.
 * Everything follows from the seed.
 */
#ifndef WG_NODE_H
#define WG_NODE_H

#include "wg_test.h"

#include "wg/device.h"

#define SEC	  1000000000ull
#define MARK	  "plaintext-marker" /* in every packet: must never be seen on the link */
#define NODES	  3
#define IN_FLIGHT 4096

struct net;

struct node {
	struct net *net;
	struct wg_device *dev;
	struct wg_endpoint self;
	uint8_t secret[32], public[32];
	uint8_t address;      /* last byte of the inner address 10.0.0.x */
	int64_t clock_offset; /* wall clock minus virtual time, ns */
	uint64_t received[NODES], sent;
	uint64_t last_received[NODES]; /* virtual time */
	uint8_t *seen;		       /* by packet number: accepted already */
	bool asleep; /* suspended: no timer runs, what is sent to it is lost; time goes on */
};

struct datagram {
	uint64_t at;
	struct node *to;
	struct wg_endpoint from;
	uint16_t len;
	uint8_t ecn;
	uint8_t data[256];
};

struct net {
	uint64_t seed, now;
	unsigned int loss, repeat, delay_ms; /* per cent, per cent, at most on top of ... */
	unsigned int least_delay_ms;
	unsigned int n;
	struct datagram flight[IN_FLIGHT];
	struct node nodes[NODES];
	uint32_t next_number;
	uint64_t datagrams, initiations; /* that were sent */
};

#define NUMBERS 65536

uint64_t net_random(struct net *n);
/* Fresh nodes with keys; no peers yet. */
void net_init(struct net *n, uint64_t seed);
void net_clean(struct net *n);
/* Gives @from a peer @to with its inner address as allowed IP; @endpoint: it knows where @to is. */
struct wg_peer *net_peer(struct node *from, struct node *to, bool endpoint);
/* Forgets everything but the identity. */
void node_reboot(struct node *node);
/* Sends a packet to the inner address of @to. */
void node_send(struct node *from, struct node *to);
/* Lets virtual time pass. */
void net_run(struct net *n, uint64_t until);

#endif
