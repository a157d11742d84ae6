/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The IPv6 header and its extensions: parsed, and one address in it replaced. */
#ifndef KK_CORE_IP6_H
#define KK_CORE_IP6_H

#include <kk/core/csum.h>
#include <kk/core/parse.h>

/* Where the search ended. */
struct kk_transport {
	__u32 at;
	__be32 id;	 /* of a fragmented packet */
	__be16 fragment; /* as in struct kk_flow */
	__u8 protocol;
	__u8 fragmented; /* there was a fragment header */
};

/*
 * One fragment header (RFC 8200 section 4.5); a packet that is its own only fragment is whole (RFC 6946).
 * Its field has the offset in the upper 13 bits and "more" in the lowest.
 */
KK_INLINE void kk_take_fragment(const __u8 header[8], struct kk_transport *ret)
{
	__u32 field = (__u32)header[2] << 8 | header[3];

	ret->fragment = KK_BE16(field >> 3 | (field & 1 ? KK_IP4_MORE : 0));
	ret->fragmented = 1;
	__builtin_memcpy(&ret->id, header + 4, sizeof(ret->id));
}

/*
 * Whether the extension @next with @header leads on here: hop-by-hop options stand first or nowhere, a packet
 * with a route still to go is on its way to another address, and nobody fragments twice.
 */
KK_INLINE int kk_leads_on(__u8 next, const __u8 header[8], int first,
			  const struct kk_transport *so_far)
{
	switch (next) {
	case KK_IP6_HOP_BY_HOP:
		return first;
	case KK_IP6_ROUTING:
		return header[3] == 0; /* segments left */
	case KK_IP6_FRAGMENT:
		return !so_far->fragmented;
	default:
		return next == KK_IP6_DESTINATION;
	}
}

KK_INLINE int kk_is_extension(__u8 next)
{
	return next == KK_IP6_HOP_BY_HOP || next == KK_IP6_ROUTING || next == KK_IP6_FRAGMENT ||
	       next == KK_IP6_DESTINATION;
}

/*
 * Goes over the extension headers of a packet from offset @at to @end, the first of which is @next. Negative if
 * they are cut off.
 */
KK_INLINE int kk_skip_extensions(const struct kk_packet *pkt, __u32 at, __u32 end, __u8 next,
				 struct kk_transport *ret)
{
	const __u32 limit = at + KK_IP6_EXTENSIONS_LEN;

	*ret = (struct kk_transport){0};
	for (int i = 0; i < KK_IP6_EXTENSIONS_MAX && kk_is_extension(next); i++) {
		__u8 header[8];
		__u32 len = 8;

		if (at + 8 > end || kk_env_load(pkt, at, header, sizeof(header)))
			return -1;
		if (!kk_leads_on(next, header, i == 0, ret))
			break;
		if (next == KK_IP6_FRAGMENT)
			kk_take_fragment(header, ret);
		else
			len += header[1] * 8;
		if (at + len > end)
			return -1;
		if (at + len > limit)
			break;
		next = header[0];
		at += len;
		if (ret->fragment & KK_BE16(KK_IP4_OFFSET))
			break; /* what follows is of the middle of the packet */
	}
	ret->at = at;
	ret->protocol = next;
	return 0;
}

KK_INLINE enum kk_parsed kk_parse_ip6(const struct kk_packet *pkt, struct kk_flow *flow)
{
	__u32 len = kk_env_len(pkt), total;
	struct kk_transport transport;

	if (kk_env_load(pkt, 0, &flow->ip6, sizeof(flow->ip6)) || flow->ip6.version_class >> 4 != 6)
		return KK_PARSED_OTHER;

	total = sizeof(flow->ip6) + KK_HOST16(flow->ip6.payload);
	if (total == sizeof(flow->ip6) && kk_env_gso(pkt))
		total = len; /* a jumbogram, RFC 2675 */
	if (total > len || (total != len && kk_env_gso(pkt)))
		return KK_PARSED_BAD;
	if (kk_skip_extensions(pkt, sizeof(flow->ip6), total, flow->ip6.next, &transport))
		return KK_PARSED_BAD;
	flow->len = total;
	flow->l4 = transport.at;
	flow->id = transport.id;
	flow->fragment = transport.fragment;
	flow->protocol = transport.protocol;
	flow->tcp_flags = 0;
	return KK_PARSED;
}

/*
 * An address in the packet replaced and one hop taken from its limit. The caller has seen to the
 * checksums that cover the address.
 */
KK_INLINE int kk_rewrite_ip6(struct kk_packet *pkt, struct kk_ip6 *ip, struct kk_in6 *field,
			     const struct kk_in6 *to)
{
	/* The hop limit is the second byte of its 16-bit word. */
	kk_env_sum6(pkt, kk_csum_diff(KK_RAW(KK_BE16(ip->hops)), KK_RAW(KK_BE16(ip->hops - 1))));
	ip->hops--;
	*field = *to;
	if (kk_env_store(pkt, 7, &ip->hops, sizeof(ip->hops)))
		return -1;
	return kk_env_store(pkt, (__u32)((const char *)field - (const char *)ip), to, sizeof(*to));
}

#endif
