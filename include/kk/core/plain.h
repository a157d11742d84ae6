/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What nearly every packet is: IPv4 without options, whole, of TCP without SYN or of UDP, to a published port that asks
 * nothing of its clients, or from one (KK_PLAIN_ORIGINS). It is decided here as in kk_edge() and
 * kk_forward(), with their own predicates, but its headers are looked at and changed where they are, once for all. Whatever
 * is not certainly to be forwarded is left as it is, to those two: no packet is dropped here by a rule.
 */
#ifndef KK_CORE_PLAIN_H
#define KK_CORE_PLAIN_H

#include <kk/core/forward.h>
#include <kk/core/sieve.h>

/* Not forwarded, not counted and not changed. */
#define KK_NOT_PLAIN KK_REASON_MAX

/* Of answers: from any port of an Agent's (1, defined before this); else from those alone that have the public port's number. */
#ifndef KK_PLAIN_ORIGINS
#define KK_PLAIN_ORIGINS 0
#endif

/* As long as the shorter frames of Ethernet leave room for. */
struct kk_plain {
	struct kk_ip4 ip;
	__be16 source, dest;
	union {
		struct {
			__be32 seq, ack;
			__u8 header, flags;
			__be16 window, check, urgent;
		} tcp;
		struct {
			__be16 len, check;
		} udp;
	};
};
_Static_assert(sizeof(struct kk_plain) == KK_PLAIN_LEN, "an IPv4 and a TCP header");

/*
 * The front of an IPv4 packet, to be read and written until kk_env_csum(), kk_env_store() or kk_env_link(); NULL: it is
 * not here, or this is no IPv4.
 */
KK_INLINE struct kk_plain *kk_env_plain(struct kk_packet *pkt);

/* @protocol is a constant. */
KK_INLINE int kk_is_plain_transport(const struct kk_plain *head, __u8 protocol, __u32 len)
{
	__u32 header;

	if (protocol == KK_TCP) {
		header = (head->tcp.header >> 4) * 4;
		return header >= 20 && sizeof(head->ip) + header <= len &&
		       !(head->tcp.flags & KK_TCP_SYN);
	}
	header = KK_HOST16(head->udp.len);
	return header >= 8 && sizeof(head->ip) + header <= len;
}

/*
 * What kk_edge() would ask besides: nothing of a segment that goes on with a connection. The sieve has told that the source is
 * no martian, too.
 */
KK_INLINE int kk_plain_passes_edge(const struct kk_packet *pkt, const struct kk_plain *head,
				   __u8 protocol)
{
	if (protocol == KK_TCP && (!(head->tcp.flags & KK_TCP_ACK) || !head->source))
		return 0;
	return kk_is_clear4(pkt, head->ip.source) ||
	       (!(kk_env_features(pkt) & KK_FEATURE_SOURCES) && !kk_is_martian4(head->ip.source));
}

/* Where a packet to port @dest of the address with @slot goes: the listener's word with its Agent in it; 0: not plain. */
KK_INLINE __u64 kk_plain_to(const struct kk_packet *pkt, const struct kk_plain *head, __u32 slot,
			    __u8 protocol, __u16 dest)
{
	__u64 word = kk_env_listener(pkt, kk_listener_index(slot, protocol, dest));

	if (!KK_RARELY(word >> 60))
		return word;
	if (word & (KK_LISTENER_GUARDED | KK_LISTENER_SNAT | KK_LISTENER_DRAINING))
		return 0;
	return kk_pick_member(pkt, word, kk_either(KK_IP4, NULL, head->ip.source), head->source,
			      head->dest, protocol);
}

/* An address of @head and its time to live, which is the first byte of its 16-bit word. */
KK_INLINE void kk_rewrite_plain_ip(struct kk_plain *head, __be32 *field, __be32 to)
{
	__u64 sum = (__u64)~KK_RAW(head->ip.check) + (__u32)~KK_RAW(*field) + KK_RAW(to) +
		    KK_RAW(KK_BE16(0xfeff));

	head->ip.check = (KK_FORCE __be16)~kk_csum_fold64(sum);
	head->ip.ttl--;
	*field = to;
}

