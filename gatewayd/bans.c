// SPDX-License-Identifier: MIT
/* The bans of the data plane brought to those of a configuration. */
#include "gatewayd/tables.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "util/cleanup.h"

#define NS	1000000000
#define SLACK_S 2 /* that two tellings of one time may differ by */

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * NS + now.tv_nsec;
}

/* False: it is over. */
static bool ban_entry(const struct kk_banned *ban, int64_t now, struct kk_ban_entry *ret)
{
	int64_t left = (ban->until - now + NS - 1) / NS;

	if (ban->until == INT64_MAX)
		left = 0;
	else if (ban->until <= now)
		return false;
	*ret = (struct kk_ban_entry){
		.source = ban->address,
		.service = (uint32_t)ban->service,
		.seconds = left < UINT32_MAX ? (uint32_t)left : UINT32_MAX,
	};
	return true;
}

static int compare_bans(const void *a, const void *b)
{
	const struct kk_ban_entry *x = a, *y = b;

	if (x->service != y->service)
		return x->service < y->service ? -1 : 1;
	return kk_address_compare(&x->source, &y->source);
}

static bool is_longer(const struct kk_ban_entry *a, const struct kk_ban_entry *b)
{
	return b->seconds && (!a->seconds || a->seconds > b->seconds);
}

/* In order, and of several of one source the longest. */
static size_t sort_bans(struct kk_ban_entry *list, size_t n)
{
	size_t kept = 0;

	qsort(list, n, sizeof(*list), compare_bans);
	for (size_t i = 0; i < n; i++)
		if (kept == 0 || compare_bans(&list[kept - 1], &list[i]) != 0)
			list[kept++] = list[i];
		else if (is_longer(&list[i], &list[kept - 1]))
			list[kept - 1] = list[i];
	return kept;
}

static const struct kk_ban_entry *find_ban(const struct kk_ban_entry *list, size_t n,
					   const struct kk_ban_entry *ban)
{
	return bsearch(ban, list, n, sizeof(*list), compare_bans);
}

static bool same_time(const struct kk_ban_entry *a, const struct kk_ban_entry *b)
{
	return a->seconds == b->seconds ||
	       (a->seconds && b->seconds && a->seconds <= b->seconds + SLACK_S &&
		b->seconds <= a->seconds + SLACK_S);
}

/* Those of @list that are not there as they shall be; returns how many, in front. */
static size_t keep_missing(struct kk_ban_entry *list, size_t n, const struct kk_ban_entry *there,
			   size_t n_there)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		const struct kk_ban_entry *found = find_ban(there, n_there, &list[i]);

		if (!found || !same_time(&list[i], found))
			list[kept++] = list[i];
	}
	return kept;
}

static int lift(struct kk_datapath *dp, const struct kk_ban_entry *wanted, size_t n,
		const struct kk_ban_entry *there, size_t n_there, struct kk_err *err)
{
	int r = 0;

	for (size_t i = 0; i < n_there && r == 0; i++) {
		if (!find_ban(wanted, n, &there[i]))
			r = kk_datapath_unban(dp, &there[i].source, there[i].service, err);
		/* It may have ended just now. */
		if (r == -ENOENT) {
			kk_err_reset(err);
			r = 0;
		}
	}
	return r;
}

int tables_set_bans(struct kk_datapath *dp, const struct kk_config *config, struct kk_err *err)
{
	KK_CLEANUP_FREE struct kk_ban_entry *wanted = calloc(config->n_bans + 1, sizeof(*wanted));
	KK_CLEANUP_FREE struct kk_ban_entry *there = NULL;
	const int64_t now = now_ns();
	int n_there = kk_datapath_bans(dp, &there, err), r;
	size_t n = 0;

	if (n_there < 0)
		return n_there;
	if (!wanted)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	for (size_t i = 0; i < config->n_bans; i++)
		n += ban_entry(&config->bans[i], now, &wanted[n]);
	n = sort_bans(wanted, n);
	n_there = (int)sort_bans(there, (size_t)n_there);
	r = lift(dp, wanted, n, there, (size_t)n_there, err);
	n = keep_missing(wanted, n, there, (size_t)n_there);
	return r < 0 || !n ? r : kk_datapath_ban(dp, wanted, n, err);
}
