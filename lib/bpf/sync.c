// SPDX-License-Identifier: MIT
/*
 * One change of the tables: planned in memory, then made. All that can fail comes before the first
 * word of the mapped tables is written, and writing those cannot fail.
 */
#include "bpf/tables.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/bpf.h>

#include "bpf/origins.h"
#include "util/cleanup.h"
#include "util/log.h"

struct plan {
	__u64 *listeners; /* the whole table as it shall be */
	/* all listeners by Agent port, then those that need an origin */
	struct kk_origin_entry *origins;
	size_t n_origins;
	uint32_t *ids;	 /* services, sorted, each once */
	uint32_t *slots; /* of them */
	size_t n_ids;
	uint8_t *taken; /* by slot: wanted after the change */
};

static void plan_clean(struct plan *plan)
{
	free(plan->listeners);
	free(plan->origins);
	free(plan->ids);
	free(plan->slots);
	free(plan->taken);
}

static int plan_init(struct plan *plan, uint32_t n_slots, size_t n)
{
	plan->listeners =
		calloc((size_t)n_slots * KK_LISTENERS_PER_ADDRESS, sizeof(*plan->listeners));
	plan->origins = calloc(n ? n : 1, sizeof(*plan->origins));
	plan->ids = calloc(n ? n : 1, sizeof(*plan->ids));
	plan->slots = calloc(n ? n : 1, sizeof(*plan->slots));
	plan->taken = calloc(KK_SERVICES_MAX, 1);
	return plan->listeners && plan->origins && plan->ids && plan->slots && plan->taken
		       ? 0
		       : -ENOMEM;
}

static int compare_ids(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static uint32_t *plan_slot(const struct plan *plan, uint32_t id)
{
	const uint32_t *found = bsearch(&id, plan->ids, plan->n_ids, sizeof(id), compare_ids);

	return found ? &plan->slots[found - plan->ids] : NULL;
}

static void plan_ids(struct plan *plan, const struct kk_listener *listeners, size_t n)
{
	for (size_t i = 0; i < n; i++)
		plan->ids[i] = listeners[i].service;
	qsort(plan->ids, n, sizeof(*plan->ids), compare_ids);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || plan->ids[i] != plan->ids[i - 1])
			plan->ids[plan->n_ids++] = plan->ids[i];
}

/* Gives the services that have none a slot of @state. Slot 0 stands for no service. */
static void plan_take(struct plan *plan, const union kk_service_slot *services,
		      enum kk_slot_state state)
{
	size_t next = 1;

	for (size_t i = 0; i < plan->n_ids; i++) {
		if (plan->slots[i])
			continue;
		while (next < KK_SERVICES_MAX &&
		       (plan->taken[next] || services[next].state != state))
			next++;
		if (next == KK_SERVICES_MAX)
			return;
		plan->slots[i] = (uint32_t)next;
		plan->taken[next] = 1;
	}
}

/*
 * A service keeps its slot, and so its counters. New ones take over a slot in use only if need be.
 */
static int plan_services(struct plan *plan, const union kk_service_slot *services,
			 struct kk_err *err)
{
	for (size_t slot = 1; slot < KK_SERVICES_MAX; slot++) {
		uint32_t *wanted = services[slot].state == KK_SLOT_USED
					   ? plan_slot(plan, services[slot].id)
					   : NULL;

		if (!wanted || *wanted)
			continue;
		*wanted = (uint32_t)slot;
		plan->taken[slot] = 1;
	}
	plan_take(plan, services, KK_SLOT_FRESH);
	plan_take(plan, services, KK_SLOT_RETIRED);
	plan_take(plan, services, KK_SLOT_USED);
	for (size_t i = 0; i < plan->n_ids; i++)
		if (!plan->slots[i])
			return kk_err_set(
				err, ENOSPC, "services",
				"%zu services are more than the %d that a gateway carries",
				plan->n_ids, KK_SERVICES_MAX - 1);
	return 0;
}

static int plan_listener(struct plan *plan, const struct kk_tables *tables,
			 const struct kk_listener *l, struct kk_err *err)
{
	int slot = kk_tables_slot(tables, &l->address);
	uint32_t service = *plan_slot(plan, l->service);
	__be32 agent = l->agent_address.s_addr;
	char text[KK_ADDRESS_TEXT];
	__u64 *word;

	if (slot < 0)
		return kk_err_set(err, EINVAL, "address", "address %s is not managed here",
				  kk_address_text(&l->address, text));
	word = &plan->listeners[kk_listener_index((uint32_t)slot, l->protocol, l->port)];
	if (*word)
		return kk_err_set(err, EEXIST, "port", "port %u/%s is published twice", l->port,
				  l->protocol == IPPROTO_TCP ? "tcp" : "udp");
	*word = kk_listener_word(kk_pool_offset(agent, tables->settings.pool_mask), l->agent_port,
				 service, 0);
	plan->origins[plan->n_origins++] = (struct kk_origin_entry){
		.key = {.address = agent,
			.port = KK_BE16(l->agent_port),
			.protocol = l->protocol,
			.family = kk_slot_family((uint32_t)slot)},
		.value = {.port = KK_BE16(l->port), .slot = (__u16)slot, .service = service},
	};
	return 0;
}

