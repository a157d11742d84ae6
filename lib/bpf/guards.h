/* SPDX-License-Identifier: MIT */
/* Guards of services as policies in the tables, and which number each has there. */
#ifndef KK_BPF_GUARDS_H
#define KK_BPF_GUARDS_H

#include <kk/core/types.h>

#include "bpf/tables.h"
#include "bpf/uses.h"

struct kk_guard_plan {
	uint32_t service;
	uint32_t number; /* of the policy; 0: none is needed */
	struct kk_policy policy;
};

/* Planned guards, sorted by service. Nothing is changed until kk_guards_write(). */
struct kk_guards_plan {
	struct kk_guard_plan *items;
	size_t n;
};

/*
 * Guards that ask the same share a policy. One that is in use stays as it is: what asks for another gets
 * another number, and the service's slot is switched. Errors as kk_datapath_set() has them.
 */
int kk_guards_plan(struct kk_guards_plan *ret, const struct kk_tables *tables,
		   const struct kk_guard *guards, size_t n, struct kk_err *err);
/* The same for some services, beside whatever others have (@uses). */
int kk_guards_plan_part(struct kk_guards_plan *ret, const struct kk_tables *tables,
			const struct kk_uses *uses, const struct kk_guard *guards, size_t n,
			struct kk_err *err);
/* The number of the policy of @service; 0: it has none. */
uint32_t kk_guards_number(const struct kk_guards_plan *plan, uint32_t service);
void kk_guards_write(struct kk_tables *tables, const struct kk_guards_plan *plan);
void kk_guards_clean(struct kk_guards_plan *plan);
/* What is wrong with a guard, as -ENOENT: its service has no listeners; its list is not there. */
int kk_guard_unpublished(uint32_t service, struct kk_err *err);
int kk_guard_no_list(uint32_t service, uint32_t list, struct kk_err *err);

/* The policy of a guard. -EINVAL: a limit that cannot be. */
int kk_guard_policy(const struct kk_guard *guard, struct kk_policy *ret, struct kk_err *err);
/* What a policy of @service asks, as the tables keep it. */
struct kk_guard kk_guard_of(uint32_t service, const struct kk_policy *policy);

#endif
