/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * A packet that does not fit into the tunnel and must not be fragmented, which no packet of IPv6 may be on the
 * way, becomes the ICMP error that tells its sender so: fragmentation needed (RFC 792, RFC 1191), packet
 * too big (RFC 4443 section 3.2).
 */
#ifndef KK_CORE_TOOBIG_H
#define KK_CORE_TOOBIG_H

#include <kk/core/icmp.h>

struct kk_icmp_too_big {
	__u8 type, code;
	__be16 check;
	__be32 mtu; /* of IPv4 the lower half alone */
};

struct kk_too_big4 {
	struct kk_ip4 ip;
	struct kk_icmp_too_big icmp;
};
_Static_assert(sizeof(struct kk_too_big4) == 28, "an IPv4 and an ICMP header");

struct kk_too_big6 {
	struct kk_ip6 ip;
	struct kk_icmp_too_big icmp;
};
_Static_assert(sizeof(struct kk_too_big6) == 48, "an IPv6 and an ICMPv6 header");

/* Whether @flow is to be answered with the error; of segments in one packet each counts. */
KK_INLINE int kk_is_too_big(const struct kk_packet *pkt, __u8 family,
			    const volatile struct kk_settings *set, const struct kk_flow *flow)
{
	__u32 segment;

	if (!KK_RARELY(flow->len > set->mtu) || !set->mtu)
		return 0;
	if (family == KK_IP4 && !(flow->ip4.fragment & KK_BE16(KK_IP4_DF)))
		return 0;
	segment = kk_env_gso(pkt);
	if (!segment)
		return 1;
	return flow->l4 + (flow->protocol == KK_TCP ? flow->tcp_header : 8) + segment > set->mtu;
}

/* Words of 32 bits: IPv6 with its extensions; the longest IPv4 header and TCP's have less. */
#define KK_SUM_WORDS ((40 + KK_IP6_EXTENSIONS_LEN) / 4)

/* The one's complement sum of @len bytes at @offset, a multiple of 2 up to 4 * KK_SUM_WORDS. */
KK_INLINE int kk_sum(const struct kk_packet *pkt, __u32 offset, __u32 len, __u32 *sum)
{
	__be16 half = 0;

	*sum = 0;
	for (__u32 i = 0; i < KK_SUM_WORDS && 4 * i + 4 <= len; i++) {
		__be32 word;

		if (kk_env_load(pkt, offset + 4 * i, &word, sizeof(word)))
			return -1;
		*sum = kk_csum_add(*sum, KK_RAW(word));
	}
	if (len % 4 && kk_env_load(pkt, offset + len - 2, &half, sizeof(half)))
		return -1;
	*sum = kk_csum_add(*sum, KK_RAW(half));
	return 0;
}

KK_INLINE __u32 kk_halves(__be32 x)
{
	return (KK_RAW(x) & 0xffff) + (KK_RAW(x) >> 16);
}

KK_INLINE __u32 kk_halves6(const struct kk_in6 *address)
{
	return kk_halves(address->word[0]) + kk_halves(address->word[1]) +
	       kk_halves(address->word[2]) + kk_halves(address->word[3]);
}

/* Of an IPv4 header without options, its checksum field left out. */
KK_INLINE __be16 kk_ip4_check(const struct kk_ip4 *ip)
{
	__u32 sum = KK_RAW(KK_BE16(ip->version_ihl << 8 | ip->tos)) + KK_RAW(ip->total) +
		    KK_RAW(ip->id) + KK_RAW(ip->fragment);

	sum += KK_RAW(KK_BE16(ip->ttl << 8 | ip->protocol)) + kk_halves(ip->source) +
	       kk_halves(ip->dest);
	return (KK_FORCE __be16)~kk_csum_fold(sum);
}

/*
 * The transport header is quoted up to its checksum, of UDP 8 bytes and of TCP 18, and 2 bytes in
 * which the sum is balanced: where the packet's checksum is yet to be completed (CHECKSUM_PARTIAL),
 * a device will still do so within the quote when the error leaves, with all of the quoted transport
 * header summed up. Whatever it finds there, it shall write what is there, for the ICMP checksum
 * covers it. With checksum field F, words w and balance x: ~(w + F + x) = F, so x = -(w + 2F), and the
 * quoted transport header sums up to -F. *@sum gets the sum of all that is quoted, *@len its length.
 */
