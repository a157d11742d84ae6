/* SPDX-License-Identifier: MIT */
/* The ports that this host itself serves on an address, as the kernel's sock_diag tells them. */
#ifndef KK_GATEWAYD_PORTS_H
#define KK_GATEWAYD_PORTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <netinet/in.h>

#include "util/address.h"
#include "util/err.h"

struct port {
	uint8_t protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	uint16_t number;
	uint32_t inode; /* of a socket that has it; 0: none that a process holds */
};

struct ports {
	struct port *items; /* sorted by protocol and number, each once */
	size_t n, room;
};

/*
 * The listening TCP and the unconnected UDP sockets of the caller's network namespace that @address or one of the
 * @n_others managed addresses of either family can be reached at: bound to it or to the wildcard, and to no interface but
 * @ifindex.
 */
int ports_read(struct in_addr address, const struct kk_address *others, size_t n_others,
	       int ifindex, struct ports *ret, struct kk_err *err);
/* Adds one, unless it is there. -ENOMEM. */
int ports_add(struct ports *ports, uint8_t protocol, uint16_t number);
void ports_clean(struct ports *ports);

/* The first that is not before this one, or their end. */
const struct port *ports_from(const struct ports *ports, uint8_t protocol, uint16_t number);
const struct port *ports_find(const struct ports *ports, uint8_t protocol, uint16_t number);
/* Same ports; who holds them does not matter. */
bool ports_equal(const struct ports *a, const struct ports *b);

/* Who holds a socket: "sshd (process 123)", or "another program" where that cannot be told. */
void ports_owner(uint32_t inode, char *ret, size_t len);

const char *protocol_name(uint8_t protocol);

#endif
