/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * ICMP errors quote the packet that they are about: its IP header and at least 8 bytes more (RFC 792,
 * RFC 1812 section 4.3.2.3). What may follow, to the end of the error, is of no interest here.
 */
#ifndef KK_CORE_QUOTE_H
#define KK_CORE_QUOTE_H

#include <kk/core/match.h>
#include <kk/core/parse.h>

struct kk_quote {
	struct kk_ip4 ip;
	__u32 at; /* offset of the quoted IP header */
	__u32 l4; /* offset of the quoted transport header */
	struct {
		__be16 source, dest;
	} port;
};

#define KK_ICMP_HEADER 8
#define KK_ICMP_CHECK  2 /* offset in it */

/*
 * Destination unreachable (path MTU among them), time exceeded, parameter problem. Source quench
 * and redirects are not to be heeded any more (RFC 6633), or not from afar.
 */
KK_INLINE int kk_is_error(__u8 type)
{
	return type == 3 || type == 11 || type == 12;
}

/* 0 if @pkt is an ICMP error about the beginning of a TCP or UDP packet. */
KK_INLINE int kk_parse_quote(const struct kk_packet *pkt, const struct kk_flow *flow,
			     struct kk_quote *quote)
{
	__u8 header[KK_ICMP_HEADER];
	struct kk_ip4 *ip = &quote->ip;

	if (flow->ip.protocol != KK_ICMP || kk_load_l4(pkt, flow, 0, header, sizeof(header)) ||
	    !kk_is_error(header[0]))
		return -1;
	quote->at = flow->l4 + KK_ICMP_HEADER;
	if (kk_load_l4(pkt, flow, KK_ICMP_HEADER, ip, sizeof(*ip)) || ip->version_ihl >> 4 != 4)
		return -1;
	if ((ip->version_ihl & 0xf) * 4 < (int)sizeof(*ip) || !kk_has_ports(ip) ||
	    (ip->fragment & KK_BE16(KK_IP4_OFFSET)))
		return -1;
	quote->l4 = quote->at + (ip->version_ihl & 0xf) * 4;
	if (quote->l4 + 8 > flow->len)
		return -1;
	return kk_env_load(pkt, quote->l4, &quote->port, sizeof(quote->port));
}

#endif
