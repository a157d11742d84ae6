/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * ICMP (RFC 792) and ICMPv6 (RFC 4443): which messages are errors, and the packet that an error quotes: its
 * IP header and at least 8 bytes more (RFC 1812 section 4.3.2.3). What may follow, to the end of the error,
 * is of no interest here.
 */
#ifndef KK_CORE_ICMP_H
#define KK_CORE_ICMP_H

#include <kk/core/match.h>

#define KK_ICMP_HEADER 8
#define KK_ICMP_CHECK  2 /* offset in it */

KK_INLINE __u8 kk_icmp_protocol(__u8 family)
{
	return family == KK_IP6 ? KK_ICMP6 : KK_ICMP;
}

KK_INLINE __u8 kk_echo_reply(__u8 family)
{
	return family == KK_IP6 ? 129 : 0;
}

/*
 * Destination unreachable, packet too big (in IPv4 a kind of the former), time exceeded, parameter
 * problem. Source quench and redirects are not to be heeded any more (RFC 6633), or not from afar.
 */
KK_INLINE int kk_is_error(__u8 family, __u8 type)
{
	if (family == KK_IP6)
		return type >= 1 && type <= 4;
	return type == 3 || type == 11 || type == 12;
}

KK_INLINE int kk_parse_quoted4(const struct kk_packet *pkt, const struct kk_flow *flow,
			       struct kk_quote *quote)
{
	struct kk_ip4 *ip = &quote->ip4;

	if (kk_load_l4(pkt, flow, KK_ICMP_HEADER, ip, sizeof(*ip)) || ip->version_ihl >> 4 != 4)
		return -1;
	if ((ip->version_ihl & 0xf) * 4 < (int)sizeof(*ip) ||
	    (ip->fragment & KK_BE16(KK_IP4_OFFSET)))
		return -1;
	quote->l4 = quote->at + (ip->version_ihl & 0xf) * 4;
	quote->protocol = ip->protocol;
	return 0;
}

KK_INLINE int kk_parse_quoted6(const struct kk_packet *pkt, const struct kk_flow *flow,
			       struct kk_quote *quote)
{
	struct kk_ip6 *ip = &quote->ip6;
	struct kk_transport transport;

	if (kk_load_l4(pkt, flow, KK_ICMP_HEADER, ip, sizeof(*ip)) || ip->version_class >> 4 != 6)
		return -1;
	if (kk_skip_extensions(pkt, quote->at + sizeof(*ip), flow->len, ip->next, &transport) ||
	    (transport.fragment & KK_BE16(KK_IP4_OFFSET)))
		return -1;
	quote->l4 = transport.at;
	quote->protocol = transport.protocol;
	return 0;
}

/* 0 if @pkt is an ICMP error about the beginning of a TCP or UDP packet. */
KK_INLINE int kk_parse_quote(const struct kk_packet *pkt, __u8 family, const struct kk_flow *flow,
			     struct kk_quote *quote)
{
	__u8 header[KK_ICMP_HEADER];
	int r;

	if (flow->protocol != kk_icmp_protocol(family) ||
	    kk_load_l4(pkt, flow, 0, header, sizeof(header)) || !kk_is_error(family, header[0]))
		return -1;
	quote->at = flow->l4 + KK_ICMP_HEADER;
	r = family == KK_IP6 ? kk_parse_quoted6(pkt, flow, quote)
			     : kk_parse_quoted4(pkt, flow, quote);
	if (r || !kk_has_ports(quote->protocol) || quote->l4 + 8 > flow->len)
		return -1;
	return kk_env_load(pkt, quote->l4, &quote->port, sizeof(quote->port));
}

/* The addresses alone of what an error quotes, whatever its transport is. */
KK_INLINE int kk_load_quoted(const struct kk_packet *pkt, __u8 family, const struct kk_flow *flow,
			     struct kk_quote *quote)
{
	if (family == KK_IP6)
		return kk_load_l4(pkt, flow, KK_ICMP_HEADER, &quote->ip6, sizeof(quote->ip6));
	return kk_load_l4(pkt, flow, KK_ICMP_HEADER, &quote->ip4, sizeof(quote->ip4));
}

/*
 * From an Agent to the gateway: echo reply; errors about what the gateway sent to this Agent, which is what they
 * quote. The gateway's stack would take an error about anything, and so the path MTU to anybody from
 * it. Parameter problem is of no use to it.
 */
KK_INLINE int kk_icmp_answers(const struct kk_packet *pkt, __u8 family, const struct kk_flow *flow)
{
	struct kk_quote quote;
	__u8 header[KK_ICMP_HEADER];

	if (kk_load_l4(pkt, flow, 0, header, sizeof(header)))
		return 0;
	if (header[0] == kk_echo_reply(family))
		return 1;
	if (!kk_is_error(family, header[0]) || header[0] == (family == KK_IP6 ? 4 : 12))
		return 0;
	if (kk_load_quoted(pkt, family, flow, &quote))
		return 0;
	return kk_same_address(family, kk_source(family, &quote), kk_dest(family, flow)) &&
	       kk_same_address(family, kk_dest(family, &quote), kk_source(family, flow));
}

#endif
