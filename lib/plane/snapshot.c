// SPDX-License-Identifier: MIT
#include "plane/snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bpf/address.h"
#include "core/maglev.h"
#include "util/cleanup.h"

#define SECOND 1000000000ULL

static void user_freep(struct kk_user **user)
{
	kk_user_free(*user);
}

static void tables_freep(struct kk_datapath_tables **tables)
{
	kk_datapath_tables_free(*tables);
}

static uint32_t slot_of(const struct kk_settings *set, const struct kk_address *address)
{
	const struct kk_in6 in6 = kk_in6_of(address);

	for (uint32_t i = 0; i < KK_ADDRESSES_MAX; i++) {
		if (address->family == AF_INET && set->address4[i] == address->v4.s_addr)
			return kk_slot(KK_IP4, i);
		if (address->family == AF_INET6 &&
		    memcmp(&set->address6[i], &in6, sizeof(in6)) == 0)
			return kk_slot(KK_IP6, i);
	}
	return KK_SLOTS_MAX;
}

/* ---- groups, each in the place that it has in the list ---- */

static int fill_group(struct kk_user *user, size_t place, const struct kk_group *group,
		      struct kk_err *err)
{
	struct kk_maglev_member members[KK_MAGLEV_MEMBERS_MAX];
	uint32_t table[KK_MAGLEV_SIZE];

	if (place >= KK_GROUPS_MAX || group->n_members > KK_MAGLEV_MEMBERS_MAX)
		return kk_err_set(err, EBADMSG, NULL, "the module has too large a group");
	for (size_t i = 0; i < group->n_members; i++)
		members[i] = (struct kk_maglev_member){
			.agent = kk_pool_offset(group->members[i].address.s_addr,
						user->settings.pool_mask),
			.healthy = group->members[i].healthy};
	if (kk_maglev_fill(members, group->n_members, table) < 0)
		return kk_err_set(err, EBADMSG, NULL, "the module's group %u has no members",
				  group->id);
	for (size_t i = 0; i < KK_MAGLEV_SIZE; i++)
		user->groups[place * KK_MAGLEV_SIZE + i] = table[i];
	return 0;
}

/* ---- listeners ---- */

/* Listeners of a service come one after another, or else it has several slots, which does no harm here. */
static uint32_t slot_for_service(struct kk_user *user, uint32_t service, uint32_t *last)
{
	if (*last == 0 || user->services[*last].id != service) {
		if (*last + 1 < KK_SERVICES_MAX)
			(*last)++;
		user->services[*last] =
			(union kk_service_slot){.id = service, .state = KK_SLOT_USED};
	}
	return *last;
}

static void fill_listener(struct kk_user *user, const struct kk_datapath_tables *tables,
			  const struct kk_listener *l, uint32_t *last_service)
{
	struct kk_user_listener published = {
		.slot = slot_of(&user->settings, &l->address),
		.protocol = l->protocol,
		.port = l->port,
		.agent = l->agent_address.s_addr,
		.agent_port = l->agent_port,
		.flags =
			(l->snat ? KK_LISTENER_SNAT : 0) | (l->draining ? KK_LISTENER_DRAINING : 0),
	};

	if (published.slot == KK_SLOTS_MAX)
		return; /* of an address that is not managed any more: no packet gets there */
	published.service = slot_for_service(user, l->service, last_service);
	for (size_t i = 0; i < tables->n_groups && l->group; i++) {
		const struct kk_group *group = &tables->groups[i];

		if (group->id != l->group)
			continue;
		published.agent = (uint32_t)i;
		published.flags |= KK_LISTENER_GROUP;
		for (size_t m = 0; m < group->n_members && !l->snat; m++)
			kk_user_origin(user, &published, group->members[m].address.s_addr);
	}
	kk_user_publish(user, &published);
}

/* ---- translated flows ---- */

static int fill_flow(struct kk_user *user, const struct kk_module_flow *flow, uint64_t now,
		     struct kk_err *err)
{
	const struct kk_snat_key key = {
		.agent = flow->agent.s_addr,
		.agent_port = KK_BE16(flow->agent_port),
		.port = KK_BE16(flow->port),
		.protocol = flow->protocol,
		.family = flow->client.family == AF_INET6 ? KK_IP6 : KK_IP4,
	};
	const struct kk_snat_flow value = {
		.client = kk_in6_of(&flow->client),
		.client_port = KK_BE16(flow->client_port),
		.public_port = KK_BE16(flow->public_port),
		.slot = flow->slot,
		.seen = now - flow->idle * SECOND,
	};

	if (!kk_map_put(&user->snat, &key, &value))
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	return 0;
}

static int fill_flows(const struct kk_module *module, struct kk_user *user, struct kk_err *err)
{
	KK_CLEANUP_FREE struct kk_module_flow *flows = NULL;
	int n = kk_module_flows(module, &flows, err), r = n < 0 ? n : 0;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	for (int i = 0; i < n && r == 0; i++)
		r = fill_flow(user, &flows[i],
			      (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec, err);
	return r;
}

int kk_module_snapshot(const struct kk_module *module, struct kk_user **ret, struct kk_err *err)
{
	KK_CLEANUP(user_freep) struct kk_user *user = kk_user_new();
	KK_CLEANUP(tables_freep) struct kk_datapath_tables *tables = NULL;
	struct kk_module_info info;
	uint32_t last_service = 0;
	int r;

	if (!user)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	r = kk_module_info(module, &info, err);
	if (r == 0)
		r = kk_module_read(module, &tables, err);
	if (r < 0)
		return r;
	user->settings = info.settings;
	for (size_t i = 0; i < tables->n_groups && r == 0; i++)
		r = fill_group(user, i, &tables->groups[i], err);
	for (size_t i = 0; i < tables->n_listeners && r == 0; i++)
		fill_listener(user, tables, &tables->listeners[i], &last_service);
	if (r == 0)
		r = fill_flows(module, user, err);
	if (r == 0)
		*ret = KK_STEAL(user);
	return r;
}
