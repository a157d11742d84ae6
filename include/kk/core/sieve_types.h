/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The table of the sieve (sieve.h): an array of words in three parts, with bits that are set for what is clear:
 * - for each IPv4 /16 two bits: KK_SIEVE_CLEAR nobody in it is meant, KK_SIEVE_FINER the second part says who;
 * - a bit for each hash of an IPv4 /24;
 * - a bit for each hash of the first 32 bits of an IPv6 address.
 */
#ifndef KK_CORE_SIEVE_TYPES_H
#define KK_CORE_SIEVE_TYPES_H

#include <kk/core/types.h>

enum {
	KK_SIEVE_LOOK = 0,
	KK_SIEVE_FINER = 1,
	KK_SIEVE_CLEAR = 3,
};

#define KK_SIEVE_16	  0 /* the parts, in words */
#define KK_SIEVE_24	  (KK_SIEVE_16 + 65536 / 32)
#define KK_SIEVE_24_BITS  20
#define KK_SIEVE_IP6	  (KK_SIEVE_24 + (1 << KK_SIEVE_24_BITS) / 64)
#define KK_SIEVE_IP6_BITS 16
#define KK_SIEVE_WORDS	  (KK_SIEVE_IP6 + (1 << KK_SIEVE_IP6_BITS) / 64)

/* Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, section 6.4). */
KK_INLINE __u32 kk_sieve_hash(__u32 key, __u32 bits)
{
	return (key * 0x9e3779b1U) >> (32 - bits);
}

/* Where the bit for an IPv4 address stands in the second part, of one in host byte order. */
KK_INLINE __u32 kk_sieve_bit24(__u32 address)
{
	return kk_sieve_hash(address >> 8, KK_SIEVE_24_BITS);
}

/* Where the bit for an IPv6 address stands in the third part, of its first 32 bits in host byte order. */
KK_INLINE __u32 kk_sieve_bit6(__u32 first)
{
	return kk_sieve_hash(first, KK_SIEVE_IP6_BITS);
}

#endif
