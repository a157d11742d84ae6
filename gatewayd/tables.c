// SPDX-License-Identifier: MIT
#include "gatewayd/tables.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

static int make_listener(const struct kk_config *config, const struct kk_service *service,
			 struct in_addr address, struct kk_listener *ret, struct kk_err *err)
{
	const struct kk_agent *agent = kk_config_agent(config, service->agent);

	if (!agent)
		return kk_err_set(err, EINVAL, "agent",
				  "service %s is on agent %" PRId64 ", which there is not",
				  service->name, service->agent);
	if (service->id <= 0 || service->id > UINT32_MAX)
		return kk_err_set(err, EINVAL, "id",
				  "service %s has the number %" PRId64 ", which is too large",
				  service->name, service->id);
	*ret = (struct kk_listener){
		.protocol = service->protocol,
		.address = {.family = AF_INET, .v4 = address},
		.port = service->port,
		.agent_address = kk_subnet_host(&agent->subnet, KK_AGENT_HOST),
		.agent_port = service->agent_port,
		.service = (uint32_t)service->id,
	};
	return 0;
}

int tables_listeners(const struct kk_config *config, struct in_addr address,
		     struct kk_listener **ret, struct kk_err *err)
{
	struct kk_listener *list = calloc(config->n_services + 1, sizeof(*list));
	int r = 0;

	if (!list)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	for (size_t i = 0; i < config->n_services && r == 0; i++)
		r = make_listener(config, &config->services[i], address, &list[i], err);
	if (r < 0)
		free(list);
	else
		*ret = list;
	return r;
}

/* Ports by protocol, a bit each. */
struct carried {
	uint64_t bits[2][65536 / 64];
};

static void carried_add(struct carried *carried, uint8_t protocol, uint16_t port)
{
	carried->bits[protocol == IPPROTO_UDP][port / 64] |= 1ULL << port % 64;
}

static bool carries(const struct carried *carried, const struct kk_service *service)
{
	return carried->bits[service->protocol == IPPROTO_UDP][service->port / 64] >>
		       service->port % 64 &
	       1;
}

static int refuse(const struct kk_service *service, const struct port *port, struct kk_err *err)
{
	char owner[80];

	ports_owner(port->inode, owner, sizeof(owner));
	return kk_err_set(
		err, EADDRINUSE, "port",
		"port %u/%s is in use on this gateway by %s, so service %s cannot have it",
		service->port, protocol_name(service->protocol), owner, service->name);
}

int tables_check_ports(const struct kk_config *config, const struct kk_listener *listeners,
		       size_t n, const struct ports *used, struct kk_err *err)
{
	struct carried carried = {0};

	for (size_t i = 0; i < n; i++)
		carried_add(&carried, listeners[i].protocol, listeners[i].port);
	for (size_t i = 0; i < config->n_services; i++) {
		const struct kk_service *service = &config->services[i];
		const struct port *port = ports_find(used, service->protocol, service->port);

		if (service->protocol == IPPROTO_UDP && service->port == config->self.wg_port)
			return kk_err_set(
				err, EADDRINUSE, "port",
				"port %u/udp is the WireGuard port of this gateway, so service %s cannot have it",
				service->port, service->name);
		if (port && !carries(&carried, service))
			return refuse(service, port, err);
	}
	return 0;
}
