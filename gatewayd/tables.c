// SPDX-License-Identifier: MIT
#include "gatewayd/tables.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

struct list {
	struct kk_listener *items;
	size_t n, room;
};

static int make_room(struct list *list, size_t more, struct kk_err *err)
{
	size_t room = list->room ? list->room : 64;
	struct kk_listener *bigger;

	while (room < list->n + more)
		room *= 2;
	if (room == list->room)
		return 0;
	bigger = reallocarray(list->items, room, sizeof(*bigger));
	if (!bigger)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	list->items = bigger;
	list->room = room;
	return 0;
}

/* All ports of a service on one address. */
static int add_ports(struct list *list, const struct kk_service *service,
		     const struct kk_agent *agent, const struct kk_address *address,
		     struct kk_err *err)
{
	const size_t n = (size_t)(service->last_port - service->port) + 1;
	int r = make_room(list, n, err);

	for (size_t i = 0; i < n && r == 0; i++)
		list->items[list->n++] = (struct kk_listener){
			.protocol = service->protocol,
			.address = *address,
			.port = (uint16_t)(service->port + i),
			.agent_address = kk_subnet_host(&agent->subnet, KK_AGENT_HOST),
			.agent_port = (uint16_t)(service->agent_port + i),
			.service = (uint32_t)service->id,
		};
	return r;
}

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
static bool is_published(const struct kk_service *service, const struct kk_address *addresses,
			 size_t i, bool has_pool6)
{
	if (addresses[i].family == AF_INET6 && !has_pool6)
		return false;
	if (service->address.family)
		return kk_address_equal(&service->address, &addresses[i]);
	for (size_t j = 0; j < i; j++)
		if (addresses[j].family == addresses[i].family)
			return false;
	return true;
}

static int add_service(const struct kk_config *config, const struct kk_service *service,
		       const struct kk_address *addresses, size_t n_addresses, struct list *list,
		       struct kk_err *err)
{
	int r = check_service(config, service, err);

	for (size_t i = 0; i < n_addresses && r == 0; i++)
		if (is_published(service, addresses, i, config->self.pool6.len != 0))
			r = add_ports(list, service, kk_config_agent(config, service->agents[0]),
				      &addresses[i], err);
	return r;
}

int tables_listeners(const struct kk_config *config, const struct kk_address *addresses,
		     size_t n_addresses, struct kk_listener **ret, size_t *ret_n,
		     struct kk_err *err)
{
	struct list list = {0};
	int r = make_room(&list, config->n_services + 1, err);

	for (size_t i = 0; i < config->n_services && r == 0; i++)
		r = add_service(config, &config->services[i], addresses, n_addresses, &list, err);
	if (r < 0) {
		free(list.items);
		return r;
	}
	*ret = list.items;
	*ret_n = list.n;
	return 0;
}

static bool carries(const struct kk_listener *carried, size_t n, uint8_t protocol, uint16_t port)
{
	for (size_t i = 0; i < n; i++)
		if (carried[i].protocol == protocol && carried[i].port == port)
			return true;
	return false;
}

/* The service that has a port, or NULL. */
static const struct kk_service *find(const struct kk_config *config, uint8_t protocol,
				     uint16_t port)
{
	for (size_t i = 0; i < config->n_services; i++) {
		const struct kk_service *s = &config->services[i];

		if (s->protocol == protocol && s->port <= port && port <= s->last_port)
			return s;
	}
	return NULL;
}

static int refuse(const struct kk_service *service, const struct port *port, struct kk_err *err)
{
	char owner[80];

	ports_owner(port->inode, owner, sizeof(owner));
	return kk_err_set(
		err, EADDRINUSE, "port",
		"port %u/%s is in use on this gateway by %s, so service %s cannot have it",
		port->number, protocol_name(port->protocol), owner, service->name);
}

int tables_check_ports(const struct kk_config *config, const struct kk_listener *carried,
		       size_t n_carried, const struct ports *used, struct kk_err *err)
{
	const struct kk_service *service = find(config, IPPROTO_UDP, config->self.wg_port);

	if (service)
		return kk_err_set(
			err, EADDRINUSE, "port",
			"port %u/udp is the WireGuard port of this gateway, so service %s cannot have it",
			config->self.wg_port, service->name);
	for (size_t i = 0; i < used->n; i++) {
		const struct port *port = &used->items[i];

		service = find(config, port->protocol, port->number);
		if (service && !carries(carried, n_carried, port->protocol, port->number))
			return refuse(service, port, err);
	}
	return 0;
}
