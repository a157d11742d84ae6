/* SPDX-License-Identifier: MIT */
/* The forwarding core in user space: for tests, fuzzers and benchmarks. */
#ifndef KK_CORE_USER_H
#define KK_CORE_USER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kk/core/reasons.h>
#include <kk/core/types.h>

#include "core/map.h"
#include "core/user_edge.h"

#define KK_USER_HEADROOM 48 /* an answer of our own may need it */

/* Settings, tables and counters in plain memory. */
struct kk_user {
	struct kk_settings settings;
	__u64 listeners[KK_SLOTS_MAX * KK_LISTENERS_PER_ADDRESS];
	__u64 groups[KK_GROUPS_MAX * KK_MAGLEV_SIZE];
	union kk_service_slot services[KK_SERVICES_MAX];
	struct kk_policy policies[KK_POLICIES_MAX];
	__u64 features;
	__u64 now; /* ns; 0: the clock's */
	/* Is told of each look-up and what came of it (note.h); NULL: nobody. */
	void (*note)(void *data, const char *line);
	void *note_data;
	struct kk_scratch scratch;
	struct kk_map origins, fragments, lists, bans, sources, snat;
	struct kk_counter counters[KK_REASON_MAX];
	struct kk_traffic traffic[KK_SERVICES_MAX];
	struct kk_user_edge edge;
};

struct kk_user_packet {
	uint8_t *data; /* from the network header on, with KK_USER_HEADROOM bytes before it */
	uint32_t len;
	uint32_t gso_size; /* payload of each of its segments; 0: it is one */
	bool partial;  /* its transport checksum covers the pseudo header only (CHECKSUM_PARTIAL) */
	bool complete; /* @sum is that of the whole packet (CHECKSUM_COMPLETE), and is kept right */
	uint32_t sum;
};

struct kk_user_listener {
	uint32_t slot; /* kk_slot() of its public address */
	uint8_t protocol;
	uint16_t port; /* host byte order, as below */
	__be32 agent;
	uint16_t agent_port;
	uint32_t service; /* slot */
	__u64 flags;	  /* KK_LISTENER_*; with KK_LISTENER_GROUP @agent is a group's number */
};

/* All of it zero, and empty. NULL: no memory. */
struct kk_user *kk_user_new(void);
void kk_user_free(struct kk_user *user);
/* Forgets what packets have left behind: fragments, what was counted of sources, translated flows. */
void kk_user_forget(struct kk_user *user);

/*
 * Publishes a port, as kk_datapath_set() would enter it; the pool is set. A group's members are published by
 * kk_user_origin().
 */
void kk_user_publish(struct kk_user *user, const struct kk_user_listener *listener);
/* Lets answers of @agent's port count as those of @listener. */
void kk_user_origin(struct kk_user *user, const struct kk_user_listener *listener, __be32 agent);
/*
 * kk_forward(); the packet is changed in place. It may become shorter, or longer at its front, with
 * @packet->data moved.
 */
enum kk_reason kk_user_forward(struct kk_user *user, struct kk_user_packet *packet,
			       enum kk_direction direction);

/* kk_edge(), all of it; KK_EDGE_ON is KK_REASON_MAX. */
enum kk_reason kk_user_edge(struct kk_user *user, struct kk_user_packet *packet);

/*
 * kk_plain(), by which programs begin: KK_REASON_INBOUND, KK_REASON_OUTBOUND or KK_REASON_HOST, or KK_NOT_PLAIN (plain.h),
 * that is KK_REASON_MAX: the packet is as it was, for kk_user_edge() and kk_user_forward(). @edge: it was not at the
 * edge yet. @packet->data is at a multiple of 4.
 */
enum kk_reason kk_user_plain(struct kk_user *user, struct kk_user_packet *packet,
			     enum kk_direction direction, bool edge);

/* kk_check_gateway() and kk_check_service() of guard.h: KK_REASON_INBOUND or why not. */
enum kk_reason kk_user_guard(struct kk_user *user, __u64 word, const struct kk_in6 *source,
			     bool opens);

#endif
