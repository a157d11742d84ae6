// SPDX-License-Identifier: MIT
#include "genl/content.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/guards.h"
#include "core/maglev.h"
#include "genl/wire.h"
#include "util/cleanup.h"

int kk_content_compare_listeners(const void *a, const void *b)
{
	const struct kk_listener *x = a, *y = b;
	int r = kk_address_compare(&x->address, &y->address);

	if (r)
		return r;
	if (x->protocol != y->protocol)
		return x->protocol - y->protocol;
	return x->port - y->port;
}

int kk_content_compare_groups(const void *a, const void *b)
{
	const struct kk_group *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

int kk_content_compare_guards(const void *a, const void *b)
{
	const struct kk_guard *x = a, *y = b;

	return (x->service > y->service) - (x->service < y->service);
}

int kk_content_compare_rules(const void *a, const void *b)
{
	const struct kk_list_record *x = a, *y = b;

	return memcmp(&x->key, &y->key, sizeof(x->key));
}

static int compare_members(const void *a, const void *b)
{
	const struct kk_member *x = a, *y = b;

	return memcmp(&x->address, &y->address, sizeof(x->address));
}

bool kk_content_same_way_back(const struct kk_listener *a, const struct kk_listener *b)
{
	return a->group == b->group &&
	       (a->group || a->agent_address.s_addr == b->agent_address.s_addr) &&
	       a->agent_port == b->agent_port && a->snat == b->snat;
}

bool kk_content_same_listener(const void *a, const void *b)
{
	const struct kk_listener *x = a, *y = b;

	return kk_content_same_way_back(x, y) && x->service == y->service &&
	       x->draining == y->draining;
}

bool kk_content_same_group(const void *a, const void *b)
{
	const struct kk_group *x = a, *y = b;

	if (x->n_members != y->n_members)
		return false;
	for (size_t i = 0; i < x->n_members; i++)
		if (compare_members(&x->members[i], &y->members[i]) != 0 ||
		    x->members[i].healthy != y->members[i].healthy)
			return false;
	return true;
}

static bool same_limit(const struct kk_limit *a, const struct kk_limit *b)
{
	return a->rate == b->rate && (!a->rate || a->burst == b->burst);
}

bool kk_content_same_guard(const void *a, const void *b)
{
	const struct kk_guard *x = a, *y = b;

	return x->list == y->list && x->deny_others == y->deny_others &&
	       x->syn_rate == y->syn_rate && same_limit(&x->packets, &y->packets) &&
	       same_limit(&x->connections, &y->connections);
}

bool kk_content_same_rule(const void *a, const void *b)
{
	const struct kk_list_record *x = a, *y = b;

	return x->value.verdict == y->value.verdict;
}

static void *copy_of(const void *items, size_t n, size_t size)
{
	void *copy = calloc(n + 1, size);

	if (copy && n)
		memcpy(copy, items, n * size);
	return copy;
}

/* Of UDP nothing can drain but flows that are known. */
static bool is_there(const struct kk_listener *l)
{
	return !(l->draining && l->protocol == IPPROTO_UDP && !l->snat);
}

static int copy_groups(struct kk_content *content, const struct kk_datapath_tables *tables)
{
	size_t n = 0;

	for (size_t i = 0; i < tables->n_groups; i++)
		n += tables->groups[i].n_members;
	content->groups = copy_of(tables->groups, tables->n_groups, sizeof(*content->groups));
	content->members = calloc(n + 1, sizeof(*content->members));
	if (!content->groups || !content->members)
		return -ENOMEM;
	n = 0;
	for (size_t i = 0; i < tables->n_groups; i++) {
		struct kk_group *group = &content->groups[i];
		struct kk_member *members = content->members + n;

		if (group->n_members)
			memcpy(members, group->members, group->n_members * sizeof(*members));
		qsort(members, group->n_members, sizeof(*members), compare_members);
		group->members = members;
		n += group->n_members;
	}
	content->n_groups = tables->n_groups;
	qsort(content->groups, content->n_groups, sizeof(*content->groups),
	      kk_content_compare_groups);
	return 0;
}

int kk_content_make(struct kk_content *ret, const struct kk_datapath_tables *tables,
		    struct kk_err *err)
{
	int n;

	*ret = (struct kk_content){
		.listeners = calloc(tables->n_listeners + 1, sizeof(*ret->listeners)),
		.guards = copy_of(tables->guards, tables->n_guards, sizeof(*ret->guards)),
		.n_guards = tables->n_guards,
	};
	if (!ret->listeners || !ret->guards || copy_groups(ret, tables) < 0)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	for (size_t i = 0; i < tables->n_listeners; i++)
		if (is_there(&tables->listeners[i]))
			ret->listeners[ret->n_listeners++] = tables->listeners[i];
	qsort(ret->listeners, ret->n_listeners, sizeof(*ret->listeners),
	      kk_content_compare_listeners);
	qsort(ret->guards, ret->n_guards, sizeof(*ret->guards), kk_content_compare_guards);
	n = kk_lists_records(tables->lists, tables->n_lists, &ret->rules, err);
	if (n < 0)
		return n;
	ret->n_rules = (size_t)n;
	qsort(ret->rules, ret->n_rules, sizeof(*ret->rules), kk_content_compare_rules);
	return 0;
}

void kk_content_clean(struct kk_content *content)
{
	free(content->listeners);
	free(content->groups);
	free(content->members);
	free(content->guards);
	free(content->rules);
}

/* ---- checks ---- */

static const char *protocol_name(const struct kk_listener *l)
{
	return l->protocol == IPPROTO_TCP ? "tcp" : "udp";
}

static bool has_group(const struct kk_content *content, uint32_t id)
{
	const struct kk_group key = {.id = id};

	return bsearch(&key, content->groups, content->n_groups, sizeof(key),
		       kk_content_compare_groups);
}

static int check_listener(const struct kk_content *content, const struct kk_settings *set,
			  const struct kk_listener *l, struct kk_err *err)
{
	char text[KK_ADDRESS_TEXT];

	if (kk_wire_slot(set, &l->address) < 0)
		return kk_err_set(err, EINVAL, "address", "%s is no public address of this gateway",
				  kk_address_text(&l->address, text));
	if (l->protocol != IPPROTO_TCP && l->protocol != IPPROTO_UDP)
		return kk_err_set(err, EINVAL, "protocol", "protocol %u cannot be published",
				  l->protocol);
	if (!l->port || !l->agent_port)
		return kk_err_set(err, EINVAL, l->port ? "agent_port" : "port",
				  "port 0 cannot be published");
	if (l->group && !has_group(content, l->group))
		return kk_err_set(err, ENOENT, "group",
				  "port %u/%s leads to group %u, which there is not", l->port,
				  protocol_name(l), l->group);
	if (l->snat && !set->host)
		return kk_err_set(
			err, EINVAL, "snat",
			"port %u/%s: this gateway has no address that an Agent could see in a client's place",
			l->port, protocol_name(l));
	return 0;
}

static int check_listeners(const struct kk_content *content, const struct kk_settings *set,
			   struct kk_err *err)
{
	const struct kk_listener *l = content->listeners;

	for (size_t i = 0; i < content->n_listeners; i++) {
		int r = check_listener(content, set, &l[i], err);

		if (r < 0)
			return r;
		if (i > 0 && kk_content_compare_listeners(&l[i - 1], &l[i]) == 0)
			return kk_err_set(err, EEXIST, "port", "port %u/%s is published twice",
					  l[i].port, protocol_name(&l[i]));
	}
	return 0;
}

static int check_group(const struct kk_group *group, struct kk_err *err)
{
	if (group->id == 0)
		return kk_err_set(err, EINVAL, "group", "0 is no group's id");
	if (group->n_members == 0 || group->n_members > KK_MAGLEV_MEMBERS_MAX)
		return kk_err_set(err, EINVAL, "group", "group %u has %zu members (1 to %d)",
				  group->id, group->n_members, KK_MAGLEV_MEMBERS_MAX);
	return 0;
}

static int check_groups(const struct kk_content *content, struct kk_err *err)
{
	const struct kk_group *group = content->groups;

	if (content->n_groups > KK_GROUPS_MAX)
		return kk_err_set(err, ENOSPC, "groups",
				  "%zu groups are more than the %d that a gateway carries",
				  content->n_groups, KK_GROUPS_MAX);
	for (size_t i = 0; i < content->n_groups; i++) {
		int r = check_group(&group[i], err);

		if (r < 0)
			return r;
		if (i > 0 && group[i].id == group[i - 1].id)
			return kk_err_set(err, EEXIST, "group", "group %u is there twice",
					  group[i].id);
	}
	return 0;
}

static bool has_list(const struct kk_datapath_tables *tables, uint32_t id)
{
	for (size_t i = 0; i < tables->n_lists; i++)
		if (tables->lists[i].id == id)
			return true;
	return false;
}

static int compare_ids(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int check_guards(const struct kk_content *content, const struct kk_datapath_tables *tables,
			struct kk_err *err)
{
	KK_CLEANUP_FREE uint32_t *services = calloc(tables->n_listeners + 1, sizeof(*services));
	struct kk_policy policy;
	int r = 0;

	if (!services)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	for (size_t i = 0; i < tables->n_listeners; i++)
		services[i] = tables->listeners[i].service;
	qsort(services, tables->n_listeners, sizeof(*services), compare_ids);
	for (size_t i = 0; i < content->n_guards && r == 0; i++) {
		const struct kk_guard *guard = &content->guards[i];

		r = kk_guard_policy(guard, &policy, err);
		if (r < 0)
			return r;
		if (i > 0 && guard->service == guard[-1].service)
			r = kk_err_set(err, EEXIST, "service", "service %u has two guards",
				       guard->service);
		else if (!bsearch(&guard->service, services, tables->n_listeners, sizeof(*services),
				  compare_ids))
			r = kk_err_set(err, ENOENT, "service",
				       "service %u is guarded and not published", guard->service);
		else if (guard->list && !has_list(tables, guard->list))
			r = kk_err_set(err, ENOENT, "list",
				       "service %u goes by list %u, which there is not",
				       guard->service, guard->list);
	}
	return r;
}

static int check_rules(const struct kk_content *content, struct kk_err *err)
{
	for (size_t i = 1; i < content->n_rules; i++)
		if (kk_content_compare_rules(&content->rules[i - 1], &content->rules[i]) == 0)
			return kk_list_record_twice(&content->rules[i], err);
	return 0;
}

int kk_content_check(const struct kk_content *content, const struct kk_settings *set,
		     const struct kk_datapath_tables *tables, struct kk_err *err)
{
	int r = check_groups(content, err);

	if (r == 0)
		r = check_listeners(content, set, err);
	if (r == 0)
		r = check_guards(content, tables, err);
	return r < 0 ? r : check_rules(content, err);
}
