// SPDX-License-Identifier: GPL-2.0
#include "kmod/services.h"

#include <linux/err.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/slab.h>

#include "kmod/module.h"

int kk_services_init(struct kk_services *services)
{
	if (services->by_slot)
		return 0;
	services->by_slot = kvcalloc(KK_SERVICES_MAX, sizeof(*services->by_slot), KK_GFP);
	if (!services->by_slot)
		return -ENOMEM;
	xa_init(&services->by_id);
	ida_init(&services->slots);
	return 0;
}

void kk_services_clean(struct kk_services *services)
{
	if (!services->by_slot)
		return;
	WARN_ON(!xa_empty(&services->by_id));
	xa_destroy(&services->by_id);
	ida_destroy(&services->slots);
	kvfree(services->by_slot);
}

static struct kk_service *make(struct kk_services *services, u32 id)
{
	struct kk_service *service = kzalloc(sizeof(*service), KK_GFP);
	int slot, r;

	if (!service)
		return ERR_PTR(-ENOMEM);
	service->id = id;
	service->traffic = alloc_percpu_gfp(struct kk_traffic, KK_GFP);
	if (!service->traffic) {
		r = -ENOMEM;
		goto fail;
	}
	slot = ida_alloc_range(&services->slots, 1, KK_SERVICES_MAX - 1, KK_GFP);
	if (slot < 0) {
		r = slot;
		goto fail_traffic;
	}
	service->slot = slot;
	r = xa_err(xa_store(&services->by_id, id, service, KK_GFP));
	if (r)
		goto fail_slot;
	rcu_assign_pointer(services->by_slot[slot], service);
	services->n++;
	return service;

fail_slot:
	ida_free(&services->slots, slot);
fail_traffic:
	free_percpu(service->traffic);
fail:
	kfree(service);
	return ERR_PTR(r);
}

struct kk_service *kk_service_get(struct kk_services *services, u32 id)
{
	struct kk_service *service = xa_load(&services->by_id, id);

	if (!service)
		service = make(services, id);
	if (!IS_ERR(service))
		service->users++;
	return service;
}

static struct kk_service *at(struct kk_services *services, u32 slot)
{
	return rcu_dereference_protected(services->by_slot[slot], 1);
}

void kk_service_hold(struct kk_services *services, u32 slot)
{
	at(services, slot)->users++;
}

static void end(struct rcu_head *rcu)
{
	struct kk_service *service = container_of(rcu, struct kk_service, rcu);

	free_percpu(service->traffic);
	kfree(service);
}

void kk_service_put(struct kk_services *services, u32 slot)
{
	struct kk_service *service = at(services, slot);

	if (--service->users)
		return;
	RCU_INIT_POINTER(services->by_slot[slot], NULL);
	xa_erase(&services->by_id, service->id);
	services->n--;
	ida_free(&services->slots, slot);
	call_rcu(&service->rcu, end);
}

void kk_service_traffic(const struct kk_service *service, struct kk_traffic *ret)
{
	int cpu;

	memset(ret, 0, sizeof(*ret));
	for_each_possible_cpu(cpu)
	{
		const struct kk_traffic *one = per_cpu_ptr(service->traffic, cpu);

		for (int i = 0; i < 2; i++) {
			ret->direction[i].packets += READ_ONCE(one->direction[i].packets);
			ret->direction[i].bytes += READ_ONCE(one->direction[i].bytes);
		}
	}
}

void kk_services_reset(struct kk_services *services)
{
	struct kk_service *service;
	unsigned long id;
	int cpu;

	xa_for_each(&services->by_id, id, service) for_each_possible_cpu(cpu)
		memset(per_cpu_ptr(service->traffic, cpu), 0, sizeof(struct kk_traffic));
}
