/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The forwarding core's environment in the kernel proper: an skb at its network header, and tables under RCU.
 * The transport checksum is treated as bpf_l4_csum_replace() treats it, so that hosts agree.
 */
#ifndef KK_KMOD_ENV_H
#define KK_KMOD_ENV_H

#include <linux/skbuff.h>
#include <net/checksum.h>

#include <kk/core/csum.h>
#include <kk/core/env.h>
#include <kk/core/sieve.h>

#define KK_ENV_SNAT_TIME(pkt, protocol, closing)                                                   \
	kk_flow_time(&(pkt)->tables->flow_times, protocol, closing)

#include "kmod/net.h"
#include "kmod/tables.h"
#include "kmod/trial.h"

/* What is worked out about one packet, and is written to where the packet itself is but read. */
struct kk_work {
	struct kk_scratch scratch;
	u32 slot;		     /* of the service that was asked for last */
	struct kk_source_key source; /* that was counted last */
	struct kk_flow_entry *flow;  /* that was found last; NULL: none */
};

struct kk_packet {
	struct sk_buff *skb;
	const struct kk_tables *tables;
	struct kk_net *net;
	struct kk_trial *trial; /* NULL: it is on its way; else nothing is counted */
	bool in_pieces;		/* it came in fragments, each of which fits into the tunnel */
	u32 writable;		/* bytes at the front that kk_env_plain() has found to be so */
	struct kk_work *work;
};

KK_INLINE __u32 kk_env_len(const struct kk_packet *pkt)
{
	return pkt->skb->len;
}

/* What came in pieces will leave in pieces, and its length matters as little as that of segments. */
KK_INLINE __u32 kk_env_gso(const struct kk_packet *pkt)
{
	return unlikely(pkt->in_pieces) ? 1 : skb_shinfo(pkt->skb)->gso_size;
}

KK_INLINE int kk_env_load(const struct kk_packet *pkt, __u32 offset, void *to, __u32 len)
{
	if (likely(offset + len <= skb_headlen(pkt->skb))) {
		memcpy(to, pkt->skb->data + offset, len);
		return 0;
	}
	return skb_copy_bits(pkt->skb, offset, to, len);
}

struct kk_plain;

/* Where it is this packet's alone; all others go the longer way, which copies. */
KK_INLINE struct kk_plain *kk_env_plain(struct kk_packet *pkt)
{
	const struct sk_buff *skb = pkt->skb;

	if (unlikely(skb_headlen(skb) < KK_PLAIN_LEN ||
		     (skb_cloned(skb) && !skb_clone_writable(skb, KK_PLAIN_LEN))))
		return NULL;
	pkt->writable = KK_PLAIN_LEN;
	return (struct kk_plain *)skb->data;
}

/* Makes the first @len bytes this packet's own. */
KK_INLINE int kk_make_writable(struct kk_packet *pkt, __u32 len)
{
	return len <= pkt->writable ? 0 : skb_ensure_writable(pkt->skb, len);
}

KK_INLINE int kk_env_store(struct kk_packet *pkt, __u32 offset, const void *from, __u32 len)
{
	if (unlikely(offset + len > pkt->skb->len || kk_make_writable(pkt, offset + len)))
		return -1;
	memcpy(pkt->skb->data + offset, from, len);
	return 0;
}

KK_INLINE int kk_env_trim(struct kk_packet *pkt, __u32 len)
{
	struct sk_buff *skb = pkt->skb;

	pkt->writable = 0;
	if (skb->ip_summed == CHECKSUM_COMPLETE)
		skb->ip_summed = CHECKSUM_NONE;
	if (skb_is_gso(skb))
		skb_gso_reset(skb);
	return pskb_trim(skb, len);
}

KK_INLINE int kk_env_push(struct kk_packet *pkt, __u32 len)
{
	struct sk_buff *skb = pkt->skb;

	pkt->writable = 0;
	if (skb_cow_head(skb, LL_MAX_HEADER + len))
		return -1;
	skb_push(skb, len);
	skb_reset_network_header(skb);
	return 0;
}

/* Where the transport checksum is; NULL: it is to be left alone (@r 0), or memory is short (@r -1). */
static inline __sum16 *kk_check_at(struct kk_packet *pkt, __u32 offset, __u32 flags, int *r)
{
	struct sk_buff *skb = pkt->skb;
	__sum16 *check;

	*r = -1;
	if (unlikely(offset + sizeof(*check) > skb->len ||
		     kk_make_writable(pkt, offset + sizeof(*check))))
		return NULL;
	*r = 0;
	check = (__sum16 *)(skb->data + offset);
	return flags & KK_CSUM_ZERO_IS_NONE && !*check ? NULL : check;
}

