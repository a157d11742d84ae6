// SPDX-License-Identifier: MIT
#include "bpf/uses.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/lists.h"
#include "util/cleanup.h"

static uint32_t hash_of_service(uint32_t id)
{
	return kk_chains_hash(&id, sizeof(id));
}

static uint32_t hash_of_policy(const struct kk_policy *policy)
{
	return kk_chains_hash(policy, sizeof(*policy));
}

void kk_uses_free(struct kk_uses *uses)
{
	if (!uses)
		return;
	free(uses->listeners);
	free(uses->retired);
	free(uses->policies);
	kk_chains_clean(&uses->services);
	kk_chains_clean(&uses->by_policy);
	free(uses);
}

static void uses_freep(struct kk_uses **uses)
{
	kk_uses_free(*uses);
}

uint32_t kk_uses_slot(const struct kk_uses *uses, const struct kk_tables *tables, uint32_t service)
{
	uint32_t slot = kk_chains_first(&uses->services, hash_of_service(service));

	while (slot && tables->services[slot].id != service)
		slot = kk_chains_next(&uses->services, slot);
	return slot;
}

uint32_t kk_uses_policy(const struct kk_uses *uses, const struct kk_tables *tables,
			const struct kk_policy *policy)
{
	uint32_t number = kk_chains_first(&uses->by_policy, hash_of_policy(policy));

	while (number && memcmp(&tables->policies[number], policy, sizeof(*policy)) != 0)
		number = kk_chains_next(&uses->by_policy, number);
	return number;
}

void kk_uses_enter(struct kk_uses *uses, const struct kk_tables *tables, uint32_t slot)
{
	kk_chains_add(&uses->services, hash_of_service(tables->services[slot].id), slot);
	uses->n_services++;
	while (uses->fresh < KK_SERVICES_MAX &&
	       tables->services[uses->fresh].state != KK_SLOT_FRESH)
		uses->fresh++;
}

void kk_uses_leave(struct kk_uses *uses, const struct kk_tables *tables, uint32_t slot)
{
	kk_chains_remove(&uses->services, hash_of_service(tables->services[slot].id), slot);
	uses->n_services--;
}

void kk_uses_retire(struct kk_uses *uses, uint32_t slot)
{
	uses->retired[uses->n_retired++] = slot;
}

void kk_uses_take_policy(struct kk_uses *uses, const struct kk_tables *tables, uint32_t number)
{
	if (number && uses->policies[number]++ == 0)
		kk_chains_add(&uses->by_policy, hash_of_policy(&tables->policies[number]), number);
}

void kk_uses_drop_policy(struct kk_uses *uses, const struct kk_tables *tables, uint32_t number)
{
	if (number && --uses->policies[number] == 0)
		kk_chains_remove(&uses->by_policy, hash_of_policy(&tables->policies[number]),
				 number);
}

static void count_services(struct kk_uses *uses, const struct kk_tables *tables)
{
	/* The first slots are given out first, so from the end. */
	for (uint32_t slot = KK_SERVICES_MAX - 1; slot > 0; slot--) {
		const union kk_service_slot *s = &tables->services[slot];

		if (s->state == KK_SLOT_FRESH) {
			uses->fresh = slot;
		} else if (s->state == KK_SLOT_RETIRED) {
			uses->retired[uses->n_retired++] = slot;
		} else {
			kk_chains_add(&uses->services, hash_of_service(s->id), slot);
			uses->n_services++;
			kk_uses_take_policy(uses, tables, s->policy % KK_POLICIES_MAX);
		}
	}
}

static void count_listeners(struct kk_uses *uses, const struct kk_tables *tables)
{
	for (size_t i = 0; i < (size_t)tables->n_slots * KK_LISTENERS_PER_ADDRESS; i++) {
		__u64 word = tables->listeners[i];

		if (!word)
			continue;
		uses->listeners[kk_listener_service(word) % KK_SERVICES_MAX]++;
		if (word & KK_LISTENER_GROUP)
			uses->groups[kk_listener_agent(word) % KK_GROUPS_MAX]++;
	}
}

static int count_rules(struct kk_uses *uses, const struct kk_tables *tables, struct kk_err *err)
{
	KK_CLEANUP_FREE struct kk_list_record *records = NULL;
	const struct kk_table table = kk_tables_lists(tables);
	int n = kk_records_read(&table, (void **)&records, err);

	if (n < 0)
		return n;
	uses->n_rules = (size_t)n;
	for (int i = 0; i < n; i++)
		uses->n_denied += kk_list_record_list(&records[i]) == KK_LIST_GATEWAY;
	return 0;
}

int kk_uses_make(const struct kk_tables *tables, struct kk_uses **ret, struct kk_err *err)
{
	KK_CLEANUP(uses_freep) struct kk_uses *uses = calloc(1, sizeof(*uses));
	int r;

	if (!uses)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	uses->fresh = KK_SERVICES_MAX;
	uses->listeners = calloc(KK_SERVICES_MAX, sizeof(*uses->listeners));
	uses->retired = calloc(KK_SERVICES_MAX, sizeof(*uses->retired));
	uses->policies = calloc(KK_POLICIES_MAX, sizeof(*uses->policies));
	if (!uses->listeners || !uses->retired || !uses->policies ||
	    kk_chains_init(&uses->services, KK_SERVICES_MAX - 1) < 0 ||
	    kk_chains_init(&uses->by_policy, KK_POLICIES_MAX - 1) < 0)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	count_services(uses, tables);
	count_listeners(uses, tables);
	r = count_rules(uses, tables, err);
	if (r < 0)
		return r;
	*ret = KK_STEAL(uses);
	return 0;
}
