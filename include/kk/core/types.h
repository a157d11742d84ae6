/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What every host of the forwarding core shares: packet headers as they are on the wire, and the
 * keys and values of the tables. Kernel, BPF and user space see the same bytes, so each layout is
 * asserted.
 */
#ifndef KK_CORE_TYPES_H
#define KK_CORE_TYPES_H

#include <linux/types.h>

/* Changes whenever a table's meaning or layout does: tables of another number are never adopted. */
#define KK_LAYOUT 7

#define KK_INLINE static inline __attribute__((always_inline, unused))
/* For what is long and rare, so that the short and frequent does not carry it along. */
#define KK_NOINLINE static __attribute__((__noinline__, unused))

/* In front of a loop of few and constant steps. */
#ifdef __clang__
#define KK_UNROLL _Pragma("clang loop unroll(full)")
#else
#define KK_UNROLL
#endif

/* Keeps what is rare out of the way of what is not. */
#define KK_RARELY(x) __builtin_expect(!!(x), 0)

/* A number of one kind taken for another's: sparse, which checks the kernel module, wants to be told. */
#ifdef __CHECKER__
#define KK_FORCE __attribute__((force))
#else
#define KK_FORCE
#endif

/* As it is on the wire, for what does not care which way round that is: sums, and halves of longer words. */
#define KK_RAW(x) ((KK_FORCE __u32)(x))

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define KK_SWAP16(x) __builtin_bswap16((KK_FORCE __u16)(x))
#define KK_SWAP32(x) __builtin_bswap32((KK_FORCE __u32)(x))
#else
#define KK_SWAP16(x) ((KK_FORCE __u16)(x))
#define KK_SWAP32(x) ((KK_FORCE __u32)(x))
#endif
/* Swapping is its own inverse; the second name says which way is meant. */
#define KK_BE16(x)   ((KK_FORCE __be16)KK_SWAP16(x))
#define KK_BE32(x)   ((KK_FORCE __be32)KK_SWAP32(x))
#define KK_HOST16(x) ((__u16)KK_SWAP16(x))
#define KK_HOST32(x) ((__u32)KK_SWAP32(x))

enum {
	KK_ICMP = 1,
	KK_TCP = 6,
	KK_UDP = 17,
	KK_ICMP6 = 58,
};

/* RFC 791 section 3.1, without options. */
struct kk_ip4 {
	__u8 version_ihl;
	__u8 tos;
	__be16 total;
	__be16 id;
	__be16 fragment;
	__u8 ttl;
	__u8 protocol;
	__be16 check;
	__be32 source;
	__be32 dest;
};
_Static_assert(sizeof(struct kk_ip4) == 20, "an IPv4 header without options has 20 bytes");

#define KK_IP4_DF     0x4000 /* host byte order */
#define KK_IP4_MORE   0x2000
#define KK_IP4_OFFSET 0x1fff

/* An IPv6 address; where both families may be meant, an IPv4 one is ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2). */
struct kk_in6 {
	__be32 word[4];
};
_Static_assert(sizeof(struct kk_in6) == 16, "an IPv6 address has 16 bytes");

/* RFC 8200 section 3. */
struct kk_ip6 {
	__u8 version_class;
	__u8 class_label;
	__be16 label;
	__be16 payload; /* bytes behind this header */
	__u8 next;
	__u8 hops;
	struct kk_in6 source, dest;
};
_Static_assert(sizeof(struct kk_ip6) == 40, "an IPv6 header has 40 bytes");

/* Extension headers that lead on to another (RFC 8200 section 4). */
enum {
	KK_IP6_HOP_BY_HOP = 0,
	KK_IP6_ROUTING = 43,
	KK_IP6_FRAGMENT = 44,
	KK_IP6_DESTINATION = 60,
};

/*
 * So many of them are gone over, of so many bytes in all. A packet that has more, or one of another
 * kind (authentication, encryption, mobility), is one of the protocol at which the search ended: none
 * of ours.
 */
#define KK_IP6_EXTENSIONS_MAX 4
#define KK_IP6_EXTENSIONS_LEN 128

