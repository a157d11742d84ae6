/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The sieve: sources that are certainly neither martians, nor on the gateway's list, nor banned, told by one word as a rule and by two at
 * most, so that a gateway with bans and long lists looks into those tables for few of its packets. Who is not told apart is
 * looked up; an empty sieve tells nobody.
 */
#ifndef KK_CORE_SIEVE_H
#define KK_CORE_SIEVE_H

#include <kk/core/sieve_types.h>

struct kk_packet;

/* Supplied by the host: a word of the table, below KK_SIEVE_WORDS; always 0 where there is none. */
KK_INLINE __u64 kk_env_sieve(const struct kk_packet *pkt, __u32 index);

KK_INLINE int kk_sieve_has(const struct kk_packet *pkt, __u32 part, __u32 bit)
{
	return kk_env_sieve(pkt, part + bit / 64) >> (bit & 63) & 1;
}

/* An IPv4 address as an IPv6 one. */
KK_INLINE int kk_is_mapped(const struct kk_in6 *address)
{
	return !address->word[0] && !address->word[1] && address->word[2] == KK_BE32(0xffff);
}

/* Whether neither the gateway's list nor a ban can be about @source, nor is it a martian. */
KK_INLINE int kk_is_clear4(const struct kk_packet *pkt, __be32 source)
{
	__u32 a = KK_HOST32(source);
	/* 32 of the /16 in a word, from its low bits on. */
	__u32 state = (__u32)(kk_env_sieve(pkt, KK_SIEVE_16 + (a >> 21)) >> (a >> 15 & 62)) & 3;

	if (!KK_RARELY(state != KK_SIEVE_CLEAR))
		return 1;
	return state == KK_SIEVE_FINER && kk_sieve_has(pkt, KK_SIEVE_24, kk_sieve_bit24(a));
}

/* The same of one that may be of either family. */
KK_INLINE int kk_is_clear(const struct kk_packet *pkt, const struct kk_in6 *source)
{
	if (kk_is_mapped(source))
		return kk_is_clear4(pkt, source->word[3]);
	return kk_sieve_has(pkt, KK_SIEVE_IP6, kk_sieve_bit6(KK_HOST32(source->word[0])));
}

#endif
