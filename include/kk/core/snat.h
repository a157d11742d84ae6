/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Flows of services whose Agent is to see the gateway in the client's place: a plain WireGuard peer, which
 * accepts no other source and could not answer through the gateway that a flow came from. Each flow has a
 * port of the gateway's address in the peer's /24 (RFC 4787, RFC 5382; endpoint-dependent, for a peer's port
 * is told apart by its peer). Two tables with a bounded number of entries, one for each direction: what is
 * longest unused gives way.
 *
 * Where the two disagree the reverse one decides: it says whose a port is.
 */
#ifndef KK_CORE_SNAT_H
#define KK_CORE_SNAT_H

#include <kk/core/env.h>
#include <kk/core/hash.h>

/* Below the ports that the gateway's own connections begin from (Linux: 32768 to 60999). */
#define KK_SNAT_PORT_FIRST 16384
#define KK_SNAT_PORTS	   16384 /* a power of 2 */
#define KK_SNAT_PROBES	   8

#define KK_SECOND		 1000000000ULL
#define KK_SNAT_UDP_TIMEOUT	 (300 * KK_SECOND)  /* RFC 4787 REQ-5 */
#define KK_SNAT_TCP_TIMEOUT	 (7440 * KK_SECOND) /* RFC 5382 REQ-5: 2 h 4 min */
#define KK_SNAT_CLOSING_TIMEOUT	 (240 * KK_SECOND)  /* the same: 4 min */

/* Whether a port is one that flows may have. In host byte order. */
KK_INLINE int kk_is_snat_port(__u16 port)
{
	return port - KK_SNAT_PORT_FIRST < KK_SNAT_PORTS && port >= KK_SNAT_PORT_FIRST;
}

KK_INLINE __u64 kk_snat_timeout(const struct kk_snat_flow *flow, __u8 protocol)
{
	if (protocol != KK_TCP)
		return KK_SNAT_UDP_TIMEOUT;
	return flow->closing ? KK_SNAT_CLOSING_TIMEOUT : KK_SNAT_TCP_TIMEOUT;
}

KK_INLINE int kk_snat_same_client(const struct kk_snat_flow *a, const struct kk_snat_flow *b)
{
	return a->client.word[0] == b->client.word[0] && a->client.word[1] == b->client.word[1] &&
	       a->client.word[2] == b->client.word[2] && a->client.word[3] == b->client.word[3] &&
	       a->client_port == b->client_port && a->public_port == b->public_port &&
	       a->slot == b->slot;
}

/* A packet of the flow was seen; @tcp_flags are 0 of UDP. */
KK_INLINE void kk_snat_seen(struct kk_snat_flow *flow, __u64 now, __u8 tcp_flags)
{
	flow->seen = now;
	if (tcp_flags & (KK_TCP_FIN | KK_TCP_RST))
		flow->closing = 1;
	else if (tcp_flags & KK_TCP_SYN)
		flow->closing = 0;
}

/*
 * The entry of the reverse table that @wanted has at one of its ports, which @key names afterwards. A port whose flow
 * was not seen for its timeout is taken over. NULL: all that were tried belong to others.
 */
KK_INLINE struct kk_snat_flow *kk_snat_allocate(const struct kk_packet *pkt,
						struct kk_snat_key *key,
						const struct kk_snat_flow *wanted, __u32 hash)
{
	for (__u32 i = 0; i < KK_SNAT_PROBES; i++) {
		struct kk_snat_flow *found;

		/* An odd step visits every port; each flow has its own order. */
		key->port = KK_BE16(KK_SNAT_PORT_FIRST +
				    ((hash + i * ((hash >> 16) | 1)) & (KK_SNAT_PORTS - 1)));
		found = kk_env_snat(pkt, key);
		if (found && !kk_snat_same_client(found, wanted) &&
		    wanted->seen - found->seen < kk_snat_timeout(found, key->protocol))
			continue;
		found = kk_env_snat_put(pkt, key, wanted, !found);
		if (found && kk_snat_same_client(found, wanted))
			return found;
	}
	return NULL;
}

#endif