static inline void kk_check_done(__sum16 *check, __u32 flags)
{
	if (flags & KK_CSUM_ZERO_IS_NONE && !*check)
		*check = CSUM_MANGLED_0;
}

KK_INLINE int kk_env_csum(struct kk_packet *pkt, __u32 offset, __u32 from, __u32 to, __u32 size,
			  __u32 flags)
{
	bool pseudo = flags & KK_CSUM_PSEUDO;
	int r;
	__sum16 *check = kk_check_at(pkt, offset, flags, &r);

	if (!check)
		return r;
	if (likely(pkt->skb->ip_summed <
		   CHECKSUM_COMPLETE)) /* nothing but the field is to change */
		*check = (__force __sum16)kk_csum_replace((__force __be16)*check, from, to);
	else if (size == sizeof(__be16))
		inet_proto_csum_replace2(check, pkt->skb, (__force __be16)from, (__force __be16)to,
					 pseudo);
	else
		inet_proto_csum_replace4(check, pkt->skb, (__force __be32)from, (__force __be32)to,
					 pseudo);
	kk_check_done(check, flags);
	return 0;
}

/* A sum of the whole packet. */
KK_INLINE void kk_env_sum6(struct kk_packet *pkt, __u32 diff)
{
	if (pkt->skb->ip_summed == CHECKSUM_COMPLETE)
		pkt->skb->csum = csum_add(pkt->skb->csum, (__force __wsum)diff);
}

/*
 * The addresses of IPv6 and their correction in the transport checksum cancel each other out in the sum of the
 * whole packet, so that is left alone: inet_proto_csum_replace_by_diff() would do so from 6.16 on only.
 */
KK_INLINE int kk_env_csum6(struct kk_packet *pkt, __u32 offset, __u32 diff, __u32 flags)
{
	int r;
	__sum16 *check = kk_check_at(pkt, offset, flags, &r);

	if (!check)
		return r;
	if (pkt->skb->ip_summed == CHECKSUM_PARTIAL)
		*check = ~csum_fold(csum_add((__force __wsum)diff, csum_unfold(*check)));
	else
		*check = csum_fold(csum_add((__force __wsum)diff, ~csum_unfold(*check)));
	kk_check_done(check, flags);
	return 0;
}

/* Room for the next link's header is made where that is known. */
KK_INLINE int kk_env_link(struct kk_packet *pkt, __u8 family, enum kk_direction direction)
{
	return 0;
}

KK_INLINE const volatile struct kk_settings *kk_env_settings(const struct kk_packet *pkt)
{
	return &pkt->tables->set;
}

KK_INLINE __u64 kk_env_listener(const struct kk_packet *pkt, __u32 index)
{
	return kk_tables_word(pkt->tables, index);
}

KK_INLINE struct kk_origin kk_env_origin(const struct kk_packet *pkt,
					 const struct kk_origin_key *key)
{
	return kk_tables_origin(pkt->tables, key);
}

/* Packets on their way are whole (defrag.h). */
KK_INLINE struct kk_fragment kk_env_fragment(const struct kk_packet *pkt,
					     const struct kk_fragment_key *key)
{
	const struct kk_fragment *found = NULL;

	if (pkt->trial)
		found = kk_trial_find(pkt->trial, KK_TRIAL_FRAGMENT, key, sizeof(*key));
	return found ? *found : (struct kk_fragment){0};
}

KK_INLINE int kk_env_fragment_put(const struct kk_packet *pkt, const struct kk_fragment_key *key,
				  const struct kk_fragment *fragment)
{
	if (!pkt->trial)
		return 0;
	return kk_trial_put(pkt->trial, KK_TRIAL_FRAGMENT, key, sizeof(*key), fragment,
			    sizeof(*fragment))
		       ? 0
		       : -1;
}

KK_INLINE __u64 kk_env_group(const struct kk_packet *pkt, __u32 index)
{
	return kk_groups_element(&pkt->tables->listeners->groups, index);
}

KK_INLINE __u64 kk_env_now(const struct kk_packet *pkt)
{
	return pkt->trial && pkt->trial->now ? pkt->trial->now : ktime_get_ns();
}

KK_INLINE __u64 kk_env_lately(const struct kk_packet *pkt)
{
	return pkt->trial && pkt->trial->now ? pkt->trial->now : ktime_get_coarse_ns();
}

