/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The maximum segment size that a TCP peer announces, brought down to what the tunnel takes, so that
 * a connection does not depend on ICMP getting through.
 */
#ifndef KK_CORE_MSS_H
#define KK_CORE_MSS_H

#include <kk/core/parse.h>

#define KK_TCP_HEADER	   20
#define KK_TCP_OPTIONS_MAX 40 /* bytes, so as many options at most */

/* What a segment size leaves out of account: both headers without options (RFC 6691). */
KK_INLINE __u32 kk_mss_headers(__u8 family)
{
	return (family == KK_IP6 ? sizeof(struct kk_ip6) : sizeof(struct kk_ip4)) + KK_TCP_HEADER;
}

/* The segment size at offset @at of the packet. */
KK_INLINE int kk_lower_mss(struct kk_packet *pkt, const struct kk_flow *flow, __u32 at,
			   __u32 highest)
{
	__be16 mss, limit = KK_BE16(highest);

	if (kk_env_load(pkt, at, &mss, sizeof(mss)))
		return -1;
	if (KK_HOST16(mss) <= KK_HOST16(limit))
		return 0;
	if (kk_env_store(pkt, at, &limit, sizeof(limit)))
		return -1;
	/* At an odd offset its bytes are in the other halves of the checksum's words. */
	if ((at - flow->l4) & 1) {
		mss = (KK_FORCE __be16)__builtin_bswap16(KK_RAW(mss));
		limit = (KK_FORCE __be16)__builtin_bswap16(KK_RAW(limit));
	}
	return kk_env_csum(pkt, flow->l4 + 16, KK_RAW(mss), KK_RAW(limit), sizeof(mss), 0);
}

/*
 * Of a segment with SYN, to a tunnel of @mtu bytes. Options that cannot be are left to the receiver
 * (RFC 9293 section 3.2: a kind, which may stand alone, and a length).
 */
KK_INLINE int kk_clamp_mss(struct kk_packet *pkt, __u8 family, const struct kk_flow *flow,
			   __u32 mtu)
{
	__u32 at = flow->l4 + KK_TCP_HEADER, end = flow->l4 + flow->tcp_header;

	for (int i = 0; i < KK_TCP_OPTIONS_MAX && at + 4 <= end; i++) {
		__u8 option[2];

		if (kk_env_load(pkt, at, option, sizeof(option)))
			return -1;
		if (option[0] == 1) {
			at++;
			continue;
		}
		if (option[0] == 2 && option[1] == 4)
			return kk_lower_mss(pkt, flow, at + 2, mtu - kk_mss_headers(family));
		if (option[0] == 0 || option[1] < 2)
			return 0;
		at += option[1];
	}
	return 0;
}

#endif
