/* SPDX-License-Identifier: MIT */
/*
 * What the tables would do with a packet, step by step: the edge and the core themselves, run in user space on a copy of the
 * tables, so that it changes and counts nothing. The programs say the same (the packet cases see to that), but not how they
 * got there. Sockets of the gateway's own are asked of the kernel.
 */
#ifndef KK_BPF_TRACE_H
#define KK_BPF_TRACE_H

#include <stdbool.h>

#include <kk/core/reasons.h>

#include "bpf/datapath.h"

struct kk_trace_packet {
	uint8_t protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	struct kk_address source, dest;
	uint16_t source_port, dest_port;
	uint8_t tcp_flags;
	uint32_t payload; /* bytes, up to KK_TRACE_PAYLOAD_MAX */
	/* If not NULL, the packet itself, from its IP header on, and none of the above. */
	const uint8_t *data;
	uint32_t len;	   /* up to KK_TRACE_LEN_MAX */
	uint32_t gso_size; /* payload of each of its segments; 0: it is one packet */
	bool outbound;	   /* out of the tunnel */
	uint64_t now;	   /* when it would come, ns of the monotonic clock; 0: now */
};

#define KK_TRACE_PAYLOAD_MAX 9000
#define KK_TRACE_LEN_MAX     65535

struct kk_trace {
	bool outbound; /* it came out of the tunnel: of one that is described, its source is an Agent's */
	bool edge;	     /* the edge kept it, before it could be forwarded */
	const char *verdict; /* static, as kk_datapath_counters() has them */
	const char *reason;  /* static */
	bool forwarded;	     /* the rest is filled */
	struct kk_address source, dest;
	uint16_t source_port, dest_port; /* 0: it has none */
};

enum kk_trace_part {
	KK_TRACE_ALL,
	KK_TRACE_EDGE, /* what is let on has no verdict yet, and ret->edge is false */
};

/*
 * Tells @note of each step: a look-up and what was found, what the edge says, what forwarding says, what is rewritten.
 * -EINVAL: addresses of two families, or too large.
 */
int kk_datapath_trace(struct kk_datapath *dp, const struct kk_trace_packet *packet,
		      enum kk_trace_part part, void (*note)(void *data, const char *line),
		      void *note_data, struct kk_trace *ret, struct kk_err *err);

struct kk_tables;

/* The same on tables; the place of the edge, which is one of them, says what the programs have as constants. */
int kk_tables_trace(const struct kk_tables *tables, const struct kk_trace_packet *packet,
		    enum kk_trace_part part, void (*note)(void *data, const char *line),
		    void *note_data, struct kk_trace *ret, struct kk_err *err);

#endif
