/* SPDX-License-Identifier: MIT */
/* kk_edge()'s environment in user space; only lib/core/user.c includes it. */
#ifndef KK_CORE_USER_EDGE_ENV_H
#define KK_CORE_USER_EDGE_ENV_H

#include <kk/core/edge_env.h>

#include "core/user.h"

KK_INLINE const volatile struct kk_edge_settings *kk_env_edge(const struct kk_packet *pkt)
{
	return &pkt->user->edge.settings;
}

static int has_socket(const struct kk_packet *pkt, __u8 protocol, __be16 port)
{
	const struct kk_user_edge *edge = &pkt->user->edge;

	for (size_t i = 0; i < edge->n_wanted; i++)
		if (edge->wanted[i].protocol == protocol && edge->wanted[i].port == port)
			return 1;
	return 0;
}

KK_INLINE int kk_env_wanted(const struct kk_packet *pkt, __u8 family, __u8 protocol,
			    const struct kk_in6 *source, const struct kk_in6 *dest,
			    __be16 source_port, __be16 dest_port)
{
	const struct kk_user_edge *edge = &pkt->user->edge;
	const struct kk_user_tuple tuple = {.family = family,
					    .protocol = protocol,
					    .source = *source,
					    .dest = *dest,
					    .source_port = source_port,
					    .dest_port = dest_port};
	int wanted = edge->wants ? edge->wants(edge->wants_data, &tuple)
				 : has_socket(pkt, protocol, dest_port);

	NOTE(pkt, wanted, &tuple, wanted);
	return wanted;
}

KK_INLINE struct kk_flood *kk_env_flood(const struct kk_packet *pkt, __u32 service)
{
	if (service >= KK_SERVICES_MAX)
		return NULL;
	NOTE(pkt, flood, service, kk_env_now(pkt));
	return &pkt->user->edge.floods[service];
}

KK_INLINE __u64 kk_env_verified(const struct kk_packet *pkt, const struct kk_in6 *source)
{
	const uint64_t *until = kk_map_get(&pkt->user->edge.verified, source);

	NOTE(pkt, verified, source, until ? *until : 0, kk_env_now(pkt));
	return until ? *until : 0;
}

KK_INLINE void kk_env_verify(const struct kk_packet *pkt, const struct kk_in6 *source, __u64 until)
{
	const uint64_t value = until;

	kk_map_put(&pkt->user->edge.verified, source, &value);
}

KK_INLINE struct kk_relay *kk_env_relay(const struct kk_packet *pkt, const struct kk_relay_key *key)
{
	struct kk_relay *found = kk_map_get(&pkt->user->edge.relays, key);

	NOTE(pkt, relay, key, found, kk_env_now(pkt));
	return found;
}

KK_INLINE void kk_env_hear(const struct kk_packet *pkt, struct kk_relay *from)
{
	(void)pkt;
	from->ifindex = 1;
}

KK_INLINE int kk_env_shorten(struct kk_packet *pkt, __u32 len)
{
	return kk_env_trim(pkt, len);
}

/* What the packet leaves by is up to the caller. */
KK_INLINE int kk_env_back(struct kk_packet *pkt)
{
	(void)pkt;
	return 0;
}

KK_INLINE int kk_env_to(struct kk_packet *pkt, const struct kk_relay *to)
{
	(void)pkt;
	(void)to;
	return 0;
}

#endif
