// SPDX-License-Identifier: GPL-2.0
#include "kmod/lists.h"

#include <linux/err.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/sort.h>

#include "kmod/module.h"

#define DEPTH_MAX 129 /* prefixes that hold one address */

static int compare_points(const struct kk_point *a, const struct kk_point *b)
{
	if (a->high != b->high)
		return a->high < b->high ? -1 : 1;
	return (a->low > b->low) - (a->low < b->low);
}

struct kk_point kk_point_of(const struct kk_in6 *address)
{
	return (struct kk_point){
		.high = (u64)KK_HOST32(address->word[0]) << 32 | KK_HOST32(address->word[1]),
		.low = (u64)KK_HOST32(address->word[2]) << 32 | KK_HOST32(address->word[3])};
}

/* The last address of a prefix. */
static struct kk_point last_of(const struct kk_rule *rule)
{
	u32 free = (rule->family == KK_IP6 ? 128 : 32) - rule->len;
	struct kk_point last = rule->from;

	last.low |= free >= 64 ? ~0ULL : (1ULL << free) - 1;
	if (free > 64)
		last.high |= free == 128 ? ~0ULL : (1ULL << (free - 64)) - 1;
	return last;
}

/* ---- spans ---- */

struct spans {
	struct kk_span *at;
	u32 n;
};

static void emit(struct spans *spans, const struct kk_point *from, u32 verdict)
{
	struct kk_span *last = spans->n ? &spans->at[spans->n - 1] : NULL;

	if (last && !compare_points(&last->from, from))
		last->verdict = verdict;
	else
		spans->at[spans->n++] = (struct kk_span){.from = *from, .verdict = verdict};
}

/* The innermost prefix ends: what is around it goes on, unless the addresses end too. */
static void leave(struct spans *spans, const struct kk_rule *rule, const struct kk_rule *around)
{
	struct kk_point next = last_of(rule);

	next.low++;
	next.high += !next.low;
	if ((!next.low && !next.high) || (rule->family == KK_IP4 && next.low >> 32 == 0x10000))
		return;
	emit(spans, &next, around ? around->verdict : KK_LIST_NONE);
}

/* Rules that hold others come before them. @room has two spans for each rule. */
static u32 cut(const struct kk_rule *rules, u32 n, struct kk_span *room)
{
	const struct kk_rule *open[DEPTH_MAX];
	struct spans spans = {.at = room};
	u32 depth = 0;

	for (u32 i = 0; i <= n; i++) {
		while (depth) {
			struct kk_point last = last_of(open[depth - 1]);

			if (i < n && compare_points(&rules[i].from, &last) <= 0)
				break;
			depth--;
			leave(&spans, open[depth], depth ? open[depth - 1] : NULL);
		}
		if (i == n)
			break;
		emit(&spans, &rules[i].from, rules[i].verdict);
		open[depth++] = &rules[i];
	}
	return spans.n;
}

enum kk_list_verdict kk_lists_find(const struct kk_lists *lists, const struct kk_list_key *key)
{
	u32 number = KK_HOST32(key->list), v6 = number & 1, below = 0, above;
	const struct kk_list *list = xa_load((struct xarray *)&lists->by_id, number >> 1);
	struct kk_point point;

	if (!list)
		return KK_LIST_NONE;
	point = kk_point_of(&key->address);
	/* The last span that begins no later: those below @below do. */
	above = list->n_spans[v6];
	while (below < above) {
		u32 middle = below + (above - below) / 2;

		if (compare_points(&list->spans[v6][middle].from, &point) <= 0)
			below = middle + 1;
		else
			above = middle;
	}
	return below ? list->spans[v6][below - 1].verdict : KK_LIST_NONE;
}

/* ---- lists ---- */

static void free_list(struct kk_list *list)
{
	if (!list)
		return;
	kvfree(list->rules);
	kvfree(list->spans[0]);
	kvfree(list->spans[1]);
	kfree(list);
}

static void free_rcu_list(struct rcu_head *rcu)
{
	free_list(container_of(rcu, struct kk_list, rcu));
}

static struct kk_list *new_list(u32 id, u32 room)
{
	struct kk_list *list = kzalloc(sizeof(*list), KK_GFP);

	if (!list)
		return NULL;
	list->id = id;
	list->rules = kvmalloc_array(room, sizeof(*list->rules), KK_GFP);
	if (list->rules)
		return list;
	kfree(list);
	return NULL;
}

static int make_spans(struct kk_list *list)
{
	u32 n4 = 0, n[2];

	while (n4 < list->n && list->rules[n4].family == KK_IP4)
		n4++;
	n[0] = n4;
	n[1] = list->n - n4;
	for (int v6 = 0; v6 < 2; v6++) {
		if (!n[v6])
			continue;
		list->spans[v6] = kvmalloc_array(2 * n[v6], sizeof(*list->spans[v6]), KK_GFP);
		if (!list->spans[v6])
			return -ENOMEM;
		list->n_spans[v6] = cut(list->rules + (v6 ? n4 : 0), n[v6], list->spans[v6]);
	}
	return 0;
}

