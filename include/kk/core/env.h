/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What a host supplies. It defines struct kk_packet as it likes and these functions, then includes
 * <kk/core/forward.h>. Offsets are in bytes from the network header. Functions that return int
 * return 0, or a negative number when the bytes are not there or memory is short.
 */
#ifndef KK_CORE_ENV_H
#define KK_CORE_ENV_H

#include <kk/core/reasons.h>
#include <kk/core/types.h>

struct kk_packet;

#define KK_PLAIN_LEN 40 /* of struct kk_plain (plain.h), bytes from the network header on */

/* Bytes from the network header to the end, link padding included. */
KK_INLINE __u32 kk_env_len(const struct kk_packet *pkt);
/*
 * Payload bytes of each of the segments in one packet (GSO), whose total length field may be 0
 * (beyond 64 KiB); 0: it is one.
 */
KK_INLINE __u32 kk_env_gso(const struct kk_packet *pkt);
KK_INLINE int kk_env_load(const struct kk_packet *pkt, __u32 offset, void *to, __u32 len);
KK_INLINE int kk_env_store(struct kk_packet *pkt, __u32 offset, const void *from, __u32 len);
/* Cuts the packet to @len bytes; it is none of segments any more. */
KK_INLINE int kk_env_trim(struct kk_packet *pkt, __u32 len);
/*
 * Puts @len bytes, to be filled, in front of the network header of a packet that has been trimmed.
 */
KK_INLINE int kk_env_push(struct kk_packet *pkt, __u32 len);
/*
 * Corrects the transport checksum at @offset for a field that changed @from to @to (@size 2 or 4
 * bytes, in network byte order): kk_csum_replace(), or less where the packet's checksum is still to
 * be completed by the device (CHECKSUM_PARTIAL covers the pseudo header alone). With
 * KK_CSUM_ZERO_IS_NONE a checksum of 0 stays.
 */
KK_INLINE int kk_env_csum(struct kk_packet *pkt, __u32 offset, __u32 from, __u32 to, __u32 size,
			  __u32 flags);
/*
 * The same for addresses in the header of an IPv6 packet, all of which are part of the pseudo header and whose
 * change added @diff to the sum (kk_csum_diff6()). The header has no checksum of its own, so that afterwards a
 * sum of the whole packet, where the device gave one (CHECKSUM_COMPLETE), is what it was before.
 */
KK_INLINE int kk_env_csum6(struct kk_packet *pkt, __u32 offset, __u32 diff, __u32 flags);
/*
 * Corrects that sum of the whole packet for other bytes of an IPv6 packet: what no checksum in it
 * makes up for.
 */
KK_INLINE void kk_env_sum6(struct kk_packet *pkt, __u32 diff);
#define KK_CSUM_PSEUDO	     1 /* the field is part of the pseudo header */
#define KK_CSUM_ZERO_IS_NONE 2 /* UDP, RFC 768 */

/*
 * Readies a rewritten packet of @family for the link that it leaves by in @direction (room for a
 * header, say).
 */
KK_INLINE int kk_env_link(struct kk_packet *pkt, __u8 family, enum kk_direction direction);

/* Each is read where it is needed: where they are constants, what is not in use costs nothing. */
KK_INLINE const volatile struct kk_settings *kk_env_settings(const struct kk_packet *pkt);
/* The word at kk_listener_index() of a managed address; 0 where there is none. */
KK_INLINE __u64 kk_env_listener(const struct kk_packet *pkt, __u32 index);
/* Port 0 where there is none. */
KK_INLINE struct kk_origin kk_env_origin(const struct kk_packet *pkt,
					 const struct kk_origin_key *key);

/* Port 0 where there is none. */
KK_INLINE struct kk_fragment kk_env_fragment(const struct kk_packet *pkt,
					     const struct kk_fragment_key *key);
KK_INLINE int kk_env_fragment_put(const struct kk_packet *pkt, const struct kk_fragment_key *key,
				  const struct kk_fragment *fragment);

/* The word of a group's element, below KK_GROUPS_MAX * KK_MAGLEV_SIZE; 0 beyond. */
KK_INLINE __u64 kk_env_group(const struct kk_packet *pkt, __u32 index);

/* What guards ask (guard.h). Nanoseconds of a monotonic clock, the same for all CPUs. */
KK_INLINE __u64 kk_env_now(const struct kk_packet *pkt);
/* The same as it was at the last tick: for what takes seconds or more, at a fraction of the price. */
KK_INLINE __u64 kk_env_lately(const struct kk_packet *pkt);
/* KK_FEATURE_* */
KK_INLINE __u64 kk_env_features(const struct kk_packet *pkt);
/* The word of a service's slot; 0 beyond the table. */
KK_INLINE __u64 kk_env_service(const struct kk_packet *pkt, __u32 slot);
/* NULL: no such number. */
KK_INLINE const struct kk_policy *kk_env_policy(const struct kk_packet *pkt, __u32 number);
/* The verdict of the longest prefix of the list that holds the address. */
KK_INLINE enum kk_list_verdict kk_env_list(const struct kk_packet *pkt,
					   const struct kk_list_key *key);
/* Until when; 0: no ban. */
KK_INLINE __u64 kk_env_ban(const struct kk_packet *pkt, const struct kk_ban_key *key);
/* What is counted of a source, to be changed in place, all zero where it is new; NULL: no room. */
KK_INLINE struct kk_source *kk_env_source(const struct kk_packet *pkt,
					  const struct kk_source_key *key);

/* A translated flow, to be changed in place, or NULL. */
KK_INLINE struct kk_snat_flow *kk_env_snat(const struct kk_packet *pkt,
					   const struct kk_snat_key *key);
/* What is there after @flow was entered, unless another one had been there. NULL: no room. */
KK_INLINE struct kk_snat_flow *kk_env_snat_put(const struct kk_packet *pkt,
					       const struct kk_snat_key *key,
					       const struct kk_snat_flow *flow);

/* Good until the packet is done with; NULL: the host has none. */
KK_INLINE struct kk_scratch *kk_env_scratch(const struct kk_packet *pkt);

/* Counters; nothing that happens in them has an influence on the packet. */
KK_INLINE void kk_env_count(struct kk_packet *pkt, enum kk_reason reason, __u32 bytes);
KK_INLINE void kk_env_count_service(struct kk_packet *pkt, __u32 service,
				    enum kk_direction direction, __u32 bytes);

#endif
