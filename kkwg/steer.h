/* SPDX-License-Identifier: MIT */
/*
 * A BPF program that chooses the queue of the TUN interface for each packet: that of the worker whose peer has the
 * destination, else by both addresses. So a packet is read by who needs it, and a flow never changes its queue, as it
 * does where the kernel chooses: then its packets would overtake each other.
 */
#ifndef KKWG_STEER_H
#define KKWG_STEER_H

#include <stdbool.h>
#include <stdint.h>

struct steer {
	int program, map4, map6; /* -1: none */
	bool refused; /* a change of the maps; packets then take a detour, in order all the same */
};

#define STEER_PREFIXES                                                                             \
	65536		  /* of each family that the maps hold; the others go by their addresses */
#define STEER_BY_HASH 255 /* in place of a worker: several have the prefix */

/* Loads the program and makes its maps. Returns 0 or -errno with nothing left open. */
int steer_open(struct steer *s);
void steer_close(struct steer *s);
/* Lets it choose for the interface of @tun_fd. Returns 0 or -errno. */
int steer_attach(const struct steer *s, int tun_fd);
/* What goes to @addr/@bits (@addr_len 4 or 16, network byte order) is for @worker, or STEER_BY_HASH. */
void steer_set(struct steer *s, const uint8_t *addr, uint8_t addr_len, uint8_t bits,
	       uint32_t worker);
void steer_del(struct steer *s, const uint8_t *addr, uint8_t addr_len, uint8_t bits);

#endif