/* The port at @offset of the transport header. */
KK_INLINE int kk_rewrite_plain_port(struct kk_packet *pkt, __u32 offset, __u32 check, __u32 flags,
				    __be16 from, __be16 to)
{
	if (kk_env_csum(pkt, check, KK_RAW(from), KK_RAW(to), sizeof(to), flags))
		return -1;
	return kk_env_store(pkt, sizeof(struct kk_ip4) + offset, &to, sizeof(to));
}

#define kk_plain_check(protocol)                                                                   \
	((__u32)((protocol) == KK_TCP ? __builtin_offsetof(struct kk_plain, tcp.check)             \
				      : __builtin_offsetof(struct kk_plain, udp.check)))
#define kk_plain_csum_flags(protocol) ((protocol) == KK_UDP ? KK_CSUM_ZERO_IS_NONE : 0)

KK_INLINE enum kk_reason kk_count_plain(struct kk_packet *pkt, enum kk_direction direction,
					__u32 service, __u32 len)
{
	enum kk_reason reason = direction == KK_INBOUND ? KK_REASON_INBOUND : KK_REASON_OUTBOUND;

	if (kk_env_link(pkt, KK_IP4, direction)) {
		kk_env_count(pkt, KK_REASON_HOST, kk_env_len(pkt));
		return KK_REASON_HOST;
	}
	kk_env_count_service(pkt, service, direction, len);
	kk_env_count(pkt, reason, len);
	return reason;
}

/* As kk_check_client(). @told: kk_plain_passes_edge() was asked. */
KK_INLINE int kk_is_plain_client(const volatile struct kk_settings *set, const struct kk_flow *flow,
				 int told)
{
	const struct kk_in6 *client = kk_source(KK_IP4, flow);

	if (told ? kk_find_address(set, KK_IP4, client) >= 0 : kk_is_bad_peer(set, KK_IP4, client))
		return 0;
	return !kk_in_pool(set, KK_IP4, client) && flow->ip4.ttl > 1;
}

/* Of a constant @protocol, from its transport header on; @flow has what the predicates ask for. */
KK_INLINE enum kk_reason kk_plain_in(struct kk_packet *pkt, struct kk_plain *head,
				     const struct kk_flow *flow, __u8 protocol, int edge)
{
	const volatile struct kk_settings *set = kk_env_settings(pkt);
	__u32 check = kk_plain_check(protocol), flags = kk_plain_csum_flags(protocol);
	__be32 from = flow->ip4.dest, to;
	__u16 port = KK_HOST16(head->dest);
	int slot = kk_find_address(set, KK_IP4, kk_dest(KK_IP4, flow)), r;
	__u64 word;

	if (slot < 0 || !kk_is_plain_transport(head, protocol, flow->len))
		return KK_NOT_PLAIN;
	word = kk_plain_to(pkt, head, (__u32)slot, protocol, port);
	if (!word || (edge && !kk_plain_passes_edge(pkt, head, protocol)) ||
	    !kk_is_plain_client(set, flow, edge) || kk_is_too_big(pkt, KK_IP4, set, flow))
		return KK_NOT_PLAIN;

	to = set->pool | KK_BE32(kk_listener_agent(word));
	kk_rewrite_plain_ip(head, &head->ip.dest, to);
	r = kk_env_csum(pkt, check, KK_RAW(from), KK_RAW(to), sizeof(to), flags | KK_CSUM_PSEUDO);
	if (KK_RARELY(kk_listener_port(word) != port) && !r)
		r = kk_rewrite_plain_port(pkt, 2, check, flags, KK_BE16(port),
					  KK_BE16(kk_listener_port(word)));
	if (r) {
		kk_env_count(pkt, KK_REASON_HOST, flow->len);
		return KK_REASON_HOST;
	}
	return kk_count_plain(pkt, KK_INBOUND, kk_listener_service(word), flow->len);
}

