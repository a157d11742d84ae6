/* SPDX-License-Identifier: MIT */
/*
 * Who of UDP is who: sessions by a listener's port and client address, and in the order of their last use. The
 * table holds a fixed number; the caller makes room by taking out the one that idled longest.
 */
#ifndef KK_AGENTD_RELAY_UDP_TABLE_H
#define KK_AGENTD_RELAY_UDP_TABLE_H

#include <stdint.h>
#include <sys/queue.h>

#include "util/address.h"

/* Embedded in a session. */
struct udp_entry {
	const void *port; /* of a listener */
	union kk_sockaddr client;
	int64_t used; /* loop time in ms */
	LIST_ENTRY(udp_entry) chain;
	TAILQ_ENTRY(udp_entry) order;
};

struct udp_table {
	LIST_HEAD(udp_chain, udp_entry) * chains;
	uint32_t mask;
	uint64_t secret; /* of the hash: clients must not choose their chain */
	unsigned int n, max;
	TAILQ_HEAD(, udp_entry) order; /* longest idle first */
};

int udp_table_init(struct udp_table *table, unsigned int max);
/* The table must be empty. */
void udp_table_clean(struct udp_table *table);
struct udp_entry *udp_table_find(const struct udp_table *table, const void *port,
				 const union kk_sockaddr *client);
/* With port and client filled in; they must not be there yet. -ENOSPC: evict one first. */
int udp_table_add(struct udp_table *table, struct udp_entry *entry, int64_t now);
void udp_table_del(struct udp_table *table, struct udp_entry *entry);
/* @entry was used just now. */
void udp_table_touch(struct udp_table *table, struct udp_entry *entry, int64_t now);
/* The one idle longest, or NULL. */
struct udp_entry *udp_table_oldest(const struct udp_table *table);

#endif
