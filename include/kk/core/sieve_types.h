/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The tables of the sieve (sieve.h). One is an array of words in three parts, with bits that are set for what is clear:
 * - for each IPv4 /16 two bits, KK_SIEVE_*;
 * - a bit for each hash of an IPv4 /24;
 * - a bit for each hash of the first 32 bits of an IPv6 address.
 *
 * The other one says who is shut out, of IPv4 and the /16 with KK_SIEVE_FINER, all of whom it holds: an array of buckets of four
 * words, a source's own and its /24's. Prefixes are in it as the /24 or the addresses that they are made of.
 *
 *	bits 0 to 29	of a ban: until when, in units of 2^30 ns; before that it is certain
 *	30 to 31	KK_SHUT_*; 0: the word is not used
 *	32 to 63	the address, of a /24 the first one, in host byte order
 */
#ifndef KK_CORE_SIEVE_TYPES_H
#define KK_CORE_SIEVE_TYPES_H

#include <kk/core/types.h>

enum {
	KK_SIEVE_LOOK = 0,   /* they are to be looked up */
	KK_SIEVE_FINER = 1,  /* some are meant: the next part and the buckets say who */
	KK_SIEVE_DENIED = 2, /* all are on the gateway's list */
	KK_SIEVE_CLEAR = 3,  /* nobody is meant */
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

enum {
	KK_SHUT_PREFIX = 1, /* a /24 on the gateway's list */
	KK_SHUT_SOURCE = 2, /* an address on it */
	KK_SHUT_BAN = 3,    /* one that is banned from the whole gateway */
};

struct kk_shut {
	__u64 word[4];
};

#define KK_SHUT_BITS  15
#define KK_SHUT_SHIFT 30
#define KK_SHUT_UNTIL ((1ULL << KK_SHUT_SHIFT) - 1)

KK_INLINE __u32 kk_shut_index(__u32 address)
{
	return kk_sieve_hash(address, KK_SHUT_BITS);
}

/* All of a word but until when. */
KK_INLINE __u64 kk_shut_key(__u32 address, __u32 kind)
{
	return (__u64)address << 2 | kind;
}

#endif