KK_INLINE __u64 kk_env_features(const struct kk_packet *pkt)
{
	__u64 features = READ_ONCE(pkt->net->bans.features) | KK_FEATURE_SYN_COOKIES;

	if (kk_lists_has_gateway(&pkt->tables->listeners->lists))
		features |= KK_FEATURE_LIST;
	if (pkt->tables->flags & KK_SETTINGS_F_CLOSED_PORTS)
		features |= KK_FEATURE_CLOSED_PORTS;
	return features;
}

/* There is none: everybody is looked up. */
KK_INLINE __u64 kk_env_sieve(const struct kk_packet *pkt, __u32 index)
{
	return 0;
}

KK_INLINE const volatile struct kk_shut *kk_env_shut(const struct kk_packet *pkt, __u32 index)
{
	return NULL;
}

/*
 * Policies have no numbers here: each service that has a guard has its own, found by its slot. So the core, which
 * always asks for a service and then for its policy, is given the one of the slot that it asked for last.
 */
KK_INLINE __u64 kk_env_service(const struct kk_packet *pkt, __u32 slot)
{
	const struct kk_service *service = kk_services_at(&pkt->net->services, slot);
	union kk_service_slot word = {.id = service ? service->id : 0, .state = KK_SLOT_USED};

	pkt->work->slot = slot;
	word.policy = !!kk_guards_at(&pkt->tables->listeners->guards, slot);
	return word.word;
}

KK_INLINE const struct kk_policy *kk_env_policy(const struct kk_packet *pkt, __u32 number)
{
	static const struct kk_policy none;
	const struct kk_guard *guard =
		kk_guards_at(&pkt->tables->listeners->guards, pkt->work->slot);

	/* It has just lost its guard. */
	return likely(guard) ? &guard->policy : &none;
}

KK_INLINE enum kk_list_verdict kk_env_list(const struct kk_packet *pkt,
					   const struct kk_list_key *key)
{
	return kk_lists_find(&pkt->tables->listeners->lists, key);
}

KK_INLINE __u64 kk_env_ban(const struct kk_packet *pkt, const struct kk_ban_key *key)
{
	return kk_bans_until(&pkt->net->bans, key);
}

KK_INLINE struct kk_source *kk_env_source(const struct kk_packet *pkt,
					  const struct kk_source_key *key)
{
	pkt->work->source = *key;
	if (unlikely(pkt->trial))
		return kk_trial_source(pkt->trial, KK_TRIAL_SOURCE, &pkt->net->sources, key);
	return kk_sources_get(&pkt->net->sources, key, true);
}

KK_INLINE struct kk_snat_flow *kk_env_snat(const struct kk_packet *pkt,
					   const struct kk_snat_key *key)
{
	struct kk_flow_entry *entry;

	if (unlikely(pkt->trial))
		return kk_trial_flow(pkt->trial, &pkt->net->flows, key);
	entry = kk_flows_find(&pkt->net->flows, key);
	if (!entry)
		return NULL;
	pkt->work->flow = entry;
	return &entry->flow;
}

KK_INLINE struct kk_snat_flow *kk_env_snat_put(const struct kk_packet *pkt,
					       const struct kk_snat_key *key,
					       const struct kk_snat_flow *flow)
{
	struct kk_flow_entry *entry;

	if (unlikely(pkt->trial))
		return kk_trial_put(pkt->trial, KK_TRIAL_FLOW, key, sizeof(*key), flow,
				    sizeof(*flow));
	entry = kk_flows_put(&pkt->net->flows, key, flow);
	if (!entry)
		return NULL;
	pkt->work->flow = entry;
	return &entry->flow;
}

KK_INLINE struct kk_scratch *kk_env_scratch(const struct kk_packet *pkt)
{
	return &pkt->work->scratch;
}

KK_INLINE void kk_env_count(struct kk_packet *pkt, enum kk_reason reason, __u32 bytes)
{
	if (unlikely(pkt->trial))
		return;
	this_cpu_inc(pkt->net->counters[reason].packets);
	this_cpu_add(pkt->net->counters[reason].bytes, bytes);
}

KK_INLINE void kk_env_count_service(struct kk_packet *pkt, __u32 service,
				    enum kk_direction direction, __u32 bytes)
{
	if (unlikely(pkt->trial))
		return;
	kk_services_count(&pkt->net->services, service, direction, bytes);
	if (unlikely(pkt->work->flow))
		kk_flow_count(pkt->work->flow, direction, bytes);
}

#endif
