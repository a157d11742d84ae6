/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The forwarding core's environment at a tc hook: an skb, and maps; with KK_HOST_XDP defined the same maps
 * and a packet at XDP.
 */
#ifndef KK_BPF_ENV_H
#define KK_BPF_ENV_H

#include <stddef.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_helpers.h>

#include <kk/core/csum.h>
#include <kk/core/env.h>
#include <kk/core/sieve.h>

#include "bpf/kern_skb.h"
#include "bpf/maps.h"

#ifdef KK_HOST_XDP
#include "bpf/env_xdp.h"
#else

struct kk_packet {
	struct __sk_buff *skb;
	__u32 link;	/* bytes of the link header before the network header, a constant */
	__u32 out;	/* interface to leave by, of what is sent back */
	void *head;	/* so many bytes from the network header on are known to be there ... */
	__u32 head_len; /* ... a constant */
};

KK_INLINE void *kk_context(const struct kk_packet *pkt)
{
	return pkt->skb;
}

KK_INLINE __u32 kk_came_by(const struct kk_packet *pkt)
{
	return pkt->skb->ifindex;
}

KK_INLINE __u32 kk_env_len(const struct kk_packet *pkt)
{
	return pkt->skb->len - pkt->link;
}

KK_INLINE __u32 kk_env_gso(const struct kk_packet *pkt)
{
	return pkt->skb->gso_size;
}

/*
 * A pointer in the skb's context. The compiler would keep the address of the field, which the verifier
 * does not take for one in the context any more.
 */
#define KK_SKB_FIELD(skb, field)                                                                   \
	({                                                                                         \
		void *pointer_;                                                                    \
		asm volatile("%0 = *(u32 *)(%1 + %2)"                                              \
			     : "=r"(pointer_)                                                      \
			     : "r"(skb), "i"(offsetof(struct __sk_buff, field)));                  \
		pointer_;                                                                          \
	})

/*
 * No field that the core looks at begins beyond that: 168 bytes of IPv6 with its extensions, 8 of
 * ICMPv6, as many again of a quoted header and some of the next. The verifier cannot see it, and the
 * compiler can, so it has to be kept from leaving the mask out.
 */
#define KK_OFFSET_MASK 0x1ff
_Static_assert(2 * (sizeof(struct kk_ip6) + KK_IP6_EXTENSIONS_LEN) + 8 + 60 < KK_OFFSET_MASK,
	       "offsets are within the mask");

/*
 * @len bytes at @offset if they are in the linear part, where headers nearly always are, or NULL.
 * Alignment is but claimed, else the compiler would go byte by byte: headers are as good as aligned
 * wherever the kernel lets programs load words from packets.
 */
KK_INLINE void *kk_linear(const struct kk_packet *pkt, __u32 offset, __u32 len)
{
	void *at = KK_SKB_FIELD(pkt->skb, data), *end = KK_SKB_FIELD(pkt->skb, data_end);

	if (!__builtin_constant_p(offset)) {
		asm volatile("" : "+r"(offset));
		offset &= KK_OFFSET_MASK;
	}
	at += pkt->link + offset;
	return at + len <= end ? __builtin_assume_aligned(at, 4) : NULL;
}

struct kk_plain;

/* In what kk_env_plain() has found to be there. */
KK_INLINE int kk_is_known(const struct kk_packet *pkt, __u32 offset, __u32 len)
{
	return __builtin_constant_p(offset + len <= pkt->head_len) && offset + len <= pkt->head_len;
}

KK_INLINE struct kk_plain *kk_env_plain(struct kk_packet *pkt)
{
	pkt->head = kk_linear(pkt, 0, KK_PLAIN_LEN);
	pkt->head_len = KK_PLAIN_LEN;
	return pkt->head;
}

/* linux/skbuff.h */
enum {
	KK_CHECKSUM_COMPLETE = 2,
	KK_CHECKSUM_PARTIAL = 3,
};

/* What has become of the checksum; where the kernel does not tell, what needs the helper. */
KK_INLINE __u32 kk_summed(const struct kk_packet *pkt)
{
	const __u8 *skb;

	if (!kk_skb_summed)
		return KK_CHECKSUM_COMPLETE;
	skb = kk_kern_skb(pkt->skb);
	return skb[kk_skb_summed / 8] >> kk_skb_summed % 8 & 3;
}

