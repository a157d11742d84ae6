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
/* Its bucket, below 1 << KK_SHUT_BITS; NULL where there is none. */
KK_INLINE const volatile struct kk_shut *kk_env_shut(const struct kk_packet *pkt, __u32 index);
/* As in env.h. */
KK_INLINE __u64 kk_env_lately(const struct kk_packet *pkt);

KK_INLINE int kk_sieve_has(const struct kk_packet *pkt, __u32 part, __u32 bit)
{
	return kk_env_sieve(pkt, part + bit / 64) >> (bit & 63) & 1;
}

/* An IPv4 address as an IPv6 one. */
KK_INLINE int kk_is_mapped(const struct kk_in6 *address)
{
	return !address->word[0] && !address->word[1] && address->word[2] == KK_BE32(0xffff);
}

/* KK_SIEVE_* of the /16 of @address, which is in host byte order: 32 of them are in a word, from its low bits on. */
KK_INLINE __u32 kk_sieve_state(const struct kk_packet *pkt, __u32 address)
{
	return (__u32)(kk_env_sieve(pkt, KK_SIEVE_16 + (address >> 21)) >> (address >> 15 & 62)) &
	       3;
}

KK_INLINE int kk_is_clear_in(const struct kk_packet *pkt, __u32 state, __u32 address)
{
	if (!KK_RARELY(state != KK_SIEVE_CLEAR))
		return 1;
	return state == KK_SIEVE_FINER && kk_sieve_has(pkt, KK_SIEVE_24, kk_sieve_bit24(address));
}

/* Whether neither the gateway's list nor a ban can be about @source, nor is it a martian. */
KK_INLINE int kk_is_clear4(const struct kk_packet *pkt, __be32 source)
{
	__u32 address = KK_HOST32(source);

	return kk_is_clear_in(pkt, kk_sieve_state(pkt, address), address);
}

/* The word with @key in its bucket; 0: there is none. */
KK_INLINE __u64 kk_shut_find(const volatile struct kk_shut *bucket, __u64 key)
{
	KK_UNROLL
	for (int i = 0; i < 4; i++) {
		__u64 word = bucket->word[i];

		if (word >> KK_SHUT_SHIFT == key)
			return word;
	}
	return 0;
}

/* What the sieve knows of a source. */
enum kk_sieved {
	KK_SIEVED_CLEAR,  /* neither the list nor a ban is about it */
	KK_SIEVED_SERVED, /* but maybe bans of single services */
	KK_SIEVED_DENIED, /* by the list */
	KK_SIEVED_BANNED,
	KK_SIEVED_LOOK, /* it has to be looked up */
};

/* Of an IPv4 address in host byte order, in a /16 with KK_SIEVE_FINER. */
KK_INLINE enum kk_sieved kk_sieve_shut(const struct kk_packet *pkt, __u32 address)
{
	const volatile struct kk_shut *prefix = kk_env_shut(pkt, kk_shut_index(address & ~0xffU));
	const volatile struct kk_shut *source = kk_env_shut(pkt, kk_shut_index(address));
	__u64 ban;

	if (!prefix || !source)
		return KK_SIEVED_LOOK;
	if (kk_shut_find(prefix, kk_shut_key(address & ~0xffU, KK_SHUT_PREFIX)) ||
	    kk_shut_find(source, kk_shut_key(address, KK_SHUT_SOURCE)))
		return KK_SIEVED_DENIED;
	ban = kk_shut_find(source, kk_shut_key(address, KK_SHUT_BAN));
	if (!ban)
		return KK_SIEVED_SERVED;
	return kk_env_lately(pkt) >> KK_SHUT_SHIFT < (ban & KK_SHUT_UNTIL) ? KK_SIEVED_BANNED
									   : KK_SIEVED_LOOK;
}

KK_INLINE enum kk_sieved kk_sieve4(const struct kk_packet *pkt, __be32 source)
{
	__u32 address = KK_HOST32(source), state = kk_sieve_state(pkt, address);

	if (kk_is_clear_in(pkt, state, address))
		return KK_SIEVED_CLEAR;
	if (state == KK_SIEVE_DENIED)
		return KK_SIEVED_DENIED;
	return state == KK_SIEVE_FINER ? kk_sieve_shut(pkt, address) : KK_SIEVED_LOOK;
}

/* Of either family. */
KK_INLINE enum kk_sieved kk_sieve_source(const struct kk_packet *pkt, const struct kk_in6 *source)
{
	if (kk_is_mapped(source))
		return kk_sieve4(pkt, source->word[3]);
	return kk_sieve_has(pkt, KK_SIEVE_IP6, kk_sieve_bit6(KK_HOST32(source->word[0])))
		       ? KK_SIEVED_CLEAR
		       : KK_SIEVED_LOOK;
}

#endif
