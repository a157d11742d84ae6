// SPDX-License-Identifier: MIT
#include "bpf/guards.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"

#define SECOND 1000000000u

static int limit_of(uint32_t service, const char *what, const struct kk_limit *limit,
		    __u32 *interval, __u64 *slack, struct kk_err *err)
{
	if (limit->rate > KK_RATE_MAX)
		return kk_err_set(
			err, EINVAL, "rate",
			"service %u: %u %s a second are more than the %d that can be counted",
			service, limit->rate, what, KK_RATE_MAX);
	if (limit->rate && (limit->burst == 0 || limit->burst > KK_BURST_MAX))
		return kk_err_set(err, EINVAL, "burst",
				  "service %u: a burst of %u %s cannot be (1 to %d)", service,
				  limit->burst, what, KK_BURST_MAX);
	*interval = limit->rate ? (SECOND + limit->rate / 2) / limit->rate : 0;
	*slack = limit->rate ? (__u64)(limit->burst - 1) * *interval : 0;
	return 0;
}

int kk_guard_policy(const struct kk_guard *guard, struct kk_policy *ret, struct kk_err *err)
{
	int r;

	*ret = (struct kk_policy){.list = guard->list,
				  .flags = guard->deny_others ? KK_POLICY_DENY : 0,
				  .syn_rate = guard->syn_rate};
	r = limit_of(guard->service, "packets", &guard->packets, &ret->packet_interval,
		     &ret->packet_slack, err);
	if (r == 0)
		r = limit_of(guard->service, "connections", &guard->connections,
			     &ret->connection_interval, &ret->connection_slack, err);
	return r;
}

int kk_guard_unpublished(uint32_t service, struct kk_err *err)
{
	return kk_err_set(err, ENOENT, "service", "service %u is guarded and not published",
			  service);
}

int kk_guard_no_list(uint32_t service, uint32_t list, struct kk_err *err)
{
	return kk_err_set(err, ENOENT, "list", "service %u goes by list %u, which there is not",
			  service, list);
}

static struct kk_limit as_limit(__u32 interval, __u64 slack)
{
	if (!interval)
		return (struct kk_limit){0};
	return (struct kk_limit){.rate = (SECOND + interval / 2) / interval,
				 .burst = (uint32_t)(1 + slack / interval)};
}

struct kk_guard kk_guard_of(uint32_t service, const struct kk_policy *policy)
{
	return (struct kk_guard){
		.service = service,
		.list = policy->list,
		.deny_others = policy->flags & KK_POLICY_DENY,
		.packets = as_limit(policy->packet_interval, policy->packet_slack),
		.connections = as_limit(policy->connection_interval, policy->connection_slack),
		.syn_rate = policy->syn_rate,
	};
}

/* ---- numbers ---- */

static int compare_services(const void *a, const void *b)
{
	const struct kk_guard_plan *x = a, *y = b;

	return (x->service > y->service) - (x->service < y->service);
}

/* Policies of the table, or of the plan, by what they ask. */
struct known {
	const struct kk_policy *policy;
	uint32_t number;
};

static int compare_known(const void *a, const void *b)
{
	const struct known *x = a, *y = b;

	return memcmp(x->policy, y->policy, sizeof(*x->policy));
}

static const struct known *find_known(const struct known *known, size_t n,
				      const struct kk_policy *policy)
{
	const struct known key = {.policy = policy};

	return bsearch(&key, known, n, sizeof(*known), compare_known);
}

struct numbers {
	bool *used;	     /* by number */
	struct known *known; /* those in use */
	size_t n_known;
	struct known *wanted; /* those of the plan */
};

static void numbers_clean(struct numbers *numbers)
{
	free(numbers->used);
	free(numbers->known);
	free(numbers->wanted);
}

static int numbers_init(struct numbers *numbers, const struct kk_tables *tables, size_t n)
{
	numbers->used = calloc(KK_POLICIES_MAX, sizeof(*numbers->used));
	numbers->known = calloc(KK_POLICIES_MAX, sizeof(*numbers->known));
	numbers->wanted = calloc(n ? n : 1, sizeof(*numbers->wanted));
	if (!numbers->used || !numbers->known || !numbers->wanted)
		return -ENOMEM;
	for (size_t slot = 1; slot < KK_SERVICES_MAX; slot++) {
		uint32_t number = tables->services[slot].policy;

		if (number == 0 || number >= KK_POLICIES_MAX || numbers->used[number])
			continue;
		numbers->used[number] = true;
		numbers->known[numbers->n_known++] =
			(struct known){.policy = &tables->policies[number], .number = number};
	}
	qsort(numbers->known, numbers->n_known, sizeof(*numbers->known), compare_known);
	return 0;
}

