/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The edge's environment in the kernel proper: sockets of the namespace, floods by service. Sessions are not relayed
 * here: XDP and tc do that, which have the frame.
 */
#ifndef KK_KMOD_ENV_EDGE_H
#define KK_KMOD_ENV_EDGE_H

#include <kk/core/edge_env.h>

#include "kmod/env.h"
#include "kmod/socket.h"

KK_INLINE const volatile struct kk_edge_settings *kk_env_edge(const struct kk_packet *pkt)
{
	return &pkt->tables->edge;
}

KK_INLINE int kk_env_wanted(const struct kk_packet *pkt, __u8 family, __u8 protocol,
			    const struct kk_in6 *source, const struct kk_in6 *dest,
			    __be16 source_port, __be16 dest_port)
{
	return kk_socket_wants(pkt->net, family, protocol, source, dest, source_port, dest_port);
}

KK_INLINE struct kk_flood *kk_env_flood(const struct kk_packet *pkt, __u32 slot)
{
	struct kk_service *service = kk_services_at(&pkt->net->services, slot);

	if (unlikely(!service))
		return NULL;
	return unlikely(pkt->trial) ? kk_trial_flood(pkt->trial, service) : &service->flood;
}

/* Of no service: until when stands in the place of when a bucket is full. */
KK_INLINE __u64 kk_env_verified(const struct kk_packet *pkt, const struct kk_in6 *source)
{
	const struct kk_source_key key = {.address = *source};
	const struct kk_source *found;

	if (unlikely(pkt->trial))
		found = kk_trial_source(pkt->trial, KK_TRIAL_VERIFIED, &pkt->net->verified, &key);
	else
		found = kk_sources_get(&pkt->net->verified, &key, false);
	return found ? READ_ONCE(found->packets) : 0;
}

KK_INLINE void kk_env_verify(const struct kk_packet *pkt, const struct kk_in6 *source, __u64 until)
{
	const struct kk_source_key key = {.address = *source};
	struct kk_source *found;

	if (unlikely(pkt->trial))
		found = kk_trial_source(pkt->trial, KK_TRIAL_VERIFIED, &pkt->net->verified, &key);
	else
		found = kk_sources_get(&pkt->net->verified, &key, true);
	if (found)
		WRITE_ONCE(found->packets, until);
}

KK_INLINE struct kk_relay *kk_env_relay(const struct kk_packet *pkt, const struct kk_relay_key *key)
{
	return NULL;
}

KK_INLINE void kk_env_hear(const struct kk_packet *pkt, struct kk_relay *from)
{
}

KK_INLINE int kk_env_shorten(struct kk_packet *pkt, __u32 len)
{
	return kk_env_trim(pkt, len);
}

/* It is routed to its new destination. */
KK_INLINE int kk_env_back(struct kk_packet *pkt)
{
	return 0;
}

KK_INLINE int kk_env_to(struct kk_packet *pkt, const struct kk_relay *to)
{
	return -1;
}

#endif