/* Where answers of an Agent's port come from, as far as is asked for here; port 0: they are not plain. */
KK_INLINE struct kk_origin kk_plain_origin(const struct kk_packet *pkt, __u8 protocol, __be32 agent,
					   __be16 port)
{
	__u64 word;

	if (KK_PLAIN_ORIGINS)
		return kk_match_origin(pkt, KK_IP4, protocol, agent, port);
	word = kk_match_same(pkt, KK_IP4, protocol, agent, port);
	if (!word)
		return (struct kk_origin){0};
	return (struct kk_origin){.port = port,
				  .slot = (__u16)kk_slot(KK_IP4, 0),
				  .service = kk_listener_service(word)};
}

/* The same out of the tunnel. */
KK_INLINE enum kk_reason kk_plain_out(struct kk_packet *pkt, struct kk_plain *head,
				      const struct kk_flow *flow, __u8 protocol)
{
	const volatile struct kk_settings *set = kk_env_settings(pkt);
	const struct kk_in6 *source = kk_source(KK_IP4, flow), *dest = kk_dest(KK_IP4, flow);
	__u32 check = kk_plain_check(protocol), flags = kk_plain_csum_flags(protocol);
	__be32 from = flow->ip4.source, to;
	__be16 port = head->source;
	struct kk_origin origin;
	int r;

	if (!kk_is_agent(set, KK_IP4, source) || kk_in_pool(set, KK_IP4, dest) ||
	    kk_is_bad_peer(set, KK_IP4, dest) || flow->ip4.ttl <= 1 ||
	    !kk_is_plain_transport(head, protocol, flow->len) ||
	    (protocol == KK_TCP && !(head->tcp.flags & KK_TCP_ACK)))
		return KK_NOT_PLAIN;
	origin = kk_plain_origin(pkt, protocol, from, port);
	to = kk_public_address(set, KK_IP4, origin.slot).word[3];
	if (!origin.port || !to)
		return KK_NOT_PLAIN;
	kk_rewrite_plain_ip(head, &head->ip.source, to);
	r = kk_env_csum(pkt, check, KK_RAW(from), KK_RAW(to), sizeof(to), flags | KK_CSUM_PSEUDO);
	if (KK_PLAIN_ORIGINS && KK_RARELY(origin.port != port) && !r)
		r = kk_rewrite_plain_port(pkt, 0, check, flags, port, origin.port);
	if (r) {
		kk_env_count(pkt, KK_REASON_HOST, flow->len);
		return KK_REASON_HOST;
	}
	return kk_count_plain(pkt, KK_OUTBOUND, origin.service, flow->len);
}

/*
 * Forwards @pkt if it is plain: KK_REASON_INBOUND, KK_REASON_OUTBOUND, or KK_REASON_HOST as kk_forward(); else
 * KK_NOT_PLAIN. @edge, a constant: it has not been at kk_edge() yet, which would let it go on.
 */
KK_INLINE enum kk_reason kk_plain(struct kk_packet *pkt, enum kk_direction direction, int edge)
{
	struct kk_plain *head = kk_env_plain(pkt);
	struct kk_flow flow;

	if (!head || head->ip.version_ihl != 0x45 ||
	    (head->ip.fragment & KK_BE16(KK_IP4_MORE | KK_IP4_OFFSET)))
		return KK_NOT_PLAIN;
	flow.len = KK_HOST16(head->ip.total);
	if (flow.len != kk_env_len(pkt))
		return KK_NOT_PLAIN;
	flow.ip4.source = head->ip.source;
	flow.ip4.dest = head->ip.dest;
	flow.ip4.fragment = head->ip.fragment;
	flow.ip4.ttl = head->ip.ttl;
	flow.l4 = sizeof(head->ip);
	flow.protocol = head->ip.protocol;
	/* A branch for each, so that what depends on the protocol is a constant. */
	if (head->ip.protocol == KK_TCP) {
		flow.tcp_header = (__u8)((head->tcp.header >> 4) * 4);
		return direction == KK_INBOUND ? kk_plain_in(pkt, head, &flow, KK_TCP, edge)
					       : kk_plain_out(pkt, head, &flow, KK_TCP);
	}
	if (head->ip.protocol == KK_UDP)
		return direction == KK_INBOUND ? kk_plain_in(pkt, head, &flow, KK_UDP, edge)
					       : kk_plain_out(pkt, head, &flow, KK_UDP);
	return KK_NOT_PLAIN;
}

#endif
