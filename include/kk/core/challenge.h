/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * A service that is flooded with SYNs: sources prove that they are there before theirs go on. A SYN of an unverified
 * source is answered by an ACK that acknowledges what was never sent, a cookie. Who did send the SYN, or at least is
 * at that address, answers with a reset that carries the cookie as its sequence number (RFC 9293 sections 3.10.7.1 and
 * 3.10.7.3) and goes on trying to connect; from then on its SYNs pass. No state but that of the verified, no sequence
 * numbers to translate: the connection is the Agent's from its first byte on.
 */
#ifndef KK_CORE_CHALLENGE_H
#define KK_CORE_CHALLENGE_H

#include <kk/core/cookie.h>
#include <kk/core/csum.h>
#include <kk/core/edge_env.h>
#include <kk/core/parse.h>
#include <kk/core/toobig.h>

/* RFC 9293 section 3.1, without options. */
struct kk_tcp {
	__be16 source, dest;
	__be32 seq, ack;
	__u8 offset, flags;
	__be16 window, check, urgent;
};
_Static_assert(sizeof(struct kk_tcp) == 20, "a TCP header without options has 20 bytes");

#define KK_TCP_SEQ   4	/* offset in the header */
#define KK_TCP_PLAIN 20 /* bytes of the header without options */

/* Cookies hold for the time that they are made in and for the next: 34 s to 69 s. */
#define KK_COOKIE_SHIFT 35

/* Counts a SYN. Returns whether there are, or just were, more than @rate in a second. */
KK_INLINE int kk_flood_count(struct kk_flood *flood, __u64 now, __u32 rate)
{
	volatile struct kk_flood *f = flood;
	__u32 window = (__u32)(now >> KK_FLOOD_SHIFT);

	if (f->window != window) {
		f->before = f->window + 1 == window ? f->count : 0;
		f->window = window;
		f->count = 0;
	}
	__sync_fetch_and_add(&flood->count, 1);
	return f->count > rate || f->before > rate;
}

/* The same without counting. */
KK_INLINE int kk_flood_is_on(const struct kk_flood *flood, __u64 now, __u32 rate)
{
	const volatile struct kk_flood *f = flood;
	__u32 age = (__u32)(now >> KK_FLOOD_SHIFT) - f->window;

	return (age <= 1 && f->count > rate) || (age == 0 && f->before > rate);
}

/* Two words of 32 bits as one of 64. */
KK_INLINE __u64 kk_pair(__be32 a, __be32 b)
{
	return (__u64)KK_RAW(a) << 32 | KK_RAW(b);
}

/* @time: the clock without its low KK_COOKIE_SHIFT bits. */
KK_INLINE __be32 kk_cookie(const volatile struct kk_edge_settings *set, __u8 family,
			   const struct kk_flow *flow, __u32 time)
{
	const struct kk_in6 *source = &flow->ip6.source, *dest = &flow->ip6.dest;
	struct kk_sip sip;

	kk_sip_init(&sip, set->cookie_key);
	if (family == KK_IP6) {
		kk_sip_word(&sip, kk_pair(source->word[0], source->word[1]));
		kk_sip_word(&sip, kk_pair(source->word[2], source->word[3]));
		kk_sip_word(&sip, kk_pair(dest->word[0], dest->word[1]));
		kk_sip_word(&sip, kk_pair(dest->word[2], dest->word[3]));
	} else {
		kk_sip_word(&sip, kk_pair(flow->ip4.source, flow->ip4.dest));
	}
	kk_sip_word(&sip, (__u64)KK_RAW(flow->port.source) << 48 |
				  (__u64)KK_RAW(flow->port.dest) << 32 | time);
	return (KK_FORCE __be32)kk_sip_end(&sip, family == KK_IP6 ? 5 : 2);
}

/* @flow is a reset: does it carry a cookie of its source's? */
KK_INLINE int kk_is_proof(const struct kk_packet *pkt, __u8 family, const struct kk_flow *flow,
			  __u64 now)
{
	const volatile struct kk_edge_settings *set = kk_env_edge(pkt);
	__u32 time = (__u32)(now >> KK_COOKIE_SHIFT);
	__be32 seq;

	if (kk_load_l4(pkt, flow, KK_TCP_SEQ, &seq, sizeof(seq)))
		return 0;
	return seq == kk_cookie(set, family, flow, time) ||
	       seq == kk_cookie(set, family, flow, time - 1);
}

