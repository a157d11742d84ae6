// SPDX-License-Identifier: MIT
#include "core/user.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <kk/core/csum.h>
#include <kk/core/env.h>
#include <kk/core/sieve.h>

#include "core/note.h"

struct kk_packet {
	struct kk_user *user;
	struct kk_user_packet *p;
};

/* Nobody listens as a rule. */
#define NOTE(pkt, table, ...)                                                                      \
	do {                                                                                       \
		if (KK_RARELY((pkt)->user->note))                                                  \
			kk_note_##table((pkt)->user, ##__VA_ARGS__);                               \
	} while (0)

KK_INLINE __u32 kk_env_len(const struct kk_packet *pkt)
{
	return pkt->p->len;
}

KK_INLINE __u32 kk_env_gso(const struct kk_packet *pkt)
{
	return pkt->p->gso_size;
}

KK_INLINE int kk_env_load(const struct kk_packet *pkt, __u32 offset, void *to, __u32 len)
{
	if (len > pkt->p->len || offset > pkt->p->len - len)
		return -1;
	memcpy(to, pkt->p->data + offset, len);
	return 0;
}

KK_INLINE int kk_env_store(struct kk_packet *pkt, __u32 offset, const void *from, __u32 len)
{
	if (len > pkt->p->len || offset > pkt->p->len - len)
		return -1;
	memcpy(pkt->p->data + offset, from, len);
	return 0;
}

KK_INLINE int kk_env_trim(struct kk_packet *pkt, __u32 len)
{
	pkt->p->len = len;
	pkt->p->gso_size = 0;
	return 0;
}

KK_INLINE int kk_env_push(struct kk_packet *pkt, __u32 len)
{
	assert(len <= KK_USER_HEADROOM);
	pkt->p->data -= len;
	pkt->p->len += len;
	return 0;
}

KK_INLINE int kk_env_csum(struct kk_packet *pkt, __u32 offset, __u32 from, __u32 to, __u32 size,
			  __u32 flags)
{
	__be16 check;

	(void)size; /* to a one's complement sum a short field is a long one, half of it zero */
	if (kk_env_load(pkt, offset, &check, sizeof(check)))
		return -1;
	if ((flags & KK_CSUM_ZERO_IS_NONE) && check == 0)
		return 0;
	if (!pkt->p->partial)
		check = kk_csum_replace(check, from, to);
	else if (flags & KK_CSUM_PSEUDO) /* a sum, not yet its complement */
		check = (__be16)~kk_csum_replace((__be16)~check, from, to);
	if ((flags & KK_CSUM_ZERO_IS_NONE) && check == 0)
		check = 0xffff;
	return kk_env_store(pkt, offset, &check, sizeof(check));
}

KK_INLINE int kk_env_csum6(struct kk_packet *pkt, __u32 offset, __u32 diff, __u32 flags)
{
	__be16 check;

	if (kk_env_load(pkt, offset, &check, sizeof(check)))
		return -1;
	if ((flags & KK_CSUM_ZERO_IS_NONE) && check == 0)
		return 0;
	if (pkt->p->partial)
		check = (__be16)~kk_csum_apply((__be16)~check, diff);
	else
		check = kk_csum_apply(check, diff);
	if ((flags & KK_CSUM_ZERO_IS_NONE) && check == 0)
		check = 0xffff;
	return kk_env_store(pkt, offset, &check, sizeof(check));
}

KK_INLINE void kk_env_sum6(struct kk_packet *pkt, __u32 diff)
{
	if (pkt->p->complete)
		pkt->p->sum = kk_csum_add(pkt->p->sum, diff);
}

/* What the packet leaves by is up to the caller. */
KK_INLINE int kk_env_link(struct kk_packet *pkt, __u8 family, enum kk_direction direction)
{
	(void)pkt;
	(void)family;
	(void)direction;
	return 0;
}

KK_INLINE const volatile struct kk_settings *kk_env_settings(const struct kk_packet *pkt)
{
	return &pkt->user->settings;
}

KK_INLINE __u64 kk_env_listener(const struct kk_packet *pkt, __u32 index)
{
	NOTE(pkt, listener, index, pkt->user->listeners[index]);
	return pkt->user->listeners[index];
}

KK_INLINE struct kk_origin kk_env_origin(const struct kk_packet *pkt,
					 const struct kk_origin_key *key)
{
	const struct kk_origin *found = kk_map_get(&pkt->user->origins, key);

	NOTE(pkt, origin, key, found);
	return found ? *found : (struct kk_origin){0};
}

KK_INLINE struct kk_fragment kk_env_fragment(const struct kk_packet *pkt,
					     const struct kk_fragment_key *key)
{
	const struct kk_fragment *found = kk_map_get(&pkt->user->fragments, key);

	NOTE(pkt, fragment, key, found);
	return found ? *found : (struct kk_fragment){0};
}

