/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Translated flows (KK_LISTENER_SNAT). Packets make them, up to a bound, and find them under RCU; what has not been
 * seen for its time is taken out by a wheel that comes to each flow once in the shortest of the times, 256 seconds at most,
 * a sixteenth of them at a time.
 * Where there is no room, one that was never answered, or is over, gives way, and if there is none, the new one.
 */
#ifndef KK_KMOD_FLOWS_H
#define KK_KMOD_FLOWS_H

#include <linux/list.h>
#include <linux/rhashtable.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include <kk/core/types.h>

#define KK_FLOWS_WHEEL	16
#define KK_FLOWS_TICK_S 16

/* For how long a flow stays that is not seen, ns. */
struct kk_flow_times {
	u64 udp, tcp, closing;
};

static inline u64 kk_flow_time(const struct kk_flow_times *times, u8 protocol, u8 closing)
{
	return READ_ONCE(*(protocol != KK_TCP ? &times->udp
			   : closing	      ? &times->closing
					      : &times->tcp));
}

struct kk_flow_entry {
	struct rhash_head node;
	struct kk_snat_key key;
	struct kk_snat_flow flow; /* as the core changes it, packet by packet */
	struct kk_snat_flow
		counted; /* whose packets are counted: the port may have become another's */
	struct list_head due;
	atomic64_t packets[2], bytes[2]; /* by enum kk_direction */
	struct rcu_head rcu;
};

struct kk_flows {
	struct rhashtable table;
	spinlock_t lock; /* of the wheel */
	struct list_head wheel[KK_FLOWS_WHEEL];
	u32 at; /* of the wheel: the next to be looked at */
	atomic_t n;
	u32 max;
	struct kk_flow_times times;
	u32 tick; /* jiffies from one turn of the wheel to the next */
	bool ready;
	bool scarce; /* it was told that seven eighths are there */
	struct delayed_work work;
};

int kk_flows_cache_init(void);
/* After rcu_barrier(). */
void kk_flows_cache_clean(void);

/* Once before any use, and again without effect. */
int kk_flows_init(struct kk_flows *flows);
/* What holds from now on, also of flows that there are; before or after kk_flows_init(). */
void kk_flows_set(struct kk_flows *flows, u32 max, const struct kk_flow_times *times);
/* No packet may be left. */
void kk_flows_clean(struct kk_flows *flows);
/* All of them; packets under way may still make some. */
void kk_flows_clear(struct kk_flows *flows);

/* On the way of a packet. */
struct kk_flow_entry *kk_flows_find(struct kk_flows *flows, const struct kk_snat_key *key);
/* The entry of @key, made with @flow if there is none. NULL: no room. */
struct kk_flow_entry *kk_flows_put(struct kk_flows *flows, const struct kk_snat_key *key,
				   const struct kk_snat_flow *flow);
/* Whether there are so many that it is to be told now; once, until there are fewer. */
bool kk_flows_are_scarce(struct kk_flows *flows);

static inline void kk_flow_count(struct kk_flow_entry *entry, enum kk_direction direction,
				 u32 bytes)
{
	if (unlikely(memcmp(&entry->flow, &entry->counted,
			    offsetof(struct kk_snat_flow, closing)))) {
		entry->counted = entry->flow;
		for (int i = 0; i < 2; i++) {
			atomic64_set(&entry->packets[i], 0);
			atomic64_set(&entry->bytes[i], 0);
		}
	}
	atomic64_inc(&entry->packets[direction]);
	atomic64_add(bytes, &entry->bytes[direction]);
}

#endif
