// SPDX-License-Identifier: MIT
#include "gatewayd/tables.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "util/cleanup.h"

static int no_memory(struct kk_err *err)
{
	return kk_err_set(err, ENOMEM, NULL, "out of memory");
}

/* ---- which services, and where ---- */

static int check_service(const struct kk_config *config, const struct kk_service *service,
			 struct kk_err *err)
{
	for (size_t i = 0; i < service->n_agents; i++)
		if (!kk_config_agent(config, service->agents[i]))
			return kk_err_set(err, EINVAL, "agent",
					  "service %s is on agent %" PRId64 ", which there is not",
					  service->name, service->agents[i]);
	if (service->id <= 0 || service->id > UINT32_MAX)
		return kk_err_set(err, EINVAL, "id",
				  "service %s has the number %" PRId64 ", which is too large",
				  service->name, service->id);
	return 0;
}

/* Whether the service is published on address number @i. */
static bool is_published_on(const struct kk_config *config, const struct kk_service *service,
			    const struct tables_place *place, size_t i)
{
	const struct kk_address *addresses = place->addresses;

	if (addresses[i].family == AF_INET6 && !config->self.pool6.len)
		return false;
	if (service->address.family)
		return kk_address_equal(&service->address, &addresses[i]);
	for (size_t j = 0; j < i; j++)
		if (addresses[j].family == addresses[i].family)
			return false;
	return true;
}

static size_t count_addresses(const struct kk_config *config, const struct kk_service *service,
			      const struct tables_place *place)
{
	size_t n = 0;

	for (size_t i = 0; i < place->n_addresses; i++)
		n += is_published_on(config, service, place, i);
	return n;
}

static size_t count_ports(const struct kk_service *service)
{
	return (size_t)(service->last_port - service->port) + 1;
}

static struct in_addr address_of(const struct kk_config *config, int64_t agent)
{
	return kk_subnet_host(&kk_config_agent(config, agent)->subnet, KK_AGENT_HOST);
}

/* ---- listeners and groups ---- */

/* All ports of a service on one address. */
static void add_ports(struct tables *t, const struct kk_config *config,
		      const struct kk_service *service, const struct kk_address *address)
{
	for (size_t i = 0; i < count_ports(service); i++)
		t->listeners[t->all.n_listeners++] = (struct kk_listener){
			.protocol = service->protocol,
			.address = *address,
			.port = (uint16_t)(service->port + i),
			.agent_address = address_of(config, service->agents[0]),
			.agent_port = (uint16_t)(service->agent_port + i),
			.service = (uint32_t)service->id,
			.group = service->n_agents > 1 ? (uint32_t)service->id : 0,
			.snat = service->snat,
			.draining = service->draining,
		};
}

size_t tables_members(const struct kk_config *config, const struct kk_service *service,
		      const struct tables_place *place, struct kk_member ret[KK_MEMBERS_MAX])
{
	for (size_t i = 0; i < service->n_agents; i++)
		ret[i] = (struct kk_member){
			.address = address_of(config, service->agents[i]),
			.healthy =
				!place->is_healthy ||
				place->is_healthy(service->id, service->agents[i], place->userdata),
		};
	return service->n_agents;
}

static void add_group(struct tables *t, const struct kk_config *config,
		      const struct kk_service *service, const struct tables_place *place,
		      size_t *n_members)
{
	struct kk_member *members = t->members + *n_members;

	*n_members += tables_members(config, service, place, members);
	t->groups[t->all.n_groups++] = (struct kk_group){
		.id = (uint32_t)service->id, .members = members, .n_members = service->n_agents};
}

/* ---- lists and guards ---- */

static int compare_filters(const void *a, const void *b)
{
	const struct kk_filter *const *x = a, *const *y = b;

	if ((*x)->service != (*y)->service)
		return (*x)->service < (*y)->service ? -1 : 1;
	return ((*x)->id > (*y)->id) - ((*x)->id < (*y)->id);
}

/* The rules in order of their service, in one list for each. */
static int add_lists(struct tables *t, const struct kk_config *config, struct kk_err *err)
{
	KK_CLEANUP_FREE const struct kk_filter **sorted =
		calloc(config->n_rules + 1, sizeof(*sorted));

	if (!sorted)
		return no_memory(err);
	for (size_t i = 0; i < config->n_rules; i++)
		sorted[i] = &config->rules[i];
	qsort(sorted, config->n_rules, sizeof(*sorted), compare_filters);
	for (size_t i = 0; i < config->n_rules; i++) {
		struct kk_list *list = t->all.n_lists ? &t->lists[t->all.n_lists - 1] : NULL;
		const uint32_t id = (uint32_t)sorted[i]->service;

		if (!list || list->id != id) {
			list = &t->lists[t->all.n_lists++];
			*list = (struct kk_list){.id = id, .rules = &t->rules[i]};
		}
		t->rules[i] = (struct kk_rule){sorted[i]->prefix, sorted[i]->allow};
		list->n_rules++;
	}
	return 0;
}