KK_INLINE int kk_env_fragment_put(const struct kk_packet *pkt, const struct kk_fragment_key *key,
				  const struct kk_fragment *fragment)
{
	return kk_map_put(&pkt->user->fragments, key, fragment) ? 0 : -1;
}

KK_INLINE __u64 kk_env_group(const struct kk_packet *pkt, __u32 index)
{
	__u64 word = index < KK_GROUPS_MAX * KK_MAGLEV_SIZE ? pkt->user->groups[index] : 0;

	NOTE(pkt, group, index, word);
	return word;
}

KK_INLINE __u64 kk_env_now(const struct kk_packet *pkt)
{
	struct timespec now;

	if (pkt->user->now)
		return pkt->user->now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (__u64)now.tv_sec * 1000000000 + (__u64)now.tv_nsec;
}

KK_INLINE __u64 kk_env_lately(const struct kk_packet *pkt)
{
	return kk_env_now(pkt);
}

KK_INLINE __u64 kk_env_features(const struct kk_packet *pkt)
{
	NOTE(pkt, features);
	return pkt->user->features;
}

/* Everybody is looked up: what the sieve lets pass elsewhere must be the same here. */
KK_INLINE __u64 kk_env_sieve(const struct kk_packet *pkt, __u32 index)
{
	(void)pkt;
	(void)index;
	return 0;
}

KK_INLINE const volatile struct kk_shut *kk_env_shut(const struct kk_packet *pkt, __u32 index)
{
	(void)pkt;
	(void)index;
	return NULL;
}

KK_INLINE __u64 kk_env_service(const struct kk_packet *pkt, __u32 slot)
{
	if (slot >= KK_SERVICES_MAX)
		return 0;
	NOTE(pkt, service, slot);
	return pkt->user->services[slot].word;
}

KK_INLINE const struct kk_policy *kk_env_policy(const struct kk_packet *pkt, __u32 number)
{
	if (number >= KK_POLICIES_MAX)
		return NULL;
	NOTE(pkt, policy, number);
	return &pkt->user->policies[number];
}

#define LIST_BITS 32 /* before the address */

/* The longest prefix first. */
KK_INLINE enum kk_list_verdict kk_env_list(const struct kk_packet *pkt,
					   const struct kk_list_key *key)
{
	struct kk_list_key shorter = *key;
	uint8_t *bytes = (uint8_t *)&shorter.address;

	for (;;) {
		const struct kk_list_entry *found =
			pkt->user->lists.n ? kk_map_get(&pkt->user->lists, &shorter) : NULL;

		if (found || !pkt->user->lists.n || shorter.prefix_len == LIST_BITS) {
			NOTE(pkt, list, key, &shorter, found);
			return found ? found->verdict : KK_LIST_NONE;
		}
		shorter.prefix_len--;
		bytes[(shorter.prefix_len - LIST_BITS) / 8] &=
			(uint8_t) ~(0x80 >> (shorter.prefix_len - LIST_BITS) % 8);
	}
}

KK_INLINE __u64 kk_env_ban(const struct kk_packet *pkt, const struct kk_ban_key *key)
{
	const __u64 *until = kk_map_get(&pkt->user->bans, key);

	NOTE(pkt, ban, key, until ? *until : 0, kk_env_now(pkt));
	return until ? *until : 0;
}

KK_INLINE struct kk_source *kk_env_source(const struct kk_packet *pkt,
					  const struct kk_source_key *key)
{
	struct kk_source *found = kk_map_get(&pkt->user->sources, key);

	NOTE(pkt, source, key, found, kk_env_now(pkt));
	return found ? found : kk_map_put(&pkt->user->sources, key, NULL);
}

KK_INLINE struct kk_snat_flow *kk_env_snat(const struct kk_packet *pkt,
					   const struct kk_snat_key *key)
{
	struct kk_snat_flow *found = kk_map_get(&pkt->user->snat, key);

	NOTE(pkt, snat, key, found, kk_env_now(pkt));
	return found;
}

KK_INLINE struct kk_snat_flow *kk_env_snat_put(const struct kk_packet *pkt,
					       const struct kk_snat_key *key,
					       const struct kk_snat_flow *flow)
{
	struct kk_snat_flow *found = kk_map_get(&pkt->user->snat, key);

	return found ? found : kk_map_put(&pkt->user->snat, key, flow);
}

KK_INLINE struct kk_scratch *kk_env_scratch(const struct kk_packet *pkt)
{
	return &pkt->user->scratch;
}

struct kk_plain;

KK_INLINE struct kk_plain *kk_env_plain(struct kk_packet *pkt)
{
	return pkt->p->len < KK_PLAIN_LEN ? NULL : (struct kk_plain *)pkt->p->data;
}

static void add(struct kk_counter *counter, __u32 bytes)
{
	counter->packets++;
	counter->bytes += bytes;
}

KK_INLINE void kk_env_count(struct kk_packet *pkt, enum kk_reason reason, __u32 bytes)
{
	add(&pkt->user->counters[reason], bytes);
}

