/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * A packet's headers, as far as forwarding needs them, with every length checked against the
 * others: what both families have in common. ip4.h and ip6.h fill it in.
 */
#ifndef KK_CORE_PARSE_H
#define KK_CORE_PARSE_H

#include <kk/core/env.h>

#define KK_TCP_FIN 0x01
#define KK_TCP_SYN 0x02
#define KK_TCP_RST 0x04
#define KK_TCP_ACK 0x10

enum kk_parsed {
	KK_PARSED,
	KK_PARSED_OTHER, /* not of this family */
	KK_PARSED_BAD,	 /* of what was parsed only the addresses are to be relied on */
};

KK_INLINE int kk_is_fragment(const struct kk_flow *flow)
{
	return KK_RARELY(flow->fragment);
}

/* One that does not carry the transport header. */
KK_INLINE int kk_is_later_fragment(const struct kk_flow *flow)
{
	return KK_RARELY(flow->fragment & KK_BE16(KK_IP4_OFFSET));
}

KK_INLINE int kk_has_ports(__u8 protocol)
{
	return protocol == KK_TCP || protocol == KK_UDP;
}

/* Loads @len bytes at @offset of the transport header, which must lie within the IP packet. */
KK_INLINE int kk_load_l4(const struct kk_packet *pkt, const struct kk_flow *flow, __u32 offset,
			 void *to, __u32 len)
{
	if (flow->l4 + offset + len > flow->len)
		return -1;
	return kk_env_load(pkt, flow->l4 + offset, to, len);
}

/* TCP and UDP begin with their ports. */
KK_INLINE int kk_parse_ports(const struct kk_packet *pkt, struct kk_flow *flow)
{
	return kk_load_l4(pkt, flow, 0, &flow->port, sizeof(flow->port));
}

/* RFC 9293 section 3.1: data offset and flags. */
KK_INLINE int kk_parse_tcp(const struct kk_packet *pkt, struct kk_flow *flow)
{
	__u8 field[2];
	__u32 header;

	if (kk_load_l4(pkt, flow, 12, field, sizeof(field)))
		return -1;
	header = (field[0] >> 4) * 4;
	if (header < 20 || flow->l4 + header > flow->len)
		return -1;
	flow->tcp_header = (__u8)header;
	flow->tcp_flags = field[1];
	return 0;
}

/*
 * RFC 768: a length, which counts the header. That of a GSO packet beyond 64 KiB does not fit and
 * is 0. That of a fragmented datagram counts what the later fragments carry. Over IPv6 a datagram
 * has a checksum (RFC 8200 section 8.1).
 */
KK_INLINE int kk_parse_udp(const struct kk_packet *pkt, __u8 family, const struct kk_flow *flow)
{
	struct {
		__be16 len, check;
	} field;
	__u32 len;

	if (flow->l4 + 8 > flow->len || kk_load_l4(pkt, flow, 4, &field, sizeof(field)))
		return -1;
	if (family == KK_IP6 && field.check == 0)
		return -1;
	len = KK_HOST16(field.len);
	if (len == 0 && kk_env_gso(pkt))
		return 0;
	if (len < 8)
		return -1;
	return flow->l4 + len > flow->len && !kk_is_fragment(flow) ? -1 : 0;
}

/* The rest of the transport header, once the ports are known to be ours. */
KK_INLINE int kk_parse_l4(const struct kk_packet *pkt, __u8 family, struct kk_flow *flow)
{
	return flow->protocol == KK_TCP ? kk_parse_tcp(pkt, flow) : kk_parse_udp(pkt, family, flow);
}

#endif
