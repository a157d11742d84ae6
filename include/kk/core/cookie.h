/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Cookies: 32 bits that nobody can know but who sees what we send to him. SipHash-2-4 (Aumasson, Bernstein: SipHash: a fast
 * short-input PRF, 2012) of whole 64-bit words.
 */
#ifndef KK_CORE_COOKIE_H
#define KK_CORE_COOKIE_H

#include <kk/core/types.h>

struct kk_sip {
	__u64 v0, v1, v2, v3;
};

KK_INLINE __u64 kk_rotate(__u64 x, int bits)
{
	return x << bits | x >> (64 - bits);
}

KK_INLINE void kk_sip_round(struct kk_sip *s)
{
	s->v0 += s->v1;
	s->v1 = kk_rotate(s->v1, 13) ^ s->v0;
	s->v0 = kk_rotate(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = kk_rotate(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = kk_rotate(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = kk_rotate(s->v1, 17) ^ s->v2;
	s->v2 = kk_rotate(s->v2, 32);
}

KK_INLINE void kk_sip_init(struct kk_sip *s, const volatile __u64 key[2])
{
	s->v0 = key[0] ^ 0x736f6d6570736575ULL;
	s->v1 = key[1] ^ 0x646f72616e646f6dULL;
	s->v2 = key[0] ^ 0x6c7967656e657261ULL;
	s->v3 = key[1] ^ 0x7465646279746573ULL;
}

KK_INLINE void kk_sip_word(struct kk_sip *s, __u64 word)
{
	s->v3 ^= word;
	kk_sip_round(s);
	kk_sip_round(s);
	s->v0 ^= word;
}

/* @words: how many there were. */
KK_INLINE __u64 kk_sip_end(struct kk_sip *s, __u32 words)
{
	kk_sip_word(s, (__u64)(8 * words) << 56);
	s->v2 ^= 0xff;
	kk_sip_round(s);
	kk_sip_round(s);
	kk_sip_round(s);
	kk_sip_round(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

#endif
