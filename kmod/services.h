/* SPDX-License-Identifier: GPL-2.0 */
/* Services as packets know them: a slot, and the traffic that is counted there. */
#ifndef KK_KMOD_SERVICES_H
#define KK_KMOD_SERVICES_H

#include <linux/idr.h>
#include <linux/xarray.h>

#include <kk/core/edge_types.h>

struct kk_service {
	u32 id, slot;
	u32 users; /* listeners and guards, of all sets of tables */
	struct kk_flood flood;
	struct kk_traffic __percpu *traffic;
	struct rcu_head rcu;
};

struct kk_services {
	struct xarray by_id;
	u32 n;
	struct ida slots; /* from 1 on */
	struct kk_service __rcu **by_slot;
};

/* Once before any use, and again without effect. */
int kk_services_init(struct kk_services *services);
/* No packet and no user may be left. */
void kk_services_clean(struct kk_services *services);

/* The service @id, made if there is none, with one more user; an error pointer when memory is short. */
struct kk_service *kk_service_get(struct kk_services *services, u32 id);
/* One more user of a service that has some. */
void kk_service_hold(struct kk_services *services, u32 slot);
/* The last one ends it, and its counters. */
void kk_service_put(struct kk_services *services, u32 slot);

/* The sum over all processors. */
void kk_service_traffic(const struct kk_service *service, struct kk_traffic *ret);
void kk_services_reset(struct kk_services *services);

/* On the way of a packet. NULL: the service has just gone. */
static inline struct kk_service *kk_services_at(const struct kk_services *services, u32 slot)
{
	return likely(slot < KK_SERVICES_MAX) ? rcu_dereference(services->by_slot[slot]) : NULL;
}

static inline void kk_services_count(struct kk_services *services, u32 slot,
				     enum kk_direction direction, u32 bytes)
{
	struct kk_service *service = rcu_dereference(services->by_slot[slot]);

	if (likely(service)) {
		this_cpu_inc(service->traffic->direction[direction].packets);
		this_cpu_add(service->traffic->direction[direction].bytes, bytes);
	}
}

#endif
