/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* What a host of kk_edge() supplies besides what <kk/core/env.h> asks for. */
#ifndef KK_CORE_EDGE_ENV_H
#define KK_CORE_EDGE_ENV_H

#include <kk/core/edge_types.h>
#include <kk/core/env.h>

KK_INLINE const volatile struct kk_edge_settings *kk_env_edge(const struct kk_packet *pkt);

/*
 * Whether a socket of the gateway's own takes the packet: one of its connections, or one that is bound to the port. Ports
 * are in network byte order.
 */
KK_INLINE int kk_env_wanted(const struct kk_packet *pkt, __u8 family, __u8 protocol,
			    const struct kk_in6 *source, const struct kk_in6 *dest,
			    __be16 source_port, __be16 dest_port);

/* Of a service slot; NULL: it cannot be counted. */
KK_INLINE struct kk_flood *kk_env_flood(const struct kk_packet *pkt, __u32 service);
/* Until when a source is verified; 0: it is not. */
KK_INLINE __u64 kk_env_verified(const struct kk_packet *pkt, const struct kk_in6 *source);
KK_INLINE void kk_env_verify(const struct kk_packet *pkt, const struct kk_in6 *source, __u64 until);

/* NULL: there is none. Hosts write to it while others do. */
KK_INLINE struct kk_relay *kk_env_relay(const struct kk_packet *pkt,
					const struct kk_relay_key *key);
/* Notes in @from where this packet of it came from. */
KK_INLINE void kk_env_hear(const struct kk_packet *pkt, struct kk_relay *from);

/*
 * Makes the packet @len bytes long, or where that cannot be, all zero behind them, as far as 40 bytes go: link
 * padding.
 */
KK_INLINE int kk_env_shorten(struct kk_packet *pkt, __u32 len);
/* Readies the packet for the link that it came by, back to who sent it. */
KK_INLINE int kk_env_back(struct kk_packet *pkt);
/* Readies it for where packets of the end @to came from. */
KK_INLINE int kk_env_to(struct kk_packet *pkt, const struct kk_relay *to);

#endif
