// SPDX-License-Identifier: GPL-2.0
#include "kmod/flows.h"

#include <linux/slab.h>

#include "kmod/env.h"
#include <kk/core/snat.h>
#include "kmod/trace.h"

#define BATCH  64 /* flows that the wheel looks at before it lets go of the lock */
#define SAMPLE 32 /* flows that are looked at for one that gives way */

static struct kmem_cache *cache;

static const struct rhashtable_params by_key = {
	.key_len = sizeof(struct kk_snat_key),
	.key_offset = offsetof(struct kk_flow_entry, key),
	.head_offset = offsetof(struct kk_flow_entry, node),
	.automatic_shrinking = true,
};

int kk_flows_cache_init(void)
{
	cache = KMEM_CACHE(kk_flow_entry, SLAB_HWCACHE_ALIGN | SLAB_ACCOUNT);
	return cache ? 0 : -ENOMEM;
}

void kk_flows_cache_clean(void)
{
	kmem_cache_destroy(cache);
}

static void free_entry(struct rcu_head *rcu)
{
	kmem_cache_free(cache, container_of(rcu, struct kk_flow_entry, rcu));
}

/* Under the lock of the wheel: whoever takes it off the wheel takes it out. */
static void take_out(struct kk_flows *flows, struct kk_flow_entry *entry)
{
	list_del(&entry->due);
	rhashtable_remove_fast(&flows->table, &entry->node, by_key);
	atomic_dec(&flows->n);
	call_rcu(&entry->rcu, free_entry);
}

static bool is_over(const struct kk_flows *flows, const struct kk_flow_entry *entry, u64 now)
{
	return kk_snat_is_over(
		&entry->flow, kk_flow_time(&flows->times, entry->key.protocol, entry->flow.closing),
		now);
}

/* A packet that finds the port of a flow that is over sets its clock, and then it is that packet's. */
static bool claim(const struct kk_flows *flows, struct kk_flow_entry *entry, u64 now)
{
	u64 seen = READ_ONCE(entry->flow.seen);

	return is_over(flows, entry, now) && cmpxchg64(&entry->flow.seen, seen, now) == seen;
}

/* A sixteenth of the flows: what is over goes, the rest is looked at again in a whole turn. */
static void turn(struct kk_flows *flows)
{
	struct kk_flow_entry *entry;
	u64 now = ktime_get_ns();
	u32 looked = 0, gone = 0;
	LIST_HEAD(due);

	spin_lock_bh(&flows->lock);
	list_splice_init(&flows->wheel[flows->at % KK_FLOWS_WHEEL], &due);
	flows->at++;
	while (!list_empty(&due)) {
		entry = list_first_entry(&due, struct kk_flow_entry, due);
		if (claim(flows, entry, now)) {
			take_out(flows, entry);
			gone++;
		} else {
			list_move_tail(&entry->due,
				       &flows->wheel[(flows->at - 1) % KK_FLOWS_WHEEL]);
		}
		if (++looked % BATCH == 0) {
			spin_unlock_bh(&flows->lock);
			cond_resched();
			spin_lock_bh(&flows->lock);
		}
	}
	spin_unlock_bh(&flows->lock);
	trace_kk_flows_turn(looked, gone);
}

static void on_turn(struct work_struct *work)
{
	struct kk_flows *flows = container_of(to_delayed_work(work), struct kk_flows, work);

	turn(flows);
	if (atomic_read(&flows->n) < flows->max / 2)
		WRITE_ONCE(flows->scarce, false);
	if (atomic_read(&flows->n))
		queue_delayed_work(system_wq, &flows->work, READ_ONCE(flows->tick));
}

void kk_flows_set(struct kk_flows *flows, u32 max, const struct kk_flow_times *times)
{
	/* A whole turn takes no longer than the shortest of them. */
	u64 tick = div_u64(min3(times->udp, times->tcp, times->closing), KK_FLOWS_WHEEL + 2);
	u32 before = flows->tick;

	WRITE_ONCE(flows->max, max);
	WRITE_ONCE(flows->times.udp, times->udp);
	WRITE_ONCE(flows->times.tcp, times->tcp);
	WRITE_ONCE(flows->times.closing, times->closing);
	tick = clamp_t(u64, nsecs_to_jiffies64(tick), HZ / 20, KK_FLOWS_TICK_S * HZ);
	WRITE_ONCE(flows->tick, tick);
	/* Also without flows: a turn may be due still, at its old time, and the next flow would wait for it. */
	if (flows->ready && tick < before)
		mod_delayed_work(system_wq, &flows->work, tick);
}