KK_INLINE void kk_env_count_service(struct kk_packet *pkt, __u32 service,
				    enum kk_direction direction, __u32 bytes)
{
	add(&pkt->user->traffic[service].direction[direction], bytes);
}

#include "core/user_edge_env.h"
#include <kk/core/edge.h>
#define KK_PLAIN_ORIGINS 1 /* all that a host may do */
#include <kk/core/plain.h>

#define MAP(key_type, value_type, max_)                                                            \
	((struct kk_map){                                                                          \
		.key_size = sizeof(key_type), .value_size = sizeof(value_type), .max = (max_)})

struct kk_user *kk_user_new(void)
{
	struct kk_user *user = calloc(1, sizeof(*user));

	if (!user)
		return NULL;
	user->origins = MAP(struct kk_origin_key, struct kk_origin, KK_ORIGINS_MAX);
	user->fragments = MAP(struct kk_fragment_key, struct kk_fragment, 0);
	user->lists = MAP(struct kk_list_key, struct kk_list_entry, KK_LIST_ENTRIES_MAX);
	user->bans = MAP(struct kk_ban_key, __u64, KK_BANS_MAX);
	user->sources = MAP(struct kk_source_key, struct kk_source, 0);
	user->edge.verified = MAP(struct kk_in6, __u64, 0);
	user->edge.relays = MAP(struct kk_relay_key, struct kk_relay, KK_RELAYS_MAX);
	user->snat = MAP(struct kk_snat_key, struct kk_snat_flow, 0);
	return user;
}

void kk_user_free(struct kk_user *user)
{
	if (!user)
		return;
	kk_map_clean(&user->origins);
	kk_map_clean(&user->fragments);
	kk_map_clean(&user->lists);
	kk_map_clean(&user->bans);
	kk_map_clean(&user->sources);
	kk_map_clean(&user->edge.verified);
	kk_map_clean(&user->edge.relays);
	kk_map_clean(&user->snat);
	free(user);
}

void kk_user_forget(struct kk_user *user)
{
	kk_map_clear(&user->fragments);
	kk_map_clear(&user->sources);
	kk_map_clear(&user->edge.verified);
	kk_map_clear(&user->snat);
}

void kk_user_publish(struct kk_user *user, const struct kk_user_listener *l)
{
	bool group = l->flags & KK_LISTENER_GROUP, snat = l->flags & KK_LISTENER_SNAT;
	uint32_t offset = group ? l->agent : kk_pool_offset(l->agent, user->settings.pool_mask);

	assert(l->service > 0 && l->service < KK_SERVICES_MAX);
	user->listeners[kk_listener_index(l->slot, l->protocol, l->port)] =
		kk_listener_word(offset, l->agent_port, l->service, l->flags);
	if (!group && !snat && (l->port != l->agent_port || l->slot > 1))
		kk_user_origin(user, l, l->agent);
}

void kk_user_origin(struct kk_user *user, const struct kk_user_listener *l, __be32 agent)
{
	const struct kk_origin_key key = {
		.address = agent,
		.port = KK_BE16(l->agent_port),
		.protocol = l->protocol,
		.family = kk_slot_family(l->slot),
	};
	const struct kk_origin value = {
		.port = KK_BE16(l->port),
		.slot = (__u16)l->slot,
		.service = l->service,
	};
	void *entered = kk_map_put(&user->origins, &key, &value);

	assert(entered);
	(void)entered;
}

enum kk_reason kk_user_forward(struct kk_user *user, struct kk_user_packet *packet,
			       enum kk_direction direction)
{
	struct kk_packet pkt = {.user = user, .p = packet};

	if (packet->len && packet->data[0] >> 4 == KK_IP6)
		return kk_forward(&pkt, KK_IP6, direction);
	return kk_forward(&pkt, KK_IP4, direction);
}

enum kk_reason kk_user_edge(struct kk_user *user, struct kk_user_packet *packet)
{
	struct kk_packet pkt = {.user = user, .p = packet};

	if (packet->len && packet->data[0] >> 4 == KK_IP6)
		return kk_edge(&pkt, KK_IP6, KK_EDGE_CHECKS | KK_EDGE_RELAY);
	return kk_edge(&pkt, KK_IP4, KK_EDGE_CHECKS | KK_EDGE_RELAY);
}

enum kk_reason kk_user_plain(struct kk_user *user, struct kk_user_packet *packet,
			     enum kk_direction direction, bool edge)
{
	struct kk_packet pkt = {.user = user, .p = packet};

	return edge ? kk_plain(&pkt, direction, 1) : kk_plain(&pkt, direction, 0);
}

enum kk_reason kk_user_guard(struct kk_user *user, __u64 word, const struct kk_in6 *source,
			     bool opens)
{
	const struct kk_packet pkt = {.user = user};
	enum kk_reason reason = kk_check_gateway(&pkt, kk_env_features(&pkt), word, source);

	if (reason == KK_REASON_INBOUND && (word & KK_LISTENER_GUARDED))
		reason = kk_check_service(&pkt, word, source, opens);
	return reason;
}
