/* SPDX-License-Identifier: MIT */
/* The steps of a trace, for those who have tables: the edge, then forwarding, each with what it looked up. */
#ifndef KK_BPF_TRACE_RUN_H
#define KK_BPF_TRACE_RUN_H

#include "bpf/trace.h"
#include "core/user.h"

/* What a packet says of itself. Ports are 0 where it has none, and so is the MSS. */
struct kk_trace_head {
	struct kk_address source, dest;
	uint16_t source_port, dest_port, mss;
	uint8_t protocol, hops;
};

/* -EBADMSG: it is no IP packet, or not even its header. */
int kk_trace_head_read(const uint8_t *data, uint32_t len, struct kk_trace_head *ret);
/* The packet behind KK_USER_HEADROOM bytes, to be freed. NULL: memory is short. */
uint8_t *kk_trace_packet_make(const struct kk_trace_packet *packet, uint32_t *ret_len);

struct kk_trace_run {
	struct kk_user *user; /* a copy of the tables; the caller's */
	bool outbound;
	uint8_t *buffer; /* the packet behind KK_USER_HEADROOM bytes, as it came */
	uint8_t *work;	 /* as much again, to be changed */
	uint32_t len;
	uint32_t gso_size;
};

/* -EINVAL: the packet cannot be. @user's notes go to @note from now on. */
int kk_trace_run_init(struct kk_trace_run *ret, struct kk_user *user,
		      const struct kk_trace_packet *packet,
		      void (*note)(void *data, const char *line), void *note_data,
		      struct kk_err *err);
void kk_trace_run_clean(struct kk_trace_run *run);

/* Of a packet from outside, what the edge, which stands at @where, says of it. False: it goes on. */
bool kk_trace_run_edge(struct kk_trace_run *run, const char *where, struct kk_trace *ret);
/* What forwarding, at @where, makes of it. */
void kk_trace_run_forward(struct kk_trace_run *run, const char *where, struct kk_trace *ret);
/* The look-ups of forwarding alone: what became of the packet somebody else is asked. */
void kk_trace_run_look_up(struct kk_trace_run *run);
/* What became of the packet, by @where's word: a line about it, and @ret filled. */
void kk_trace_run_end(const struct kk_trace_run *run, const char *where, enum kk_reason reason,
		      const uint8_t *data, uint32_t len, struct kk_trace *ret);

#endif
