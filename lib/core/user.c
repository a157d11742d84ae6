// SPDX-License-Identifier: MIT
#include "core/user.h"

#include <assert.h>
#include <string.h>

#include <kk/core/csum.h>
#include <kk/core/env.h>

struct kk_packet {
	struct kk_user *user;
	struct kk_user_packet *p;
};

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

/* What the packet leaves by is up to the caller. */
KK_INLINE int kk_env_link(struct kk_packet *pkt, enum kk_direction direction)
{
	(void)pkt;
	(void)direction;
	return 0;
}

KK_INLINE const volatile struct kk_settings *kk_env_settings(const struct kk_packet *pkt)
{
	return &pkt->user->settings;
}

KK_INLINE __u64 kk_env_listener(const struct kk_packet *pkt, __u32 index)
{
	return pkt->user->listeners[index];
}

KK_INLINE struct kk_origin kk_env_origin(const struct kk_packet *pkt,
					 const struct kk_origin_key *key)
{
	for (size_t i = 0; i < pkt->user->n_origins; i++)
		if (memcmp(&pkt->user->origins[i].key, key, sizeof(*key)) == 0)
			return pkt->user->origins[i].value;
	return (struct kk_origin){0};
}

static size_t fragment_slot(const struct kk_user *user, const struct kk_fragment_key *key)
{
	const uint8_t *byte = (const uint8_t *)key;
	uint32_t hash = 2166136261u; /* FNV-1a */
	size_t i;

	for (size_t n = 0; n < sizeof(*key); n++)
		hash = (hash ^ byte[n]) * 16777619u;
	i = (hash ^ hash >> 16) % KK_USER_FRAGMENTS;

	while (user->fragments[i].value.port &&
	       memcmp(&user->fragments[i].key, key, sizeof(*key)) != 0)
		i = (i + 1) % KK_USER_FRAGMENTS;
	return i;
}

KK_INLINE struct kk_fragment kk_env_fragment(const struct kk_packet *pkt,
					     const struct kk_fragment_key *key)
{
	return pkt->user->fragments[fragment_slot(pkt->user, key)].value;
}

/* One slot stays free, so that every search ends. */
KK_INLINE int kk_env_fragment_put(const struct kk_packet *pkt, const struct kk_fragment_key *key,
				  const struct kk_fragment *fragment)
{
	size_t slot = fragment_slot(pkt->user, key);

	if (!pkt->user->fragments[slot].value.port) {
		if (pkt->user->n_fragments == KK_USER_FRAGMENTS - 1)
			return -1;
		pkt->user->n_fragments++;
	}
	pkt->user->fragments[slot].key = *key;
	pkt->user->fragments[slot].value = *fragment;
	return 0;
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

#include <kk/core/forward.h>

void kk_user_publish(struct kk_user *user, const struct kk_user_listener *l)
{
	uint32_t offset = kk_pool_offset(l->agent, user->settings.pool_mask);

	assert(l->service > 0 && l->service < KK_USER_SERVICES);
	user->listeners[kk_listener_index(l->slot, l->protocol, l->port)] =
		kk_listener_word(offset, l->agent_port, l->service, 0);
	if (l->port == l->agent_port && l->slot < 2)
		return;
	assert(user->n_origins < KK_USER_ORIGINS);
	user->origins[user->n_origins].key = (struct kk_origin_key){
		.address = l->agent,
		.port = KK_BE16(l->agent_port),
		.protocol = l->protocol,
		.family = kk_slot_family(l->slot),
	};
	user->origins[user->n_origins++].value = (struct kk_origin){
		.port = KK_BE16(l->port),
		.slot = (__u16)l->slot,
		.service = l->service,
	};
}

enum kk_reason kk_user_forward(struct kk_user *user, struct kk_user_packet *packet,
			       enum kk_direction direction)
{
	struct kk_packet pkt = {.user = user, .p = packet};

	return kk_forward(&pkt, direction);
}
