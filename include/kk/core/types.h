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
#define KK_LAYOUT 3

#define KK_INLINE static inline __attribute__((always_inline, unused))

/* Keeps what is rare out of the way of what is not. */
#define KK_RARELY(x) __builtin_expect(!!(x), 0)

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define KK_BE16(x) ((__be16)__builtin_bswap16(x))
#define KK_BE32(x) ((__be32)__builtin_bswap32(x))
#else
#define KK_BE16(x) ((__be16)(x))
#define KK_BE32(x) ((__be32)(x))
#endif
/* Swapping is its own inverse; the second name says which way is meant. */
#define KK_HOST16(x) ((__u16)KK_BE16(x))
#define KK_HOST32(x) ((__u32)KK_BE32(x))

enum {
	KK_ICMP = 1,
	KK_TCP = 6,
	KK_UDP = 17,
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

enum kk_direction {
	KK_INBOUND,  /* a packet on the public interface */
	KK_OUTBOUND, /* a packet out of the tunnel */
};

/* What one gateway is told once, before the first packet. */
struct kk_settings {
	__be32 address;	  /* the public address that is managed */
	__be32 pool;	  /* Agents' addresses ... */
	__be32 pool_mask; /* ... and which bits of them count */
	__be32 host;	  /* the gateway's own in each Agent's /24; 0: it has no address there */
	__u32 mtu;	  /* of the tunnel, at least 576, host byte order; 0: all fits */
};
_Static_assert(sizeof(struct kk_settings) == 20, "layout of the settings");

#define KK_AGENT_MASK KK_BE32(0xffffff00) /* an Agent owns a /24 */

/*
 * Table of listeners: an array with one element per protocol and port of the public address, made
 * of one word, so that user space changes an element while packets read it. All zero: nothing is
 * published there. A second public address takes the next KK_LISTENERS_PER_ADDRESS elements.
 */
union kk_destination {
	__u64 word;
	struct {
		__be32 address; /* the Agent's */
		__be16 port;
		__u16 service; /* slot in the tables of services, never 0 */
	};
};
_Static_assert(sizeof(union kk_destination) == 8, "a listener is one word");

#define KK_LISTENERS_PER_ADDRESS (2 * 65536)

/* @port in host byte order. */
KK_INLINE __u32 kk_listener_index(__u8 protocol, __u16 port)
{
	return (protocol == KK_UDP ? 65536 : 0) + port;
}

/*
 * Table of origins: a hash with the listeners whose Agent port is not their public port. The others
 * are found in the array of listeners by their Agent port, which is the same.
 */
struct kk_origin_key {
	__be32 address; /* the Agent's */
	__be16 port;
	__u8 protocol;
	__u8 zero;
};
_Static_assert(sizeof(struct kk_origin_key) == 8, "layout of an origin's key");

struct kk_origin {
	__be16 port; /* public; 0: not published */
	__u16 service;
};
_Static_assert(sizeof(struct kk_origin) == 4, "layout of an origin");

#define KK_ORIGINS_MAX 65536

/*
 * Table of fragmented packets: which public port one belongs to, from its first fragment, the only
 * one to carry ports, for the later ones. What is longest unused gives way.
 */
struct kk_fragment_key {
	__be32 source, dest; /* as the packet came, and with id and protocol what RFC 791 goes by */
	__be16 id;
	__u8 protocol;
	__u8 zero;
};
_Static_assert(sizeof(struct kk_fragment_key) == 12, "layout of a fragment's key");

struct kk_fragment {
	__be16 port; /* public; 0: not known */
	__u16 zero;
};
_Static_assert(sizeof(struct kk_fragment) == 4, "layout of a fragment");

#define KK_FRAGMENTS_MAX 16384

/* Table of services: which service a slot stands for. Only user space reads it. */
union kk_service_slot {
	__u64 word;
	struct {
		__u32 id;
		__u32 state; /* enum kk_slot_state */
	};
};
_Static_assert(sizeof(union kk_service_slot) == 8, "a service slot is one word");

enum kk_slot_state {
	KK_SLOT_FRESH, /* never used: its counters are zero */
	KK_SLOT_USED,
	KK_SLOT_RETIRED, /* was used: its counters are not zero */
};

#define KK_SERVICES_MAX 16384

/*
 * Packets as the host hands them over (a GSO packet is one) and bytes from the network header on.
 */
struct kk_counter {
	__u64 packets;
	__u64 bytes;
};
_Static_assert(sizeof(struct kk_counter) == 16, "layout of a counter");

/* Per service slot, by enum kk_direction. */
struct kk_traffic {
	struct kk_counter direction[2];
};
_Static_assert(sizeof(struct kk_traffic) == 32, "layout of a service's traffic");

#endif
