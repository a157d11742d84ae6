/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The edge's short way, for what nearly every packet is (plain.h): to a published port without policy, whatever that leads to.
 * Whether it may go on or is from a source that is shut out is decided here as in kk_edge(), with its own predicates; the rest is
 * left to that.
 */
#ifndef KK_CORE_PLAIN_EDGE_H
#define KK_CORE_PLAIN_EDGE_H

#include <kk/core/edge.h>
#include <kk/core/plain.h>

/* Of a constant @protocol. */
KK_INLINE int kk_plain_edge_in(struct kk_packet *pkt, const struct kk_plain *head, __u8 protocol,
			       __u32 len, enum kk_reason *reason)
{
	const struct kk_in6 source = kk_mapped(head->ip.source), dest = kk_mapped(head->ip.dest);
	int slot = kk_find_address(kk_env_settings(pkt), KK_IP4, &dest);
	enum kk_sieved sieved;
	__u64 word;

	if (slot < 0 || !kk_is_plain_transport(head, protocol, len) ||
	    (protocol == KK_TCP && (!(head->tcp.flags & KK_TCP_ACK) || !head->source)))
		return 0;
	word = kk_match_listener(pkt, (__u32)slot, protocol, head->dest);
	if (!word || (word & KK_LISTENER_GUARDED))
		return 0;
	*reason = KK_EDGE_ON;
	sieved = kk_sieve4(pkt, head->ip.source);
	if (!KK_RARELY(sieved != KK_SIEVED_CLEAR))
		return 1;
	*reason = kk_check_sieved(pkt, kk_env_features(pkt), word, &source, sieved);
	if (*reason == KK_REASON_INBOUND)
		*reason = KK_EDGE_ON;
	else
		kk_env_count(pkt, *reason, len);
	return 1;
}

/* True if @pkt is decided about: then *@reason is what kk_edge() would return, and it is counted likewise. */
KK_INLINE int kk_plain_edge(struct kk_packet *pkt, enum kk_reason *reason)
{
	const struct kk_plain *head = kk_env_plain(pkt);
	__u32 len;

	if (!head || head->ip.version_ihl != 0x45 ||
	    (head->ip.fragment & KK_BE16(KK_IP4_MORE | KK_IP4_OFFSET)))
		return 0;
	len = KK_HOST16(head->ip.total);
	if (len != kk_env_len(pkt))
		return 0;
	if (head->ip.protocol == KK_TCP)
		return kk_plain_edge_in(pkt, head, KK_TCP, len, reason);
	return head->ip.protocol == KK_UDP && kk_plain_edge_in(pkt, head, KK_UDP, len, reason);
}

#endif