enum kk_direction {
	KK_INBOUND,  /* a packet on the public interface */
	KK_OUTBOUND, /* a packet out of the tunnel */
};

/* Families, by the version in the first four bits of a packet. */
enum {
	KK_IP4 = 4,
	KK_IP6 = 6,
};

/*
 * Public addresses have slots: the i-th IPv4 address of a gateway slot 2 i, the i-th IPv6 address
 * slot 2 i + 1. So no slot depends on how many addresses there are of the other family.
 */
#define KK_ADDRESSES_MAX 8 /* of each family */
#define KK_SLOTS_MAX	 (2 * KK_ADDRESSES_MAX)

KK_INLINE __u32 kk_slot(__u32 family, __u32 i)
{
	return 2 * i + (family == KK_IP6);
}

KK_INLINE __u8 kk_slot_family(__u32 slot)
{
	return slot & 1 ? KK_IP6 : KK_IP4;
}

#define KK_FLOW_KEY_WORDS 6

/*
 * What one gateway is told before the first packet. Addresses are compared one by one, from the first on,
 * up to the first that is all zero.
 */
struct kk_settings {
	__be32 address4[KK_ADDRESSES_MAX]; /* the public addresses that are managed */
	struct kk_in6 address6[KK_ADDRESSES_MAX];
	/*
	 * Agents' IPv6 addresses: this /96 and behind it their IPv4 address, as RFC 6052 section 2.2
	 * has it. So tables know Agents by their IPv4 address. All zero: there is no IPv6 inside.
	 */
	struct kk_in6 pool6;
	__be32 pool;	  /* Agents' addresses ... */
	__be32 pool_mask; /* ... and which bits of them count; a prefix of 8 to 24 bits */
	__be32 host;	  /* the gateway's own in each Agent's /24; 0: it has no address there */
	__u32 mtu; /* of the tunnel, at least 576, with IPv6 1280; host byte order; 0: all fits */
	/* Of the hash that spreads flows over the members of a group. */
	__u64 flow_key[KK_FLOW_KEY_WORDS];
};
_Static_assert(sizeof(struct kk_settings) == 240, "layout of the settings");

#define KK_AGENT_MASK KK_BE32(0xffffff00) /* an Agent owns a /24 */

/*
 * Table of listeners: an array with one element per protocol and port of each public address, made
 * of one word, so that user space changes an element while packets read it. All zero: nothing is
 * published there.
 *
 *	bits 0 to 23	the Agent's address less the pool's, or with KK_LISTENER_GROUP a group's number
 *	24 to 39	its port
 *	40 to 59	the service's slot, never 0
 *	60 to 63	flags
 */
#define KK_LISTENERS_PER_ADDRESS (2 * 65536)

#define KK_LISTENER_GROUP    (1ULL << 60) /* several Agents take turns */
#define KK_LISTENER_GUARDED  (1ULL << 61) /* its service has a policy: lists, limits */
#define KK_LISTENER_SNAT     (1ULL << 62) /* the Agent is to see the gateway in the client's place */
#define KK_LISTENER_DRAINING (1ULL << 63) /* connections that stand may end; no new ones */

/* Where it leads: Agent, port, and that this is no group and the Agent sees the client. */
#define KK_LISTENER_TO_MASK (KK_LISTENER_GROUP | KK_LISTENER_SNAT | 0xffffffffffULL)

#define KK_SERVICES_MAX (1 << 17) /* slots; the word has room for 1 << 20 */
#define KK_AGENT_BITS	24

/* @port in host byte order. */
KK_INLINE __u32 kk_listener_index(__u32 slot, __u8 protocol, __u16 port)
{
	return slot * KK_LISTENERS_PER_ADDRESS + (protocol == KK_UDP ? 65536 : 0) + port;
}

/* @agent is the low 24 bits of an address in the pool, or a group; all in host byte order. */
KK_INLINE __u64 kk_listener_word(__u32 agent, __u16 port, __u32 service, __u64 flags)
{
	return flags | (__u64)service << 40 | (__u64)port << KK_AGENT_BITS | (agent & 0xffffff);
}

