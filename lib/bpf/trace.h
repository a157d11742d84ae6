/* SPDX-License-Identifier: MIT */
/*
 * What the tables would do with a packet: the core itself, run in user space on a copy of them, so that it
 * changes and counts nothing. The programs would say the same (the packet cases see to that), but not how they
 * got there.
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
};

#define KK_TRACE_PAYLOAD_MAX 9000

struct kk_trace {
	bool outbound;	     /* it came out of the tunnel, as its source is an Agent's */
	bool edge;	     /* the edge kept it out, before it could be forwarded */
	const char *verdict; /* static, as kk_datapath_counters() has them */
	const char *reason;  /* static */
	bool forwarded;	     /* the rest is filled */
	struct kk_address source, dest;
	uint16_t source_port, dest_port;
};

/*
 * Asks @note about each step: a look-up and what was found. -EINVAL: addresses of two families, or too
 * large.
 */
int kk_datapath_trace(struct kk_datapath *dp, const struct kk_trace_packet *packet,
		      void (*note)(void *data, const char *line), void *note_data,
		      struct kk_trace *ret, struct kk_err *err);

/* The packet itself, as it would come in: to be freed. NULL: memory is short. */
uint8_t *kk_trace_packet_make(const struct kk_trace_packet *packet, uint32_t *ret_len);
/* Fills @ret with what became of it: @data is the packet afterwards, without options or extension headers. */
void kk_trace_read(struct kk_trace *ret, enum kk_reason reason, const uint8_t *data);

#endif
