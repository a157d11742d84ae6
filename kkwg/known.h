/* SPDX-License-Identifier: MIT */
/*
 * Early discard by receiver index: what belongs to no session and to no handshake of ours is not even queued to our
 * sockets. Does what kkwg/filter.h does too, and takes its place.
 */
#ifndef KKWG_KNOWN_H
#define KKWG_KNOWN_H

#include <stdint.h>

struct known {
	int map, program; /* -1: the kernel refuses, nothing is discarded */
	/* Of WG_INDEX_CENSUS numbers, for the tables of indices to keep, and for the kernel to look at. NULL: refused. */
	uint16_t *census;
};

/* Needs CAP_BPF, as a rule. Returns 0 or -errno; then all members are as above and known_close() is not needed. */
int known_open(struct known *k);
/* From here on the socket gets only what is known. Returns 0 or -errno: then its filter is what it was. */
int known_attach(const struct known *k, int fd);
/* Nobody may keep the census any more. */
void known_close(struct known *k);

#endif
