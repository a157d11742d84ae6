/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Who may reach a published port: lists and bans of the whole gateway, and what one service asks of its
 * clients. Only packets to published ports are judged, so none of it can shut the gateway's own ports.
 */
#ifndef KK_CORE_GUARD_H
#define KK_CORE_GUARD_H

#include <kk/core/bucket.h>
#include <kk/core/env.h>
#include <kk/core/sieve.h>

/*
 * Whom bans and limits mean: of IPv4 the address, of IPv6 the /64, for whoever has one address of it has
 * them all (RFC 6177 section 2).
 */
KK_INLINE struct kk_in6 kk_subscriber(const struct kk_in6 *address)
{
	struct kk_in6 one = *address;

	if (!kk_is_mapped(address))
		one.word[2] = one.word[3] = 0;
	return one;
}

KK_INLINE enum kk_list_verdict kk_check_list(const struct kk_packet *pkt, __u32 list,
					     const struct kk_in6 *source)
{
	const struct kk_list_key key = {
		.prefix_len = 8 * (sizeof(key.list) + sizeof(key.address)),
		.list = kk_list_number(list, kk_is_mapped(source) ? KK_IP4 : KK_IP6),
		.address = *source,
	};

	return kk_env_list(pkt, &key);
}

KK_INLINE union kk_service_slot kk_service_of(const struct kk_packet *pkt, __u64 word)
{
	return (union kk_service_slot){.word = kk_env_service(pkt, kk_listener_service(word))};
}

/* @service is an id, 0 for the whole gateway. */
KK_INLINE int kk_is_banned(const struct kk_packet *pkt, __u32 service, const struct kk_in6 *source)
{
	const struct kk_ban_key key = {.address = kk_subscriber(source), .service = service};
	__u64 until = kk_env_ban(pkt, &key);

	return until && until > kk_env_lately(pkt);
}

/* kk_check_gateway() of a source that the sieve has said @sieved of. */
KK_INLINE enum kk_reason kk_check_sieved(const struct kk_packet *pkt, __u64 features, __u64 word,
					 const struct kk_in6 *source, enum kk_sieved sieved)
{
	if (sieved == KK_SIEVED_CLEAR)
		return KK_REASON_INBOUND;
	if (sieved != KK_SIEVED_SERVED) {
		if ((features & KK_FEATURE_LIST) && sieved != KK_SIEVED_BANNED &&
		    (sieved == KK_SIEVED_DENIED ||
		     kk_check_list(pkt, KK_LIST_GATEWAY, source) == KK_LIST_DENY))
			return KK_REASON_DENIED;
		if ((features & KK_FEATURE_BANS) &&
		    (sieved == KK_SIEVED_BANNED || kk_is_banned(pkt, 0, source)))
			return KK_REASON_BANNED;
	}
	if ((features & KK_FEATURE_SERVICE_BANS) &&
	    kk_is_banned(pkt, kk_service_of(pkt, word).id, source))
		return KK_REASON_BANNED;
	return KK_REASON_INBOUND;
}

/*
 * For a packet from @source to listener @word, whichever: KK_REASON_INBOUND or why it is dropped.
 * @features are kk_env_features(), read once for each packet.
 */
KK_INLINE enum kk_reason kk_check_gateway(const struct kk_packet *pkt, __u64 features, __u64 word,
					  const struct kk_in6 *source)
{
	if (!KK_RARELY(features & KK_FEATURE_SOURCES))
		return KK_REASON_INBOUND;
	return kk_check_sieved(pkt, features, word, source, kk_sieve_source(pkt, source));
}

KK_INLINE enum kk_reason kk_check_limits(const struct kk_packet *pkt,
					 const struct kk_policy *policy, __u32 service,
					 const struct kk_in6 *source, int opens)
{
	const struct kk_source_key key = {.service = service, .address = kk_subscriber(source)};
	__u64 now = kk_env_now(pkt);
	struct kk_source *state = kk_env_source(pkt, &key);

	/* Where there is no room to count there is no limit: shutting everybody out would be worse. */
	if (!state)
		return KK_REASON_INBOUND;
	if (policy->packet_interval &&
	    !kk_bucket_take(&state->packets, now, policy->packet_interval, policy->packet_slack))
		return KK_REASON_LIMITED_PACKETS;
	if (opens && policy->connection_interval &&
	    !kk_bucket_take(&state->connections, now, policy->connection_interval,
			    policy->connection_slack))
		return KK_REASON_LIMITED_CONNECTIONS;
	return KK_REASON_INBOUND;
}

/*
 * For a packet from @source to the service of listener @word, if that has KK_LISTENER_GUARDED:
 * KK_REASON_INBOUND or why it is dropped. A policy that cannot be read lets nobody in. @opens: it is a TCP segment with SYN and without ACK.
 */
KK_INLINE enum kk_reason kk_check_service(const struct kk_packet *pkt, __u64 word,
					  const struct kk_in6 *source, int opens)
{
	const union kk_service_slot slot = kk_service_of(pkt, word);
	const struct kk_policy *policy = kk_env_policy(pkt, slot.policy);
	enum kk_list_verdict verdict = KK_LIST_NONE;

	if (!policy)
		return KK_REASON_DENIED;
	if (policy->list)
		verdict = kk_check_list(pkt, policy->list, source);
	if (verdict == KK_LIST_NONE && (policy->flags & KK_POLICY_DENY))
		verdict = KK_LIST_DENY;
	if (verdict == KK_LIST_DENY)
		return KK_REASON_DENIED;
	if (policy->packet_interval || (opens && policy->connection_interval))
		return kk_check_limits(pkt, policy, slot.id, source, opens);
	return KK_REASON_INBOUND;
}

#endif
