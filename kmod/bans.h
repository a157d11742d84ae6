/* SPDX-License-Identifier: GPL-2.0 */
/* Sources that are kept out, until a time. Changed under the lock of the namespace, read by packets under RCU. */
#ifndef KK_KMOD_BANS_H
#define KK_KMOD_BANS_H

#include <linux/list.h>
#include <linux/rhashtable.h>
#include <linux/timerqueue.h>
#include <linux/workqueue.h>
#include <linux/timekeeping.h>

#include <kk/core/types.h>

#define KK_BAN_FOREVER U64_MAX

struct kk_ban {
	struct rhash_head node;
	struct kk_ban_key key;
	u64 until; /* ns of the monotonic clock */
	struct timerqueue_node timer;
	struct list_head all;
	struct rcu_head rcu;
};

struct kk_bans {
	struct rhashtable table;
	struct timerqueue_head queue; /* those that end, by when */
	struct list_head all;	      /* in the order in which they were first set */
	struct delayed_work work;     /* at the end of the next one */
	bool ready;
	u32 n, n_service; /* all, and those of single services */
	u64 features;	  /* KK_FEATURE_BANS, KK_FEATURE_SERVICE_BANS: which kinds there are */
};

/* Once before any use, and again without effect. @work is run in process context when a ban may have ended. */
int kk_bans_init(struct kk_bans *bans, work_func_t work);
/* No packet and no user may be left. */
void kk_bans_clean(struct kk_bans *bans);

/* Adds a ban or sets it anew. -ENOSPC: there are KK_BANS_MAX. */
int kk_bans_set(struct kk_bans *bans, const struct kk_ban_key *key, u64 until);
struct kk_ban *kk_bans_find(const struct kk_bans *bans, const struct kk_ban_key *key);
void kk_bans_remove(struct kk_bans *bans, struct kk_ban *ban);
void kk_bans_clear(struct kk_bans *bans);
/* One that has ended, to be removed; NULL: none, and the work is set for the next. */
struct kk_ban *kk_bans_ended(struct kk_bans *bans);

/* What is left of a time, the last second being a whole one; 0: it does not end. */
static inline u32 kk_ban_seconds(u64 until)
{
	s64 left = until - ktime_get_ns();

	if (until == KK_BAN_FOREVER)
		return 0;
	return left > 0 ? min_t(u64, div_u64(left + NSEC_PER_SEC - 1, NSEC_PER_SEC), U32_MAX) : 1;
}

/* On the way of a packet. 0: no ban. */
u64 kk_bans_until(const struct kk_bans *bans, const struct kk_ban_key *key);

#endif