KK_INLINE __u32 kk_listener_agent(__u64 word)
{
	return word & 0xffffff;
}

KK_INLINE __u16 kk_listener_port(__u64 word)
{
	return (__u16)(word >> KK_AGENT_BITS);
}

KK_INLINE __u32 kk_listener_service(__u64 word)
{
	return (word >> 40) & 0xfffff;
}

/* The offset in a pool of an address of it: the pool has at least 8 bits of prefix. */
KK_INLINE __u32 kk_pool_offset(__be32 address, __be32 pool_mask)
{
	return KK_HOST32(address & ~pool_mask);
}

/*
 * Table of origins: a hash with the listeners that an Agent's port does not lead to by itself: those whose
 * Agent port is not their public port, members of groups, and those of second and further addresses of
 * a family. The others are found in the array of listeners, at their Agent port of the first address.
 */
struct kk_origin_key {
	__be32 address; /* the Agent's */
	__be16 port;
	__u8 protocol;
	__u8 family; /* KK_IP4 or KK_IP6 */
};
_Static_assert(sizeof(struct kk_origin_key) == 8, "layout of an origin's key");

struct kk_origin {
	__be16 port; /* public; 0: not published */
	__u16 slot;  /* of the public address */
	__u32 service;
};
_Static_assert(sizeof(struct kk_origin) == 8, "layout of an origin");

#define KK_ORIGINS_MAX (1 << 17)

/*
 * Table of fragmented packets: which public port one belongs to, from its first fragment, the only
 * one to carry ports, for the later ones. What is longest unused gives way.
 */
struct kk_fragment_key {
	struct kk_in6 source, dest; /* as the packet came, and with id what RFC 8200 goes by */
	__be32 id;		    /* of IPv4 its 16 bits, as they are on the wire */
	__u8 protocol;		    /* RFC 791 has it too */
	__u8 zero[3];
};
_Static_assert(sizeof(struct kk_fragment_key) == 40, "layout of a fragment's key");

struct kk_fragment {
	__be16 port;	  /* public; 0: not known */
	__be16 peer_port; /* the client's */
	__u8 slot;	  /* of the public address */
	__u8 protocol;	  /* of the transport header, which IPv6's later fragments do not name */
	__u16 zero;
	struct kk_in6 client; /* of a flow of a listener with KK_LISTENER_SNAT, else zero */
};
_Static_assert(sizeof(struct kk_fragment) == 24, "layout of a fragment");

#define KK_FRAGMENTS_MAX 16384

/*
 * Table of groups, several Agents behind one service: an array with KK_MAGLEV_SIZE words for each group,
 * each the address of a member less the pool's. The index of a flow is a hash of it. What each group is
 * called stands in a table of words of its own, for user space; 0: it is not used.
 */
#define KK_GROUPS_MAX  256
#define KK_MAGLEV_SIZE 1021 /* prime, and large against the members of a group */

/*
 * Table of policies: an array by number; the services' slots say which one each has. Services that ask
 * the same share one. Number 0 stands for none and is all zero. Limits count by service and source.
 */
struct kk_policy {
	__u32 list;				    /* number of the service's list; 0: none */
	__u32 flags;				    /* KK_POLICY_* */
	__u32 packet_interval, connection_interval; /* ns for each; 0: no limit */
	__u64 packet_slack, connection_slack;	    /* ns: a burst of 1 + slack / interval */
	__u32 syn_rate; /* SYNs a second from which on sources prove themselves; 0: the gateway's */
	__u32 zero;
};
_Static_assert(sizeof(struct kk_policy) == 40, "layout of a policy");

#define KK_POLICIES_MAX 16384

#define KK_POLICY_DENY 1 /* whom the list does not name */

/*
 * Table of lists: a trie of prefixes, of which the longest wins. List 0 is that of the whole gateway.
 */