KK_INLINE int kk_cut_quote(struct kk_packet *pkt, const struct kk_flow *flow, __u32 *sum,
			   __u32 *len)
{
	__u32 balance = flow->l4 + (flow->protocol == KK_TCP ? 18 : 8), header, transport;
	__be16 check, x;

	*len = balance + 2;
	if (kk_env_trim(pkt, *len) || kk_sum(pkt, 0, flow->l4, &header) ||
	    kk_sum(pkt, flow->l4, balance - flow->l4, &transport) ||
	    kk_env_load(pkt, balance - 2, &check, sizeof(check)))
		return -1;
	x = (KK_FORCE __be16)~kk_csum_fold(kk_csum_add(transport, KK_RAW(check)));
	*sum = kk_csum_add(header, (__u16)~KK_RAW(check));
	return kk_env_store(pkt, balance, &x, sizeof(x));
}

KK_INLINE int kk_answer_too_big4(struct kk_packet *pkt, const volatile struct kk_settings *set,
				 const struct kk_flow *flow)
{
	struct kk_too_big4 error = {
		.ip = {.version_ihl = 0x45,
		       .tos = 0xc0, /* internetwork control, RFC 1812 section 4.3.2.5 */
		       .fragment = KK_BE16(KK_IP4_DF),
		       .ttl = 64,
		       .protocol = KK_ICMP,
		       .source = flow->ip4.dest,
		       .dest = flow->ip4.source},
		.icmp = {.type = 3, .code = 4, .mtu = KK_BE32(set->mtu & 0xffff)},
	};
	__u32 sum, len;

	if (kk_cut_quote(pkt, flow, &sum, &len))
		return -1;
	error.ip.total = KK_BE16(sizeof(error) + len);
	error.ip.check = kk_ip4_check(&error.ip);
	sum = kk_csum_add(sum, KK_RAW(KK_BE16(0x0304)) + kk_halves(error.icmp.mtu));
	error.icmp.check = (KK_FORCE __be16)~kk_csum_fold(sum);
	if (kk_env_push(pkt, sizeof(error)))
		return -1;
	return kk_env_store(pkt, 0, &error, sizeof(error));
}

KK_INLINE int kk_answer_too_big6(struct kk_packet *pkt, const volatile struct kk_settings *set,
				 const struct kk_flow *flow)
{
	struct kk_too_big6 error = {
		.ip = {.version_class = 0x60,
		       .next = KK_ICMP6,
		       .hops = 64,
		       .source = flow->ip6.dest,
		       .dest = flow->ip6.source},
		.icmp = {.type = 2, .mtu = KK_BE32(set->mtu)},
	};
	__u32 sum, len;

	if (kk_cut_quote(pkt, flow, &sum, &len))
		return -1;
	error.ip.payload = KK_BE16(sizeof(error.icmp) + len);
	sum = kk_csum_add(sum, kk_halves6(&error.ip.source) + kk_halves6(&error.ip.dest));
	sum = kk_csum_add(sum, KK_RAW(error.ip.payload) + KK_RAW(KK_BE16(KK_ICMP6)) +
				       KK_RAW(KK_BE16(0x0200)) + kk_halves(error.icmp.mtu));
	error.icmp.check = (KK_FORCE __be16)~kk_csum_fold(sum);
	if (kk_env_push(pkt, sizeof(error)))
		return -1;
	return kk_env_store(pkt, 0, &error, sizeof(error));
}

KK_INLINE int kk_answer_too_big(struct kk_packet *pkt, __u8 family, const struct kk_flow *flow)
{
	const volatile struct kk_settings *set = kk_env_settings(pkt);

	return family == KK_IP6 ? kk_answer_too_big6(pkt, set, flow)
				: kk_answer_too_big4(pkt, set, flow);
}

#endif