/* Whether the array of listeners answers for it, at the Agent's port of the first address. */
static bool is_plain(const struct kk_origin_entry *origin)
{
	return origin->key.port == origin->value.port &&
	       origin->value.slot == kk_slot(origin->key.family, 0);
}

/* Sorts them, refuses twins, and keeps those that the array of listeners does not answer for. */
static int plan_origins(struct plan *plan, struct kk_err *err)
{
	size_t kept = 0;

	qsort(plan->origins, plan->n_origins, sizeof(*plan->origins), kk_origin_compare);
	for (size_t i = 1; i < plan->n_origins; i++) {
		const struct kk_origin_key *key = &plan->origins[i].key;
		char text[INET_ADDRSTRLEN];

		if (kk_origin_compare(&plan->origins[i - 1], &plan->origins[i]) != 0)
			continue;
		return kk_err_set(err, EEXIST, "agent_port",
				  "port %u/%s of Agent %s is published twice", KK_HOST16(key->port),
				  key->protocol == IPPROTO_TCP ? "tcp" : "udp",
				  inet_ntop(AF_INET, &key->address, text, sizeof(text)));
	}
	for (size_t i = 0; i < plan->n_origins; i++)
		if (!is_plain(&plan->origins[i]))
			plan->origins[kept++] = plan->origins[i];
	plan->n_origins = kept;
	return 0;
}

static int plan_make(struct plan *plan, const struct kk_tables *tables,
		     const struct kk_listener *listeners, size_t n, struct kk_err *err)
{
	int r;

	if (plan_init(plan, tables->n_slots, n) < 0)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	plan_ids(plan, listeners, n);
	r = plan_services(plan, tables->services, err);
	for (size_t i = 0; i < n && r == 0; i++)
		r = plan_listener(plan, tables, &listeners[i], err);
	return r < 0 ? r : plan_origins(plan, err);
}

#define RESET_BATCH 256

/* Counters are no reason to refuse a change. */
static void reset_traffic(const struct kk_tables *tables, uint32_t *slots, size_t n)
{
	KK_CLEANUP_FREE struct kk_traffic *zero =
		calloc((size_t)tables->n_cpus * RESET_BATCH, sizeof(*zero));

	for (size_t i = 0; i < n; i += RESET_BATCH) {
		__u32 count = (__u32)(n - i < RESET_BATCH ? n - i : RESET_BATCH);

		if (zero &&
		    bpf_map_update_batch(tables->traffic_fd, slots + i, zero, &count, NULL) == 0)
			continue;
		kk_warn("counters of services begin with those of earlier ones: %s",
			strerror(errno));
		return;
	}
}

/* Slots that had another service before begin to count anew. */
static void reset_services(const struct kk_tables *tables, const struct plan *plan)
{
	KK_CLEANUP_FREE uint32_t *slots = calloc(plan->n_ids ? plan->n_ids : 1, sizeof(*slots));
	size_t n = 0;

	for (size_t i = 0; i < plan->n_ids && slots; i++) {
		const union kk_service_slot *slot = &tables->services[plan->slots[i]];

		if (slot->state == KK_SLOT_RETIRED ||
		    (slot->state == KK_SLOT_USED && slot->id != plan->ids[i]))
			slots[n++] = plan->slots[i];
	}
	reset_traffic(tables, slots, n);
}

static void store(__u64 *word, __u64 value)
{
	if (*word != value)
		__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static void apply_services(struct kk_tables *tables, const struct plan *plan)
{
	for (size_t i = 0; i < plan->n_ids; i++) {
		union kk_service_slot used = {.id = plan->ids[i], .state = KK_SLOT_USED};

		store(&tables->services[plan->slots[i]].word, used.word);
	}
}

static void retire_services(struct kk_tables *tables, const struct plan *plan)
{
	for (size_t i = 1; i < KK_SERVICES_MAX; i++) {
		union kk_service_slot retired = {.state = KK_SLOT_RETIRED};

		if (!plan->taken[i] && tables->services[i].state == KK_SLOT_USED)
			store(&tables->services[i].word, retired.word);
	}
}

int kk_tables_sync(struct kk_tables *tables, const struct kk_listener *listeners, size_t n,
		   struct kk_err *err)
{
	KK_CLEANUP(plan_clean) struct plan plan = {0};
	int r;

	r = plan_make(&plan, tables, listeners, n, err);
	if (r < 0)
		return r;
	r = kk_origins_sync(tables->origins_fd, plan.origins, plan.n_origins, err);
	if (r < 0)
		return r;
	reset_services(tables, &plan);
	apply_services(tables, &plan);
	for (size_t i = 0; i < (size_t)tables->n_slots * KK_LISTENERS_PER_ADDRESS; i++)
		store(&tables->listeners[i], plan.listeners[i]);
	retire_services(tables, &plan);
	return 0;
}