struct kk_list_key {
	__u32 prefix_len; /* bits from @list on: 32 and those of the address, of IPv4 96 more */
	__be32 list;	  /* kk_list_number(): those of one family do not get among the other's */
	struct kk_in6 address;
};
_Static_assert(sizeof(struct kk_list_key) == 24, "layout of a list's key");

#define KK_LIST_ID_MAX 0x7fffffff

KK_INLINE __be32 kk_list_number(__u32 list, __u32 family)
{
	return KK_BE32(list << 1 | (family == KK_IP6));
}

enum kk_list_verdict {
	KK_LIST_NONE, /* not on the list */
	KK_LIST_ALLOW,
	KK_LIST_DENY,
};

struct kk_list_entry {
	__u32 verdict; /* enum kk_list_verdict */
};
_Static_assert(sizeof(struct kk_list_entry) == 4, "layout of a list's entry");

#define KK_LIST_GATEWAY	    0
#define KK_LIST_ENTRIES_MAX (1 << 17)

/* Table of sources that limits count; what is longest unused gives way. */
struct kk_source_key {
	__u32 service; /* id */
	struct kk_in6 address;
};
_Static_assert(sizeof(struct kk_source_key) == 20, "layout of a source's key");

/* When the bucket is full again, in nanoseconds of the monotonic clock: a rate needs no more state. */
struct kk_source {
	__u64 packets, connections;
};
_Static_assert(sizeof(struct kk_source) == 16, "layout of a source");

#define KK_SOURCES_MAX (1 << 16)

/* Table of bans, a hash: until when, in nanoseconds of the monotonic clock. */
struct kk_ban_key {
	struct kk_in6 address; /* of IPv6 the /64, the rest zero */
	__u32 service;	       /* id; 0: the whole gateway */
};
_Static_assert(sizeof(struct kk_ban_key) == 20, "layout of a ban's key");

#define KK_BANS_MAX (1 << 16)

/*
 * Table of translated flows (KK_LISTENER_SNAT), by what the Agent sees of them: its own end and the port that
 * the gateway's address has for the client; what is longest unused gives way.
 */
struct kk_snat_key {
	__be32 agent;
	__be16 agent_port;
	__be16 port;
	__u8 protocol;
	__u8 family;
	__u16 zero;
};
_Static_assert(sizeof(struct kk_snat_key) == 12, "layout of a translated flow's key");

struct kk_snat_flow {
	struct kk_in6 client;
	__be16 client_port;
	__be16 public_port;
	__u8 slot; /* of the public address */
	__u8 closing;
	__u16 zero;
	__u64 seen; /* when, in nanoseconds of the monotonic clock */
};
_Static_assert(sizeof(struct kk_snat_flow) == 32, "layout of a translated flow");

#define KK_SNAT_FLOWS_MAX (1 << 16)

/* What is known of a packet. */
struct kk_flow {
	union {
		struct kk_ip4 ip4;
		struct kk_ip6 ip6;
	};
	__u32 len;	 /* of the IP packet, without link padding */
	__u32 l4;	 /* offset of the transport header */
	__be32 id;	 /* of a fragmented packet, as in struct kk_fragment_key */
	__be16 fragment; /* KK_IP4_MORE and KK_IP4_OFFSET, in both families; 0: it is whole */
	__u8 protocol;	 /* of the transport header */
	__u8 tcp_header; /* bytes, options included */
	__u8 tcp_flags;
	struct {
		__be16 source, dest;
	} port;
};

/* What is known of a packet that an error quotes; kk_source() and kk_dest() take it too. */
struct kk_quote {
	union {
		struct kk_ip4 ip4;
		struct kk_ip6 ip6;
	};
	__u32 at; /* offset of the quoted IP header */
	__u32 l4; /* offset of the quoted transport header */
	__u8 protocol;
	struct {
		__be16 source, dest;
	} port;
};

/* One end of a packet. */
struct kk_end {
	struct kk_in6 address;
	__be16 port; /* 0: a later fragment has none */
};

/*
 * Where errors, fragments, packets of translated flows and those of IPv6 are worked out: a program's stack is short, and
 * IPv4 shall not pay for them.
 */
