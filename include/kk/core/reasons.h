/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Every packet leaves the core with exactly one reason, and is counted once under it. The reason
 * decides the verdict, so the two cannot disagree.
 */
#ifndef KK_CORE_REASONS_H
#define KK_CORE_REASONS_H

#include <kk/core/types.h>

/* clang-format off */
#define KK_VERDICTS(X) \
	X(PASS, "pass")             /* untouched, on to the host's stack */ \
	X(TO_TUNNEL, "tunnel")      /* rewritten, to the Agent */ \
	X(TO_NIC, "nic")            /* rewritten, or an answer of our own, to the client */ \
	X(BACK, "back")             /* our answer, or relayed: out by the link that it was readied for */ \
	X(DROP, "drop")

/* X(name, verdict, text) */
#define KK_REASONS(X) \
	X(INBOUND, TO_TUNNEL, "inbound")                  /* to a published port */ \
	X(OUTBOUND, TO_NIC, "outbound")                   /* answer of a published port */ \
	X(INBOUND_ERROR, TO_TUNNEL, "inbound_error")      /* ICMP about a packet of an Agent's */ \
	X(OUTBOUND_ERROR, TO_NIC, "outbound_error")       /* ICMP about a packet to an Agent */ \
	X(INBOUND_FRAGMENT, TO_TUNNEL, "inbound_fragment") /* of a packet to a published port */ \
	X(OUTBOUND_FRAGMENT, TO_NIC, "outbound_fragment") /* of an answer, not the first */ \
	X(TOO_BIG, TO_NIC, "too_big")                     /* for the tunnel: its sender is told */ \
	X(NOT_OURS, PASS, "not_ours")                     /* nothing is published there */ \
	X(FRAGMENT, PASS, "fragment")                     /* to the public address; of which port? */ \
	X(ANSWER, PASS, "answer")                         /* from an Agent; its gateway had asked */ \
	X(SYN_CHALLENGE, BACK, "syn_challenge")           /* of a flooded service: prove who you are */ \
	X(RELAYED, BACK, "relayed")                       /* between two nodes, as it is */ \
	X(SYN_PROOF, DROP, "syn_proof")                   /* answer to a challenge, it has done its work */ \
	X(CLOSED_PORT, DROP, "closed_port")               /* nobody here wants it */ \
	X(RELAY_UNHEARD, DROP, "relay_unheard")           /* the other end has not sent anything yet */ \
	X(MALFORMED, DROP, "malformed")                   /* a length that cannot be */ \
	X(TTL, DROP, "ttl")                               /* used up on the way here */ \
	X(MARTIAN, DROP, "martian")                       /* peer is no address of the internet */ \
	X(POOL_DESTINATION, DROP, "pool_destination")     /* from outside, addressed to an Agent */ \
	X(POOL_SOURCE, DROP, "pool_source")               /* from outside, in an Agent's name */ \
	X(SPOOFED, DROP, "spoofed")                       /* from the tunnel, not in an Agent's name */ \
	X(ISOLATED, DROP, "isolated")                     /* from an Agent to another, or a gateway */ \
	X(UNSOLICITED, DROP, "unsolicited")               /* an Agent opens where it may only answer */ \
	X(NOT_PUBLISHED, DROP, "not_published")           /* from an Agent, no published port */ \
	X(AGENT_FRAGMENT, DROP, "agent_fragment")         /* from an Agent: which port? */ \
	X(NOT_IP, DROP, "not_ip")                         /* from the tunnel */ \
	X(NO_FLOW, PASS, "no_flow")                       /* snat: of a connection that is not known */ \
	X(SNAT_EXHAUSTED, DROP, "snat_exhausted")         /* all ports tried have a flow */ \
	X(DENIED, DROP, "denied")                         /* by a list, the service's or the gateway's */ \
	X(BANNED, DROP, "banned")                         /* its source, for some time */ \
	X(LIMITED_PACKETS, DROP, "limited_packets")       /* its source sends more than it may */ \
	X(LIMITED_CONNECTIONS, DROP, "limited_connections") /* its source opens more than it may */ \
	X(HOST, DROP, "host")                             /* memory was short, say */

enum kk_verdict {
#define X(name, text) KK_##name,
	KK_VERDICTS(X)
#undef X
};

enum kk_reason {
#define X(name, verdict, text) KK_REASON_##name,
	KK_REASONS(X)
#undef X
	KK_REASON_MAX
};
/* clang-format on */

/* A switch over constants: where the reason is known at compile time nothing of it remains. */
KK_INLINE enum kk_verdict kk_verdict(enum kk_reason reason)
{
	switch (reason) {
#define X(name, verdict, text)                                                                     \
	case KK_REASON_##name:                                                                     \
		return KK_##verdict;
		KK_REASONS(X)
#undef X
	case KK_REASON_MAX:
		break;
	}
	return KK_DROP;
}

#endif