static int compare_lists(const void *a, const void *b)
{
	const struct kk_list *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

static const struct kk_list *find_list(const struct tables *t, const struct kk_service *service)
{
	const struct kk_list key = {.id = (uint32_t)service->id};

	return bsearch(&key, t->lists, t->all.n_lists, sizeof(key), compare_lists);
}

/* Up to a second's worth at once. */
static struct kk_limit limit(uint32_t rate)
{
	return (struct kk_limit){.rate = rate, .burst = rate < KK_BURST_MAX ? rate : KK_BURST_MAX};
}

static void add_guard(struct tables *t, const struct kk_service *service)
{
	const struct kk_list *list = find_list(t, service);
	struct kk_guard guard = {
		.service = (uint32_t)service->id,
		.list = list ? list->id : 0,
		.packets = limit(service->limit_packets),
		.connections = limit(service->limit_connections),
	};

	for (size_t i = 0; list && i < list->n_rules; i++)
		guard.deny_others |= list->rules[i].allow;
	if (list || guard.packets.rate || guard.connections.rate)
		t->guards[t->all.n_guards++] = guard;
}

/* ---- all of it ---- */

static int make_room(struct tables *t, const struct kk_config *config,
		     const struct tables_place *place)
{
	size_t n_listeners = 0, n_members = 0;

	for (size_t i = 0; i < config->n_services; i++) {
		const struct kk_service *s = &config->services[i];

		n_listeners += count_addresses(config, s, place) * count_ports(s);
		n_members += s->n_agents;
	}
	t->listeners = calloc(n_listeners + 1, sizeof(*t->listeners));
	t->members = calloc(n_members + 1, sizeof(*t->members));
	t->groups = calloc(config->n_services + 1, sizeof(*t->groups));
	t->guards = calloc(config->n_services + 1, sizeof(*t->guards));
	t->lists = calloc(config->n_rules + 1, sizeof(*t->lists));
	t->rules = calloc(config->n_rules + 1, sizeof(*t->rules));
	return t->listeners && t->members && t->groups && t->guards && t->lists && t->rules
		       ? 0
		       : -ENOMEM;
}

static void add_service(struct tables *t, const struct kk_config *config,
			const struct kk_service *service, const struct tables_place *place,
			size_t *n_members)
{
	if (!count_addresses(config, service, place))
		return;
	for (size_t i = 0; i < place->n_addresses; i++)
		if (is_published_on(config, service, place, i))
			add_ports(t, config, service, &place->addresses[i]);
	if (service->n_agents > 1)
		add_group(t, config, service, place, n_members);
	add_guard(t, service);
}

int tables_make(const struct kk_config *config, const struct tables_place *place,
		struct tables *ret, struct kk_err *err)
{
	KK_CLEANUP(tables_clean) struct tables t = {0};
	size_t n_members = 0;
	int r = 0;

	for (size_t i = 0; i < config->n_services && r == 0; i++)
		r = check_service(config, &config->services[i], err);
	if (r == 0 && make_room(&t, config, place) < 0)
		r = no_memory(err);
	if (r == 0)
		r = add_lists(&t, config, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < config->n_services; i++)
		add_service(&t, config, &config->services[i], place, &n_members);
	t.all.listeners = t.listeners;
	t.all.groups = t.groups;
	t.all.guards = t.guards;
	t.all.lists = t.lists;
	*ret = t;
	t = (struct tables){0};
	return 0;
}

void tables_clean(struct tables *t)
{
	free(t->listeners);
	free(t->groups);
	free(t->members);
	free(t->guards);
	free(t->lists);
	free(t->rules);
	*t = (struct tables){0};
}

/* ---- ports of the host itself ---- */

static int refuse(const struct kk_service *service, const struct port *port, struct kk_err *err)
{
	char owner[80];

	ports_owner(port->inode, owner, sizeof(owner));
	return kk_err_set(
		err, EADDRINUSE, "port",
		"port %u/%s is in use on this gateway by %s, so service %s cannot have it",
		port->number, protocol_name(port->protocol), owner, service->name);
}

/* The first of @used that the service is on and that the tables have not got, or NULL. */
static const struct port *
find_conflict(const struct kk_service *service, const struct ports *used,
	      bool (*carries)(uint8_t protocol, uint16_t port, void *userdata), void *userdata)
{
	const struct port *port = ports_from(used, service->protocol, service->port);
	const struct port *end = used->items + used->n;

	for (; port < end && port->protocol == service->protocol &&
	       port->number <= service->last_port;
	     port++)
		if (!carries(port->protocol, port->number, userdata))
			return port;
	return NULL;
}

int tables_check_ports(const struct kk_config *config, const struct ports *used,
		       bool (*carries)(uint8_t protocol, uint16_t port, void *userdata),
		       void *userdata, struct kk_err *err)
{
	for (size_t i = 0; i < config->n_services; i++) {
		const struct kk_service *s = &config->services[i];
		const struct port *port = find_conflict(s, used, carries, userdata);

		if (s->protocol == IPPROTO_UDP && s->port <= config->self.wg_port &&
		    config->self.wg_port <= s->last_port)
			return kk_err_set(
				err, EADDRINUSE, "port",
				"port %u/udp is the WireGuard port of this gateway, so service %s cannot have it",
				config->self.wg_port, s->name);
		if (port)
			return refuse(s, port, err);
	}
	return 0;
}

bool tables_has_new_port(const struct kk_config *config,
			 bool (*carries)(uint8_t protocol, uint16_t port, void *userdata),
			 void *userdata)
{
	for (size_t i = 0; i < config->n_services; i++) {
		const struct kk_service *s = &config->services[i];

		for (uint32_t port = s->port; port <= s->last_port; port++)
			if (!carries(s->protocol, (uint16_t)port, userdata))
				return true;
	}
	return false;
}
