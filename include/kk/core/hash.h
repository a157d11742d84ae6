/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Which member of a group a flow goes to. Clients choose their addresses and ports, so the hash is
 * keyed: who does not know the key cannot aim at one member. It is the same on every gateway.
 */
#ifndef KK_CORE_HASH_H
#define KK_CORE_HASH_H

#include <kk/core/types.h>

/*
 * 32 bits of a flow. @client is the address as it is on the wire, IPv4 written ::ffff:a.b.c.d; ports are
 * in network byte order. Multilinear (Lemire and Kaser, "Strongly universal string hashing is fast",
 * 2014, section 3): a product a word, none waits for another. The last steps (as in MurmurHash3) are for
 * ports that follow each other, whose products do too.
 */
KK_INLINE __u32 kk_flow_hash(const volatile __u64 key[KK_FLOW_KEY_WORDS],
			     const struct kk_in6 *client, __be16 client_port, __be16 public_port,
			     __u8 protocol)
{
	__u64 rest = (__u64)protocol << 32 | (__u32)KK_HOST16(client_port) << 16 |
		     KK_HOST16(public_port);
	__u64 h = key[0] + key[5] * rest;

	h += key[1] * KK_HOST32(client->word[0]) + key[2] * KK_HOST32(client->word[1]);
	h += key[3] * KK_HOST32(client->word[2]) + key[4] * KK_HOST32(client->word[3]);
	h ^= h >> 32;
	h *= 0xff51afd7ed558ccdULL;
	return (__u32)(h >> 32);
}

/* The element of a group's table that flows of @hash are in: all are equally likely. */
KK_INLINE __u32 kk_maglev_index(__u32 hash)
{
	return (__u32)((__u64)hash * KK_MAGLEV_SIZE >> 32);
}

#endif