/* In what kk_env_plain() has found to be there, as the helper does it: true, or it is left to that. */
KK_INLINE int kk_csum_known(struct kk_packet *pkt, __u32 offset, __u32 from, __u32 to, __u32 flags)
{
	__be16 *at = __builtin_assume_aligned(pkt->head + offset, 2);
	__u32 summed = kk_summed(pkt);

	if (summed == KK_CHECKSUM_COMPLETE)
		return 0;
	if ((flags & KK_CSUM_ZERO_IS_NONE) && *at == 0)
		return 1;
	if (summed != KK_CHECKSUM_PARTIAL)
		*at = kk_csum_replace(*at, from, to);
	else if (flags & KK_CSUM_PSEUDO) /* a sum, not yet its complement */
		*at = (__be16)~kk_csum_replace((__be16) ~*at, from, to);
	if ((flags & KK_CSUM_ZERO_IS_NONE) && *at == 0)
		*at = 0xffff;
	return 1;
}

KK_INLINE int kk_env_load(const struct kk_packet *pkt, __u32 offset, void *to, __u32 len)
{
	const void *from = kk_linear(pkt, offset, len);

	if (!from) {
		/*
		 * Where the helper alone writes a stack slot, the verifier of Linux 6.18 can lose its
		 * way as it asks what the value there depends on ("verifier bug: stack slot").
		 */
		__builtin_memset(to, 0, len);
		return bpf_skb_load_bytes(pkt->skb, pkt->link + offset, to, len);
	}
	__builtin_memcpy(to, from, len);
	return 0;
}

/*
 * Straight into the linear part: the verifier sees to it that this packet shares it with no other.
 * The checksum of the whole packet, where the device gave one, is right again after kk_env_csum().
 */
KK_INLINE int kk_env_store(struct kk_packet *pkt, __u32 offset, const void *from, __u32 len)
{
	void *to = kk_linear(pkt, offset, len);

	if (!to)
		return bpf_skb_store_bytes(pkt->skb, pkt->link + offset, from, len, 0);
	__builtin_memcpy(to, from, len);
	return 0;
}

KK_INLINE int kk_env_trim(struct kk_packet *pkt, __u32 len)
{
	return bpf_skb_change_tail(pkt->skb, pkt->link + len, 0);
}

/*
 * Between the link header and the network header. A checksum of the whole packet, where the device
 * gave one, was forgotten when the packet was trimmed.
 */
KK_INLINE int kk_env_push(struct kk_packet *pkt, __u32 len)
{
	return bpf_skb_adjust_room(pkt->skb, (int)len, BPF_ADJ_ROOM_MAC, 0);
}

KK_INLINE int kk_env_csum(struct kk_packet *pkt, __u32 offset, __u32 from, __u32 to, __u32 size,
			  __u32 flags)
{
	__u64 f = size;

	if (kk_is_known(pkt, offset, sizeof(__be16)) && kk_csum_known(pkt, offset, from, to, flags))
		return 0;
	pkt->head_len = 0; /* the helper may move it */
	if (flags & KK_CSUM_PSEUDO)
		f |= BPF_F_PSEUDO_HDR;
	if (flags & KK_CSUM_ZERO_IS_NONE)
		f |= BPF_F_MARK_MANGLED_0;
	return bpf_l4_csum_replace(pkt->skb, pkt->link + offset, from, to, f);
}

/*
 * The kernel takes every pseudo header for one of IPv4, whose header has a checksum that makes up for the
 * address, and so changes the sum of the whole packet. That is taken back; where there is no such
 * sum the second call does nothing.
 */
KK_INLINE int kk_env_csum6(struct kk_packet *pkt, __u32 offset, __u32 diff, __u32 flags)
{
	__u64 f = BPF_F_PSEUDO_HDR;

	if (flags & KK_CSUM_ZERO_IS_NONE)
		f |= BPF_F_MARK_MANGLED_0;
	if (bpf_l4_csum_replace(pkt->skb, pkt->link + offset, 0, diff, f))
		return -1;
	bpf_csum_update(pkt->skb, diff);
	return 0;
}

