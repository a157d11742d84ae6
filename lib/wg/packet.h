/* SPDX-License-Identifier: MIT */
/* The IP packet inside the tunnel: bounds, addresses, flow, congestion marks. */
#ifndef WG_PACKET_H
#define WG_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Congestion bits of the traffic class (RFC 3168). */
#define WG_ECN_MASK 3
#define WG_ECN_ECT1 1
#define WG_ECN_ECT0 2
#define WG_ECN_CE   3

struct wg_packet {
	const uint8_t *src, *dst; /* into the packet; 4 or 16 bytes, network byte order */
	size_t len;		  /* as the IP header has it, bytes */
	uint8_t addr_len;	  /* 4 or 16 */
	uint8_t ecn;
};

/*
 * One flow as seen from our end of the tunnel; addresses and ports in network byte order. Packets of
 * both directions have the same key. No holes: it is hashed as bytes.
 */
struct wg_flow_key {
	uint8_t remote[16], local[16];
	uint16_t remote_port, local_port; /* zero where the protocol or the fragment has none */
	uint8_t protocol;
	uint8_t addr_len;
	uint16_t fragment; /* 1: ports hold the identification of a datagram in parts */
};

/* Checks version and lengths against the @len bytes that are there. Returns 0 or -EINVAL. */
int wg_packet_parse(const uint8_t *data, size_t len, struct wg_packet *ret);

/*
 * Congestion mark of an arriving outer packet onto the inner one (RFC 6040 section 4.2); @data holds a
 * parsed packet. Returns false where the packet has to be dropped.
 */
bool wg_packet_decapsulate_ecn(uint8_t *data, uint8_t outer);

/*
 * Key of a parsed packet of @len bytes. @inbound: it came out of the tunnel, so its source is the
 * remote end. An outbound ICMP error has the key of the packet it complains about. Returns false where
 * nothing can be told, which is so for inbound ICMP errors.
 */
bool wg_packet_flow(const uint8_t *data, size_t len, bool inbound, struct wg_flow_key *ret);

/* What a TCP header says, host byte order. */
struct wg_tcp {
	uint32_t seq, ack;
	uint32_t end; /* sequence number behind its last byte; SYN and FIN count as one each */
	uint8_t flags;
};

#define WG_TCP_FIN 0x01
#define WG_TCP_SYN 0x02
#define WG_TCP_RST 0x04
#define WG_TCP_ACK 0x10

/* Of a parsed packet of @len bytes (a super-packet counts as one). False: no TCP header that could be. */
bool wg_packet_tcp(const uint8_t *data, size_t len, struct wg_tcp *ret);

enum wg_fragment {
	WG_FRAGMENT_NONE, /* a whole datagram */
	WG_FRAGMENT_FIRST,
	WG_FRAGMENT_LATER,
};

/*
 * Whether a parsed packet is a part of a datagram only, and of which: *@ret is the same for all its parts and
 * for nothing else. *@ret_first, of a first one, is the key that the whole datagram would have. Neither is
 * set for a whole one.
 */
enum wg_fragment wg_packet_fragment(const uint8_t *data, size_t len, bool inbound,
				    struct wg_flow_key *ret_first, struct wg_flow_key *ret);

/* Internet checksum (RFC 1071): sum of @len bytes added to @sum, not folded; wg_sum_fold() folds. */
uint64_t wg_sum(const void *data, size_t len, uint64_t sum);
static inline uint16_t wg_sum_fold(uint64_t sum)
{
	sum = (sum >> 32) + (sum & 0xffffffff);
	sum = (sum >> 32) + (sum & 0xffffffff);
	sum = (sum >> 16) + (sum & 0xffff);
	sum = (sum >> 16) + (sum & 0xffff);
	return (uint16_t)sum;
}

#endif
