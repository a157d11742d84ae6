/* SPDX-License-Identifier: MIT */
/*
 * Which service has which slot, and how often groups and policies are used: counted once from the tables, and kept along
 * with each change after that, so that a change costs what it changes (amend.h).
 */
#ifndef KK_BPF_USES_H
#define KK_BPF_USES_H

#include <kk/core/types.h>

#include "bpf/chains.h"
#include "bpf/tables.h"

struct kk_uses {
	uint32_t *listeners;	   /* by slot of a service: how many lead there */
	struct kk_chains services; /* slots in use, by id */
	size_t n_services;
	uint32_t fresh;	   /* the first slot that was never used; KK_SERVICES_MAX: none */
	uint32_t *retired; /* slots that were used, the last one first */
	size_t n_retired;
	uint32_t groups[KK_GROUPS_MAX]; /* by number: how many listeners lead there */
	uint32_t *policies;		/* by number: how many slots have it */
	struct kk_chains by_policy;	/* those in use, by what they ask */
	size_t n_rules, n_denied;	/* in the table of lists; of them in list 0 */
};

/* From the tables as they are; *@ret is freed with kk_uses_free(). */
int kk_uses_make(const struct kk_tables *tables, struct kk_uses **ret, struct kk_err *err);
void kk_uses_free(struct kk_uses *uses);

/* The slot of a service; 0: it has none. */
uint32_t kk_uses_slot(const struct kk_uses *uses, const struct kk_tables *tables, uint32_t service);
/* A policy in use that asks the same; 0: there is none. */
uint32_t kk_uses_policy(const struct kk_uses *uses, const struct kk_tables *tables,
			const struct kk_policy *policy);

/* A slot got its service, or is about to lose it: while the table of services has the id there. */
void kk_uses_enter(struct kk_uses *uses, const struct kk_tables *tables, uint32_t slot);
void kk_uses_leave(struct kk_uses *uses, const struct kk_tables *tables, uint32_t slot);
/* A slot that nothing took over. */
void kk_uses_retire(struct kk_uses *uses, uint32_t slot);
/* One slot more or less has the policy, as it stands in the table. */
void kk_uses_take_policy(struct kk_uses *uses, const struct kk_tables *tables, uint32_t number);
void kk_uses_drop_policy(struct kk_uses *uses, const struct kk_tables *tables, uint32_t number);

#endif