KK_INLINE void kk_env_sum6(struct kk_packet *pkt, __u32 diff)
{
	bpf_csum_update(pkt->skb, diff);
}

/*
 * To the tunnel bpf_redirect() takes the Ethernet header off, and a priority tag has to go with it.
 * Out of it there is none, but bpf_redirect_neigh() wants room for one, with the protocol in it; the
 * addresses it fills in itself.
 */
KK_INLINE int kk_env_link(struct kk_packet *pkt, __u8 family, enum kk_direction direction)
{
	const __be16 protocol = KK_BE16(family == KK_IP6 ? ETH_P_IPV6 : ETH_P_IP);

	if (direction == KK_INBOUND)
		return pkt->skb->vlan_present ? bpf_skb_vlan_pop(pkt->skb) : 0;
	if (bpf_skb_change_head(pkt->skb, ETH_HLEN, 0))
		return -1;
	pkt->link = ETH_HLEN;
	return bpf_skb_store_bytes(pkt->skb, offsetof(struct ethhdr, h_proto), &protocol,
				   sizeof(protocol), 0);
}

KK_INLINE int kk_env_shorten(struct kk_packet *pkt, __u32 len)
{
	return kk_env_trim(pkt, len);
}

KK_INLINE int kk_load_macs(const struct kk_packet *pkt, void *macs)
{
	return bpf_skb_load_bytes(pkt->skb, 0, macs, 2 * ETH_ALEN);
}

KK_INLINE int kk_store_macs(const struct kk_packet *pkt, const void *macs)
{
	return bpf_skb_store_bytes(pkt->skb, 0, macs, 2 * ETH_ALEN, 0);
}

#endif /* KK_HOST_XDP */

KK_INLINE const volatile struct kk_settings *kk_env_settings(const struct kk_packet *pkt)
{
	return &kk_settings;
}

KK_INLINE __u64 kk_env_listener(const struct kk_packet *pkt, __u32 index)
{
	const volatile __u64 *word = bpf_map_lookup_elem(&kk_listeners, &index);

	return word ? *word : 0;
}

KK_INLINE struct kk_origin kk_env_origin(const struct kk_packet *pkt,
					 const struct kk_origin_key *key)
{
	const struct kk_origin *found = bpf_map_lookup_elem(&kk_origins, key);

	return found ? *found : (struct kk_origin){0};
}

KK_INLINE struct kk_fragment kk_env_fragment(const struct kk_packet *pkt,
					     const struct kk_fragment_key *key)
{
	const struct kk_fragment *found = bpf_map_lookup_elem(&kk_fragments, key);

	return found ? *found : (struct kk_fragment){0};
}

KK_INLINE int kk_env_fragment_put(const struct kk_packet *pkt, const struct kk_fragment_key *key,
				  const struct kk_fragment *fragment)
{
	return bpf_map_update_elem(&kk_fragments, key, fragment, BPF_ANY);
}

KK_INLINE __u64 kk_env_group(const struct kk_packet *pkt, __u32 index)
{
	const volatile __u64 *word = bpf_map_lookup_elem(&kk_groups, &index);

	return word ? *word : 0;
}

KK_INLINE __u64 kk_env_now(const struct kk_packet *pkt)
{
	return kk_now ? kk_now : bpf_ktime_get_ns();
}

/*
 * The clock as it was at the last tick, asked for once in each: the count of ticks is a word that the verifier reads without a
 * call. CPUs share it; whoever meets another's half-done change is a tick behind.
 */
volatile struct {
	__u64 tick, now;
} kk_last_tick;

KK_INLINE __u64 kk_env_lately(const struct kk_packet *pkt)
{
	__u64 tick;

	if (kk_now)
		return kk_now;
	tick = bpf_jiffies64();
	if (KK_RARELY(kk_last_tick.tick != tick)) {
		kk_last_tick.now = bpf_ktime_get_coarse_ns();
		kk_last_tick.tick = tick;
	}
	return kk_last_tick.now;
}

KK_INLINE __u64 kk_env_features(const struct kk_packet *pkt)
{
	__u32 zero = 0;
	const volatile __u64 *word = bpf_map_lookup_elem(&kk_features, &zero);

	return word ? *word : 0;
}

