/* SPDX-License-Identifier: MIT */
/*
 * Puts decrypted packets of one flow that follow each other into one super-packet, written to the TUN
 * interface by a single call straight from where they lie. Order is kept across all packets. Checksums
 * are verified before packets are joined, since the kernel does not look at a super-packet's.
 */
#ifndef KKWG_COALESCE_H
#define KKWG_COALESCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "kkwg/tun.h"

#define COALESCE_MAX 64 /* packets of one super-packet */

struct coalesce {
	struct tun *tun;
	uint64_t lost; /* packets that the interface refused */
	unsigned int
		datagrams; /* of UDP that were written, in super-packets; the owner sets it back */
	/* The super-packet in the making; count 0: none. */
	unsigned int count;
	bool ip6, tcp;
	bool checked; /* the first packet's checksum was verified */
	bool closed;  /* nothing may follow: a short segment or a push came */
	size_t l4, headers, size, total;
	uint32_t next_seq;
	uint16_t next_id;
	struct iovec iov[COALESCE_MAX]; /* first packet, payloads */
};

/*
 * @data of @len bytes is a parsed packet that stays where it is until coalesce_flush(); the
 * sizeof(tun_header) bytes in front of it may be overwritten.
 */
void coalesce_add(struct coalesce *c, uint8_t *data, size_t len);
/* Writes what was gathered. */
void coalesce_flush(struct coalesce *c);

#endif
