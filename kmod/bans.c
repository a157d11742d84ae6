// SPDX-License-Identifier: GPL-2.0
#include "kmod/bans.h"

#include <linux/slab.h>

#include "kmod/module.h"

static const struct rhashtable_params by_key = {
	.key_len = sizeof(struct kk_ban_key),
	.key_offset = offsetof(struct kk_ban, key),
	.head_offset = offsetof(struct kk_ban, node),
	.automatic_shrinking = true,
};

int kk_bans_init(struct kk_bans *bans, work_func_t work)
{
	int r;

	if (bans->ready)
		return 0;
	r = rhashtable_init(&bans->table, &by_key);
	if (r)
		return r;
	timerqueue_init_head(&bans->queue);
	INIT_LIST_HEAD(&bans->all);
	INIT_DELAYED_WORK(&bans->work, work);
	bans->ready = true;
	return 0;
}

static void free_ban(void *ban, void *arg)
{
	kfree(ban);
}

void kk_bans_clean(struct kk_bans *bans)
{
	if (!bans->ready)
		return;
	cancel_delayed_work_sync(&bans->work);
	rhashtable_free_and_destroy(&bans->table, free_ban, NULL);
	bans->ready = false;
}

static void count(struct kk_bans *bans, const struct kk_ban *ban, int step)
{
	bans->n += step;
	bans->n_service += ban->key.service ? step : 0;
	WRITE_ONCE(bans->features, (bans->n > bans->n_service ? KK_FEATURE_BANS : 0) |
					   (bans->n_service ? KK_FEATURE_SERVICE_BANS : 0));
}

static void leave_queue(struct kk_bans *bans, struct kk_ban *ban)
{
	if (ban->until != KK_BAN_FOREVER)
		timerqueue_del(&bans->queue, &ban->timer);
}

static void enter_queue(struct kk_bans *bans, struct kk_ban *ban)
{
	if (ban->until == KK_BAN_FOREVER)
		return;
	timerqueue_init(&ban->timer);
	ban->timer.expires = ban->until;
	/* Whether it is the first: then the work is to come sooner. */
	if (timerqueue_add(&bans->queue, &ban->timer))
		mod_delayed_work(system_wq, &bans->work, 0);
}

int kk_bans_set(struct kk_bans *bans, const struct kk_ban_key *key, u64 until)
{
	struct kk_ban *ban = kk_bans_find(bans, key);
	int r;

	if (ban) {
		leave_queue(bans, ban);
		WRITE_ONCE(ban->until, until);
		enter_queue(bans, ban);
		return 0;
	}
	if (bans->n == KK_BANS_MAX)
		return -ENOSPC;
	ban = kzalloc(sizeof(*ban), KK_GFP);
	if (!ban)
		return -ENOMEM;
	ban->key = *key;
	ban->until = until;
	r = rhashtable_insert_fast(&bans->table, &ban->node, by_key);
	if (r) {
		kfree(ban);
		return r;
	}
	list_add_tail(&ban->all, &bans->all);
	enter_queue(bans, ban);
	count(bans, ban, 1);
	return 0;
}

struct kk_ban *kk_bans_find(const struct kk_bans *bans, const struct kk_ban_key *key)
{
	return rhashtable_lookup_fast((struct rhashtable *)&bans->table, key, by_key);
}

void kk_bans_remove(struct kk_bans *bans, struct kk_ban *ban)
{
	leave_queue(bans, ban);
	list_del(&ban->all);
	rhashtable_remove_fast(&bans->table, &ban->node, by_key);
	count(bans, ban, -1);
	kfree_rcu(ban, rcu);
}

void kk_bans_clear(struct kk_bans *bans)
{
	struct kk_ban *ban, *next;

	if (!bans->ready)
		return;
	list_for_each_entry_safe(ban, next, &bans->all, all) kk_bans_remove(bans, ban);
}

struct kk_ban *kk_bans_ended(struct kk_bans *bans)
{
	struct timerqueue_node *next = timerqueue_getnext(&bans->queue);
	s64 left;

	if (!next)
		return NULL;
	left = next->expires - ktime_get_ns();
	if (left <= 0)
		return container_of(next, struct kk_ban, timer);
	mod_delayed_work(system_wq, &bans->work,
			 min_t(u64, nsecs_to_jiffies64(left) + 1, MAX_JIFFY_OFFSET));
	return NULL;
}

u64 kk_bans_until(const struct kk_bans *bans, const struct kk_ban_key *key)
{
	const struct kk_ban *ban =
		rhashtable_lookup((struct rhashtable *)&bans->table, key, by_key);

	return ban ? READ_ONCE(ban->until) : 0;
}