static int compare_rules(const struct kk_rule *a, const struct kk_rule *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	return compare_points(&a->from, &b->from) ?: (a->len > b->len) - (a->len < b->len);
}

static int compare_changes(const void *a, const void *b)
{
	const struct kk_rule_change *x = a, *y = b;
	int r;

	if (x->list != y->list)
		return x->list < y->list ? -1 : 1;
	r = compare_rules(&x->rule, &y->rule);
	return r ?: (x->order > y->order) - (x->order < y->order);
}

/* @n sorted changes of one list into what was there, which may be NULL. */
static struct kk_list *merge(const struct kk_list *old, const struct kk_rule_change *changes, u32 n,
			     struct netlink_ext_ack *extack)
{
	u32 n_old = old ? old->n : 0, i = 0;
	struct kk_list *list = new_list(changes->list, n_old + n);

	if (!list)
		return ERR_PTR(-ENOMEM);
	for (u32 j = 0; i < n_old || j < n;) {
		int order = i == n_old ? 1
			    : j == n   ? -1
				       : compare_rules(&old->rules[i], &changes[j].rule);
		bool there = order == 0;

		if (order < 0) {
			list->rules[list->n++] = old->rules[i++];
			continue;
		}
		i += there;
		/* Of several changes of one rule the last one counts, but each has to make sense. */
		for (;; j++) {
			if (changes[j].gone && !there) {
				NL_SET_ERR_MSG_ATTR(extack, changes[j].attr,
						    "the list has no such prefix");
				free_list(list);
				return ERR_PTR(-ENOENT);
			}
			there = !changes[j].gone;
			if (j + 1 == n || compare_rules(&changes[j].rule, &changes[j + 1].rule))
				break;
		}
		if (there)
			list->rules[list->n++] = changes[j].rule;
		j++;
	}
	if (!make_spans(list))
		return list;
	free_list(list);
	return ERR_PTR(-ENOMEM);
}

void kk_lists_init(struct kk_lists *lists)
{
	xa_init(&lists->by_id);
}

void kk_lists_clean(struct kk_lists *lists)
{
	struct kk_list *list;
	unsigned long id;

	xa_for_each(&lists->by_id, id, list) free_list(list);
	xa_destroy(&lists->by_id);
}

static u32 run_of(const struct kk_rule_change *changes, u32 n)
{
	u32 i = 1;

	while (i < n && changes[i].list == changes->list)
		i++;
	return i;
}

/* There is a place for it already. */
static void put_list(struct kk_lists *lists, struct kk_list *list)
{
	struct kk_list *old = list->n ? xa_store(&lists->by_id, list->id, list, GFP_KERNEL)
				      : xa_erase(&lists->by_id, list->id);

	lists->n += list->n;
	if (list->id == KK_LIST_GATEWAY)
		WRITE_ONCE(lists->gateway, list->n != 0);
	if (!list->n)
		free_list(list);
	if (!old)
		return;
	lists->n -= old->n;
	call_rcu(&old->rcu, free_rcu_list);
}

static int plan(struct kk_lists *lists, const struct kk_rule_change *changes, u32 n,
		struct kk_list **fresh, u32 *n_fresh, struct netlink_ext_ack *extack)
{
	u32 total = lists->n, run;
	struct kk_list *old, *list;
	int r;

	for (u32 i = 0; i < n; i += run) {
		run = run_of(changes + i, n - i);
		old = xa_load(&lists->by_id, changes[i].list);
		list = merge(old, changes + i, run, extack);
		if (IS_ERR(list))
			return PTR_ERR(list);
		fresh[(*n_fresh)++] = list;
		total += list->n - (old ? old->n : 0);
		r = old ? 0 : xa_reserve(&lists->by_id, list->id, KK_GFP);
		if (r)
			return r;
		cond_resched();
	}
	if (total > KK_LIST_ENTRIES_MAX) {
		NL_SET_ERR_MSG_ATTR(extack, changes[n - 1].attr,
				    "more than 131072 prefixes in all lists");
		return -ENOSPC;
	}
	return 0;
}

int kk_lists_change(struct kk_lists *lists, struct kk_rule_change *changes, u32 n,
		    struct netlink_ext_ack *extack)
{
	struct kk_list **fresh;
	u32 n_fresh = 0;
	int r;

	sort(changes, n, sizeof(*changes), compare_changes, NULL);
	fresh = kvmalloc_array(n, sizeof(*fresh), KK_GFP);
	if (!fresh)
		return -ENOMEM;
	r = plan(lists, changes, n, fresh, &n_fresh, extack);
	for (u32 i = 0; i < n_fresh; i++) {
		if (!r) {
			put_list(lists, fresh[i]);
		} else {
			if (!xa_load(&lists->by_id, fresh[i]->id))
				xa_release(&lists->by_id, fresh[i]->id);
			free_list(fresh[i]);
		}
	}
	kvfree(fresh);
	return r;
}
