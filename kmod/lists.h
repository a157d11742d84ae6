/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Access lists. A list is made of rules, of which the longest prefix decides; what packets look at is the same cut into
 * spans that do not overlap, so that one search finds the verdict. Both are never changed, but replaced.
 */
#ifndef KK_KMOD_LISTS_H
#define KK_KMOD_LISTS_H

#include <linux/netlink.h>
#include <linux/xarray.h>

#include <kk/core/types.h>

/* An address as a number; one of IPv4 in the lower half. */
struct kk_point {
	u64 high, low;
};

struct kk_rule {
	struct kk_point from; /* the first address of the prefix */
	u8 family, len;
	u8 verdict; /* enum kk_list_verdict */
};

/* From there on, up to the next one. */
struct kk_span {
	struct kk_point from;
	u32 verdict;
};

struct kk_list {
	u32 id, n;
	struct kk_rule *rules;	  /* sorted by family, address and length */
	struct kk_span *spans[2]; /* of IPv4, of IPv6 */
	u32 n_spans[2];
	struct rcu_head rcu;
};

struct kk_lists {
	struct xarray by_id;
	u32 n;	      /* rules, of all lists */
	bool gateway; /* that of the whole gateway has some */
};

/* A rule that is set or removed. */
struct kk_rule_change {
	u32 list, order; /* the later one of two counts */
	bool gone;
	struct kk_rule rule;
	const struct nlattr *attr; /* what a complaint is about */
};

void kk_lists_init(struct kk_lists *lists);
/* Once no packet reads them any more. */
void kk_lists_clean(struct kk_lists *lists);

/*
 * Sorts @n @changes and makes them, all or none. -ENOENT: a rule that is to be removed is not there. -ENOSPC: more
 * than KK_LIST_ENTRIES_MAX rules.
 */
int kk_lists_change(struct kk_lists *lists, struct kk_rule_change *changes, u32 n,
		    struct netlink_ext_ack *extack);

struct kk_point kk_point_of(const struct kk_in6 *address);
/* On the way of a packet. */
static inline bool kk_lists_has_gateway(const struct kk_lists *lists)
{
	return READ_ONCE(lists->gateway);
}

enum kk_list_verdict kk_lists_find(const struct kk_lists *lists, const struct kk_list_key *key);

#endif
