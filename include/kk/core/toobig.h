/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * A packet that must not be fragmented and does not fit into the tunnel becomes the ICMP error that
 * tells its sender so: fragmentation needed (RFC 792, RFC 1191).
 */
#ifndef KK_CORE_TOOBIG_H
#define KK_CORE_TOOBIG_H

#include <kk/core/csum.h>
#include <kk/core/quote.h>

struct kk_too_big {
	struct kk_ip4 ip;
	__u8 type, code;
	__be16 check;
	__be16 unused, mtu;
};
_Static_assert(sizeof(struct kk_too_big) == 28, "an IPv4 and an ICMP header");

/* Whether @flow is to be answered with the error; of segments in one packet each counts. */
KK_INLINE int kk_is_too_big(const struct kk_packet *pkt, const volatile struct kk_settings *set,
			    const struct kk_flow *flow)
{
	__u32 segment;

	if (!KK_RARELY(flow->len > set->mtu) || !set->mtu ||
	    !(flow->ip.fragment & KK_BE16(KK_IP4_DF)))
		return 0;
	segment = kk_env_gso(pkt);
	if (!segment)
		return 1;
	return flow->l4 + (flow->ip.protocol == KK_TCP ? flow->tcp_header : 8) + segment > set->mtu;
}

#define KK_SUM_WORDS 30 /* of 16 bits: the longest IPv4 header */

/* The one's complement sum of @len bytes at @offset, an even number up to 2 * KK_SUM_WORDS. */
KK_INLINE int kk_sum(const struct kk_packet *pkt, __u32 offset, __u32 len, __u32 *sum)
{
	*sum = 0;
	for (__u32 i = 0; i < KK_SUM_WORDS && 2 * i < len; i++) {
		__be16 word;

		if (kk_env_load(pkt, offset + 2 * i, &word, sizeof(word)))
			return -1;
		*sum += word;
	}
	return 0;
}

KK_INLINE __u32 kk_halves(__be32 x)
{
	return (x & 0xffff) + (x >> 16);
}

/* Of an IPv4 header without options, its checksum field left out. */
KK_INLINE __be16 kk_ip4_check(const struct kk_ip4 *ip)
{
	__u32 sum = KK_BE16(ip->version_ihl << 8 | ip->tos) + ip->total + ip->id + ip->fragment;

	sum += KK_BE16(ip->ttl << 8 | ip->protocol) + kk_halves(ip->source) + kk_halves(ip->dest);
	return (__be16)~kk_csum_fold(sum);
}

/*
 * The transport header is quoted up to its checksum, of UDP 8 bytes and of TCP 18, and 2 bytes in
 * which the sum is balanced: where the packet's checksum is yet to be completed (CHECKSUM_PARTIAL),
 * a device will still do so within the quote when the error leaves, with all of the quoted transport
 * header summed up. Whatever it finds there, it shall write what is there, for the ICMP checksum
 * covers it. With checksum field F, words w and balance x: ~(w + F + x) = F, so x = -(w + 2F), and the
 * quoted transport header sums up to -F.
 */
KK_INLINE int kk_answer_too_big(struct kk_packet *pkt, const volatile struct kk_settings *set,
				const struct kk_flow *flow)
{
	__u32 balance = flow->l4 + (flow->ip.protocol == KK_TCP ? 18 : 8);
	__u32 header, transport, quote = balance + 2;
	__be16 check, x;
	struct kk_too_big error = {
		.ip = {.version_ihl = 0x45,
		       .tos = 0xc0, /* internetwork control, RFC 1812 section 4.3.2.5 */
		       .total = KK_BE16(sizeof(error) + quote),
		       .fragment = KK_BE16(KK_IP4_DF),
		       .ttl = 64,
		       .protocol = KK_ICMP,
		       .source = flow->ip.dest,
		       .dest = flow->ip.source},
		.type = 3,
		.code = 4,
		.mtu = KK_BE16(set->mtu),
	};

	if (kk_env_trim(pkt, quote) || kk_sum(pkt, 0, flow->l4, &header) ||
	    kk_sum(pkt, flow->l4, balance - flow->l4, &transport) ||
	    kk_env_load(pkt, balance - 2, &check, sizeof(check)))
		return -1;
	x = (__be16)~kk_csum_fold(transport + check);
	if (kk_env_store(pkt, balance, &x, sizeof(x)))
		return -1;
	error.check = (__be16)~kk_csum_fold(KK_BE16(0x0304) + error.mtu + header + (__u16)~check);
	error.ip.check = kk_ip4_check(&error.ip);
	if (kk_env_push(pkt, sizeof(error)))
		return -1;
	return kk_env_store(pkt, 0, &error, sizeof(error));
}

#endif
