/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The IPv4 header: parsed, and one address in it replaced. */
#ifndef KK_CORE_IP4_H
#define KK_CORE_IP4_H

#include <kk/core/csum.h>
#include <kk/core/parse.h>

KK_INLINE enum kk_parsed kk_parse_ip4(const struct kk_packet *pkt, struct kk_flow *flow)
{
	__u32 len = kk_env_len(pkt), total;

	if (kk_env_load(pkt, 0, &flow->ip4, sizeof(flow->ip4)) || flow->ip4.version_ihl >> 4 != 4)
		return KK_PARSED_OTHER;

	flow->l4 = (flow->ip4.version_ihl & 0xf) * 4;
	total = KK_HOST16(flow->ip4.total);
	if (total == 0 && kk_env_gso(pkt))
		total = len;
	if (flow->l4 < sizeof(flow->ip4) || total < flow->l4 || total > len)
		return KK_PARSED_BAD;
	if (total != len && kk_env_gso(pkt))
		return KK_PARSED_BAD; /* cutting it would break its segments */
	flow->len = total;
	flow->id = (KK_FORCE __be32)flow->ip4.id;
	flow->fragment = flow->ip4.fragment & KK_BE16(KK_IP4_MORE | KK_IP4_OFFSET);
	flow->protocol = flow->ip4.protocol;
	flow->tcp_flags = 0;
	return KK_PARSED;
}

/*
 * Offset in the header from which it is written back: TTL, protocol, checksum, both addresses.
 */
#define KK_IP4_TAIL 8

/* An address in the header and its checksum; not yet in the packet. */
KK_INLINE void kk_replace_ip4(struct kk_ip4 *ip, __be32 *field, __be32 to)
{
	ip->check = kk_csum_replace(ip->check, KK_RAW(*field), KK_RAW(to));
	*field = to;
}

/* The same in the packet, and one hop taken from its time to live. */
KK_INLINE int kk_rewrite_ip4(struct kk_packet *pkt, struct kk_ip4 *ip, __be32 *field, __be32 to)
{
	/* The TTL is the first byte of its 16-bit word, the protocol beside it cancels out. */
	ip->check = kk_csum_replace(ip->check, KK_RAW(KK_BE16(ip->ttl << 8)),
				    KK_RAW(KK_BE16((ip->ttl - 1) << 8)));
	ip->ttl--;
	kk_replace_ip4(ip, field, to);
	return kk_env_store(pkt, KK_IP4_TAIL, (const char *)ip + KK_IP4_TAIL,
			    sizeof(*ip) - KK_IP4_TAIL);
}

#endif
