/* SPDX-License-Identifier: MIT */
/* The forwarding core in user space: for tests, fuzzers and benchmarks. */
#ifndef KK_CORE_USER_H
#define KK_CORE_USER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kk/core/reasons.h>
#include <kk/core/types.h>

#define KK_USER_ORIGINS	  64
#define KK_USER_HEADROOM  28 /* an answer of our own may need it */
#define KK_USER_SERVICES  64
#define KK_USER_FRAGMENTS 65536 /* a power of 2 */

/* Settings, tables and counters in plain memory; zero-initialise it and fill in. */
struct kk_user {
	struct kk_settings settings;
	__u64 listeners[KK_SLOTS_MAX * KK_LISTENERS_PER_ADDRESS];
	struct {
		struct kk_origin_key key;
		struct kk_origin value;
	} origins[KK_USER_ORIGINS];
	size_t n_origins;
	struct {
		struct kk_fragment_key key;
		struct kk_fragment value;
	} fragments[KK_USER_FRAGMENTS]; /* by hash, then the next free one */
	size_t n_fragments;
	struct kk_counter counters[KK_REASON_MAX];
	struct kk_traffic traffic[KK_USER_SERVICES];
};

struct kk_user_packet {
	uint8_t *data; /* from the network header on, with KK_USER_HEADROOM bytes before it */
	uint32_t len;
	uint32_t gso_size; /* payload of each of its segments; 0: it is one */
	bool partial; /* its transport checksum covers the pseudo header only (CHECKSUM_PARTIAL) */
};

struct kk_user_listener {
	uint32_t slot; /* kk_slot() of its public address */
	uint8_t protocol;
	uint16_t port; /* host byte order, as below */
	__be32 agent;
	uint16_t agent_port;
	uint32_t service; /* below KK_USER_SERVICES */
};

/* Publishes a port, as kk_datapath_sync() would enter it; the pool is set. */
void kk_user_publish(struct kk_user *user, const struct kk_user_listener *listener);
/*
 * kk_forward(); the packet is changed in place. It may become shorter, or longer at its front, with
 * @packet->data moved.
 */
enum kk_reason kk_user_forward(struct kk_user *user, struct kk_user_packet *packet,
			       enum kk_direction direction);

#endif