KK_INLINE __u64 kk_env_sieve(const struct kk_packet *pkt, __u32 index)
{
	const volatile __u64 *word = bpf_map_lookup_elem(&kk_sieve, &index);

	return word ? *word : 0;
}

KK_INLINE const volatile struct kk_shut *kk_env_shut(const struct kk_packet *pkt, __u32 index)
{
	return bpf_map_lookup_elem(&kk_shut, &index);
}

KK_INLINE __u64 kk_env_service(const struct kk_packet *pkt, __u32 slot)
{
	const volatile __u64 *word = bpf_map_lookup_elem(&kk_services, &slot);

	return word ? *word : 0;
}

KK_INLINE const struct kk_policy *kk_env_policy(const struct kk_packet *pkt, __u32 number)
{
	return bpf_map_lookup_elem(&kk_policies, &number);
}

KK_INLINE enum kk_list_verdict kk_env_list(const struct kk_packet *pkt,
					   const struct kk_list_key *key)
{
	const struct kk_list_entry *found = bpf_map_lookup_elem(&kk_lists, key);

	return found ? found->verdict : KK_LIST_NONE;
}

KK_INLINE __u64 kk_env_ban(const struct kk_packet *pkt, const struct kk_ban_key *key)
{
	const __u64 *until = bpf_map_lookup_elem(&kk_bans, key);

	return until ? *until : 0;
}

KK_INLINE struct kk_source *kk_env_source(const struct kk_packet *pkt,
					  const struct kk_source_key *key)
{
	const struct kk_source fresh = {0};
	struct kk_source *found = bpf_map_lookup_elem(&kk_sources, key);

	if (found)
		return found;
	/* Another CPU may have been faster: what it put stays. */
	bpf_map_update_elem(&kk_sources, key, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&kk_sources, key);
}

KK_INLINE struct kk_snat_flow *kk_env_snat(const struct kk_packet *pkt,
					   const struct kk_snat_key *key)
{
	return bpf_map_lookup_elem(&kk_snat_flows, key);
}

KK_INLINE struct kk_snat_flow *kk_env_snat_put(const struct kk_packet *pkt,
					       const struct kk_snat_key *key,
					       const struct kk_snat_flow *flow)
{
	bpf_map_update_elem(&kk_snat_flows, key, flow, BPF_NOEXIST);
	return bpf_map_lookup_elem(&kk_snat_flows, key);
}

KK_INLINE struct kk_scratch *kk_env_scratch(const struct kk_packet *pkt)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&kk_scratch, &zero);
}

KK_INLINE void kk_counter_add(struct kk_counter *counter, __u32 bytes)
{
	counter->packets++;
	counter->bytes += bytes;
}

KK_INLINE void kk_env_count(struct kk_packet *pkt, enum kk_reason reason, __u32 bytes)
{
	__u32 index = reason;
	struct kk_counter *counter = bpf_map_lookup_elem(&kk_counters, &index);

	if (counter)
		kk_counter_add(counter, bytes);
}

/* About once in half a million packets. */
KK_NOINLINE void kk_move_traffic(__u64 *word, __u32 index)
{
	struct kk_counter *total = bpf_map_lookup_elem(&kk_totals, &index);
	__u64 value = *word;

	if (!total)
		return;
	__sync_lock_test_and_set(word, KK_TRAFFIC_MOVING);
	__sync_fetch_and_add(&total->packets, kk_traffic_packets(value));
	__sync_fetch_and_add(&total->bytes, kk_traffic_bytes(value));
	__sync_lock_test_and_set(word, 0);
}

KK_INLINE void kk_env_count_service(struct kk_packet *pkt, __u32 service,
				    enum kk_direction direction, __u32 bytes)
{
	__u32 index = kk_traffic_index(bpf_get_smp_processor_id(), direction, service);
	__u64 *word = bpf_map_lookup_elem(&kk_traffic, &index);

	if (!word)
		return;
	*word += (1ULL << KK_TRAFFIC_SHIFT) + bytes;
	if (KK_RARELY(*word & KK_TRAFFIC_FULL))
		kk_move_traffic(word, kk_total_index(direction, service));
}

#endif