struct kk_challenge4 {
	struct kk_ip4 ip;
	struct kk_tcp tcp;
};
_Static_assert(sizeof(struct kk_challenge4) == 40, "an IPv4 and a TCP header");

struct kk_challenge6 {
	struct kk_ip6 ip;
	struct kk_tcp tcp;
};
_Static_assert(sizeof(struct kk_challenge6) == 60, "an IPv6 and a TCP header");

KK_INLINE struct kk_tcp kk_challenge_tcp(const struct kk_flow *flow, __be32 cookie)
{
	return (struct kk_tcp){
		.source = flow->port.dest,
		.dest = flow->port.source,
		.ack = cookie,
		.offset = KK_TCP_PLAIN / 4 << 4,
		.flags = KK_TCP_ACK,
	};
}

/*
 * A device may be yet to complete the checksum of the packet that this was made of (CHECKSUM_PARTIAL), and would do so
 * with this one: it replaces the pseudo header's sum P by ~(P + the rest). So the window, which means nothing in this
 * segment, is chosen to make the rest -2P: then P is the checksum, completed or not.
 */
KK_INLINE void kk_challenge_check(struct kk_tcp *tcp, __u32 pseudo)
{
	__u32 sum = KK_RAW(tcp->source) + KK_RAW(tcp->dest) + kk_halves(tcp->ack) +
		    KK_RAW(KK_BE16(tcp->offset << 8 | tcp->flags));

	tcp->check = (KK_FORCE __be16)kk_csum_fold(pseudo);
	tcp->window = (KK_FORCE __be16)~kk_csum_fold(2 * KK_RAW(tcp->check) + sum);
}

KK_INLINE int kk_answer_challenge4(struct kk_packet *pkt, const struct kk_flow *flow, __be32 cookie)
{
	struct kk_challenge4 answer = {
		.ip = {.version_ihl = 0x45,
		       .total = KK_BE16(sizeof(answer)),
		       .fragment = KK_BE16(KK_IP4_DF),
		       .ttl = 64,
		       .protocol = KK_TCP,
		       .source = flow->ip4.dest,
		       .dest = flow->ip4.source},
		.tcp = kk_challenge_tcp(flow, cookie),
	};

	kk_challenge_check(&answer.tcp, kk_halves(flow->ip4.source) + kk_halves(flow->ip4.dest) +
						KK_RAW(KK_BE16(KK_TCP)) +
						KK_RAW(KK_BE16(KK_TCP_PLAIN)));
	answer.ip.check = kk_ip4_check(&answer.ip);
	return kk_env_shorten(pkt, sizeof(answer)) || kk_env_store(pkt, 0, &answer, sizeof(answer));
}

KK_INLINE int kk_answer_challenge6(struct kk_packet *pkt, const struct kk_flow *flow, __be32 cookie)
{
	struct kk_challenge6 answer = {
		.ip = {.version_class = 0x60,
		       .payload = KK_BE16(KK_TCP_PLAIN),
		       .next = KK_TCP,
		       .hops = 64,
		       .source = flow->ip6.dest,
		       .dest = flow->ip6.source},
		.tcp = kk_challenge_tcp(flow, cookie),
	};

	kk_challenge_check(&answer.tcp,
			   kk_halves6(&flow->ip6.source) + kk_halves6(&flow->ip6.dest) +
				   KK_RAW(KK_BE16(KK_TCP)) + KK_RAW(KK_BE16(KK_TCP_PLAIN)));
	return kk_env_shorten(pkt, sizeof(answer)) || kk_env_store(pkt, 0, &answer, sizeof(answer));
}

/* Makes of the SYN @flow the challenge to its sender, no longer than it. */
KK_INLINE int kk_answer_challenge(struct kk_packet *pkt, __u8 family, const struct kk_flow *flow,
				  __u64 now)
{
	__be32 cookie = kk_cookie(kk_env_edge(pkt), family, flow, (__u32)(now >> KK_COOKIE_SHIFT));
	int r = family == KK_IP6 ? kk_answer_challenge6(pkt, flow, cookie)
				 : kk_answer_challenge4(pkt, flow, cookie);

	return r ? -1 : kk_env_back(pkt);
}

#endif