struct kk_scratch {
	struct kk_flow of;
	struct kk_quote quote;
	struct kk_fragment_key fragment_key;
	struct kk_fragment fragment; /* what is remembered of a packet */
	struct kk_snat_key key;	     /* of the flow, once its port is known */
	struct kk_snat_flow flow;    /* as it is wished for */
	__u32 hash;
	struct kk_end other;  /* what the end that other packets keep is replaced with */
	struct kk_in6 public; /* the flow's public end, of packets from the Agent */
	__be16 public_port;
	__u16 slot;
	__u32 service;
};

/*
 * Features: the one word of an array that says which tables of the whole gateway are to be looked at. What
 * is not in use costs its load and no more.
 */
enum {
	KK_FEATURE_LIST = 1 << 0,	  /* list 0 */
	KK_FEATURE_BANS = 1 << 1,	  /* the table of bans: bans of the whole gateway */
	KK_FEATURE_RELAY = 1 << 2,	  /* the table of relayed sessions */
	KK_FEATURE_CLOSED_PORTS = 1 << 3, /* packets to closed ports are dropped */
	KK_FEATURE_SYN_COOKIES = 1 << 4,  /* a service is flooded */
	KK_FEATURE_SERVICE_BANS = 1 << 5, /* the table of bans: those of single services */
	/* Sources are to be looked up, those that the sieve does not let pass. */
	KK_FEATURE_SOURCES = KK_FEATURE_LIST | KK_FEATURE_BANS | KK_FEATURE_SERVICE_BANS,
};

/* Table of services: which service a slot stands for, and the policy of it. */
union kk_service_slot {
	__u64 word;
	struct {
		__u32 id;
		__u16 policy; /* number, of listeners with KK_LISTENER_GUARDED; 0: none */
		__u8 state;   /* enum kk_slot_state */
		__u8 zero;
	};
};
_Static_assert(sizeof(union kk_service_slot) == 8, "a service slot is one word");

enum kk_slot_state {
	KK_SLOT_FRESH, /* never used: its counters are zero */
	KK_SLOT_USED,
	KK_SLOT_RETIRED, /* was used: its counters are not zero */
};

/*
 * Packets as the host hands them over (a GSO packet is one) and bytes from the network header on.
 */
struct kk_counter {
	__u64 packets;
	__u64 bytes;
};
_Static_assert(sizeof(struct kk_counter) == 16, "layout of a counter");

/* Of a service, by enum kk_direction. */
struct kk_traffic {
	struct kk_counter direction[2];
};
_Static_assert(sizeof(struct kk_traffic) == 32, "layout of a service's traffic");

/*
 * Table of traffic: an array with KK_TRAFFIC_PER_CPU words for each CPU, which alone writes them. It is the better part of what a
 * packet has to find in a cache, so a word is both, bytes in bits 0 to 43 and packets in the rest, and one direction of many
 * services lies close together. Before a word can run over (2^19 packets of less than 2^24 bytes) its CPU moves it to the
 * table of totals, one struct kk_counter for each direction of each service: it stores all ones, adds it there, stores zero.
 */
#define KK_TRAFFIC_PER_CPU (2 * KK_SERVICES_MAX)
#define KK_TRAFFIC_SHIFT   44
#define KK_TRAFFIC_FULL	   (1ULL << 63)
#define KK_TRAFFIC_MOVING  (~0ULL)

KK_INLINE __u64 kk_traffic_packets(__u64 word)
{
	return word >> KK_TRAFFIC_SHIFT;
}

KK_INLINE __u64 kk_traffic_bytes(__u64 word)
{
	return word & ((1ULL << KK_TRAFFIC_SHIFT) - 1);
}

/* @service is a slot. */
KK_INLINE __u32 kk_total_index(enum kk_direction direction, __u32 service)
{
	return direction * KK_SERVICES_MAX + service;
}

KK_INLINE __u32 kk_traffic_index(__u32 cpu, enum kk_direction direction, __u32 service)
{
	return cpu * KK_TRAFFIC_PER_CPU + kk_total_index(direction, service);
}

#endif