/* The next number that nobody uses, from *@next on; 0: there is none. */
static uint32_t take_number(struct numbers *numbers, uint32_t *next)
{
	while (*next < KK_POLICIES_MAX && numbers->used[*next])
		(*next)++;
	if (*next == KK_POLICIES_MAX)
		return 0;
	numbers->used[*next] = true;
	return *next;
}

static int no_number(struct kk_err *err)
{
	return kk_err_set(err, ENOSPC, "guards",
			  "there is room for %d different policies and no more",
			  KK_POLICIES_MAX - 1);
}

static bool asks_nothing(const struct kk_policy *policy)
{
	static const struct kk_policy none;

	return memcmp(policy, &none, sizeof(none)) == 0;
}

static int plan_numbers(struct kk_guards_plan *plan, struct numbers *numbers, struct kk_err *err)
{
	uint32_t next = 1;

	/* One after another, those that ask the same side by side. */
	for (size_t i = 0; i < plan->n; i++)
		numbers->wanted[i] = (struct known){&plan->items[i].policy, (uint32_t)i};
	qsort(numbers->wanted, plan->n, sizeof(*numbers->wanted), compare_known);
	for (size_t i = 0; i < plan->n; i++) {
		const struct known *w = &numbers->wanted[i];
		struct kk_guard_plan *item = &plan->items[w->number];
		const struct known *known = find_known(numbers->known, numbers->n_known, w->policy);

		if (asks_nothing(w->policy))
			continue;
		if (i > 0 && compare_known(w - 1, w) == 0)
			item->number = plan->items[w[-1].number].number;
		else
			item->number = known ? known->number : take_number(numbers, &next);
		if (!item->number)
			return no_number(err);
	}
	return 0;
}

/* Policies without numbers, by service. */
static int make_policies(struct kk_guards_plan *ret, const struct kk_guard *guards, size_t n,
			 struct kk_err *err)
{
	int r;

	ret->items = calloc(n ? n : 1, sizeof(*ret->items));
	if (!ret->items)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	for (size_t i = 0; i < n; i++) {
		ret->items[i].service = guards[i].service;
		r = kk_guard_policy(&guards[i], &ret->items[i].policy, err);
		if (r < 0)
			return r;
	}
	ret->n = n;
	qsort(ret->items, n, sizeof(*ret->items), compare_services);
	for (size_t i = 1; i < n; i++)
		if (ret->items[i].service == ret->items[i - 1].service)
			return kk_err_set(err, EEXIST, "service", "service %u has two guards",
					  ret->items[i].service);
	return 0;
}

int kk_guards_plan(struct kk_guards_plan *ret, const struct kk_tables *tables,
		   const struct kk_guard *guards, size_t n, struct kk_err *err)
{
	KK_CLEANUP(numbers_clean) struct numbers numbers = {0};
	int r = make_policies(ret, guards, n, err);

	if (r < 0 || n == 0)
		return r;
	if (numbers_init(&numbers, tables, n) < 0)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	return plan_numbers(ret, &numbers, err);
}

/* Of those planned before @i the number of one that asks the same; 0: there is none. */
static uint32_t number_before(const struct kk_guards_plan *plan, size_t i)
{
	for (size_t j = 0; j < i; j++)
		if (memcmp(&plan->items[j].policy, &plan->items[i].policy,
			   sizeof(plan->items[i].policy)) == 0)
			return plan->items[j].number;
	return 0;
}

int kk_guards_plan_part(struct kk_guards_plan *ret, const struct kk_tables *tables,
			const struct kk_uses *uses, const struct kk_guard *guards, size_t n,
			struct kk_err *err)
{
	int r = make_policies(ret, guards, n, err);
	uint32_t next = 1;

	for (size_t i = 0; i < ret->n && r == 0; i++) {
		struct kk_guard_plan *item = &ret->items[i];

		if (asks_nothing(&item->policy))
			continue;
		item->number = kk_uses_policy(uses, tables, &item->policy);
		if (!item->number)
			item->number = number_before(ret, i);
		while (!item->number && next < KK_POLICIES_MAX) {
			if (!uses->policies[next])
				item->number = next;
			next++;
		}
		if (!item->number)
			r = no_number(err);
	}
	return r;
}

uint32_t kk_guards_number(const struct kk_guards_plan *plan, uint32_t service)
{
	const struct kk_guard_plan key = {.service = service}, *found;

	found = bsearch(&key, plan->items, plan->n, sizeof(*plan->items), compare_services);
	return found ? found->number : 0;
}

void kk_guards_write(struct kk_tables *tables, const struct kk_guards_plan *plan)
{
	for (size_t i = 0; i < plan->n; i++)
		if (plan->items[i].number)
			tables->policies[plan->items[i].number] = plan->items[i].policy;
}

void kk_guards_clean(struct kk_guards_plan *plan)
{
	free(plan->items);
}