int kk_flows_init(struct kk_flows *flows)
{
	int r;

	if (flows->ready)
		return 0;
	r = rhashtable_init(&flows->table, &by_key);
	if (r)
		return r;
	spin_lock_init(&flows->lock);
	for (int i = 0; i < KK_FLOWS_WHEEL; i++)
		INIT_LIST_HEAD(&flows->wheel[i]);
	INIT_DELAYED_WORK(&flows->work, on_turn);
	/* All of it before packets see that it is there. */
	smp_store_release(&flows->ready, true);
	return 0;
}

static void free_now(void *entry, void *arg)
{
	kmem_cache_free(cache, entry);
}

void kk_flows_clean(struct kk_flows *flows)
{
	if (!flows->ready)
		return;
	cancel_delayed_work_sync(&flows->work);
	rhashtable_free_and_destroy(&flows->table, free_now, NULL);
	flows->ready = false;
}

void kk_flows_clear(struct kk_flows *flows)
{
	if (!flows->ready)
		return;
	for (int i = 0; i < KK_FLOWS_WHEEL; i++) {
		spin_lock_bh(&flows->lock);
		while (!list_empty(&flows->wheel[i]))
			take_out(flows,
				 list_first_entry(&flows->wheel[i], struct kk_flow_entry, due));
		spin_unlock_bh(&flows->lock);
		cond_resched();
	}
}

static bool may_give_way(const struct kk_flows *flows, const struct kk_flow_entry *entry, u64 now)
{
	return !atomic64_read(&entry->packets[KK_OUTBOUND]) || entry->flow.closing ||
	       is_over(flows, entry, now);
}

/*
 * Of a few that the wheel has not looked at for longest, the one that was not seen for longest. The others go to the
 * end of their list, so that the next time others are tried.
 */
static bool make_room(struct kk_flows *flows, u64 now)
{
	struct kk_flow_entry *best = NULL, *entry, *next;
	int n = 0;

	spin_lock_bh(&flows->lock);
	for (u32 i = 0; i < KK_FLOWS_WHEEL && n < SAMPLE && !best; i++) {
		struct list_head *list = &flows->wheel[(flows->at + i) % KK_FLOWS_WHEEL];
		LIST_HEAD(tried);

		list_for_each_entry_safe(entry, next, list, due)
		{
			if (n++ == SAMPLE)
				break;
			list_move_tail(&entry->due, &tried);
			if (may_give_way(flows, entry, now) &&
			    (!best || entry->flow.seen < best->flow.seen))
				best = entry;
		}
		list_splice_tail(&tried, list);
	}
	if (best)
		take_out(flows, best);
	spin_unlock_bh(&flows->lock);
	return best;
}

struct kk_flow_entry *kk_flows_find(struct kk_flows *flows, const struct kk_snat_key *key)
{
	if (unlikely(!smp_load_acquire(&flows->ready)))
		return NULL;
	return rhashtable_lookup(&flows->table, key, by_key);
}

/* Its place is counted already. */
static struct kk_flow_entry *make(struct kk_flows *flows, const struct kk_snat_key *key,
				  const struct kk_snat_flow *flow)
{
	struct kk_flow_entry *entry = kmem_cache_zalloc(cache, GFP_ATOMIC | __GFP_NOWARN), *other;

	if (!entry) {
		atomic_dec(&flows->n);
		return NULL;
	}
	entry->key = *key;
	entry->flow = entry->counted = *flow;
	/* On the wheel first: who finds it in the table may want to take it off. */
	spin_lock_bh(&flows->lock);
	other = rhashtable_lookup_get_insert_fast(&flows->table, &entry->node, by_key);
	if (!other) {
		list_add_tail(&entry->due,
			      &flows->wheel[(flows->at + KK_FLOWS_WHEEL - 1) % KK_FLOWS_WHEEL]);
		spin_unlock_bh(&flows->lock);
		queue_delayed_work(system_wq, &flows->work, READ_ONCE(flows->tick));
		return entry;
	}
	spin_unlock_bh(&flows->lock);
	kmem_cache_free(cache, entry);
	atomic_dec(&flows->n);
	return IS_ERR(other) ? NULL : other;
}

struct kk_flow_entry *kk_flows_put(struct kk_flows *flows, const struct kk_snat_key *key,
				   const struct kk_snat_flow *flow)
{
	struct kk_flow_entry *entry = kk_flows_find(flows, key);
	u32 n, max;

	if (entry || !flows->ready)
		return entry;
	max = READ_ONCE(flows->max);
	n = atomic_inc_return(&flows->n);
	if (n > max && !make_room(flows, flow->seen)) {
		atomic_dec(&flows->n);
		return NULL;
	}
	if (unlikely(n > max + 1))
		make_room(flows, flow->seen); /* there may have been room for more before */
	return make(flows, key, flow);
}

bool kk_flows_are_scarce(struct kk_flows *flows)
{
	u32 max = READ_ONCE(flows->max);

	return unlikely(atomic_read(&flows->n) >= max - max / 8) && !READ_ONCE(flows->scarce) &&
	       !xchg(&flows->scarce, true);
}
