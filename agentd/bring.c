// SPDX-License-Identifier: MIT
/*
 * From what is there to what shall be, by difference: peers first, then listeners, then what is no longer
 * wanted. What is there is asked of the tunnel and the relay, never remembered, so that the same steps
 * serve a change, a restart, a mending and an undoing.
 */
#include "agentd/agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"

static size_t count_ports(const struct kk_service *service)
{
	return (size_t)(service->last_port - service->port) + 1;
}

static bool same_addresses(const struct agent *a, const struct kk_config *config,
			   const struct relay_listener *l)
{
	struct kk_address own[2];
	size_t n = tunnel_addresses(a->tunnel, &config->self, own);

	for (size_t i = 0; i < n && n == l->n_addresses; i++)
		if (!kk_address_equal(&own[i], &l->addresses[i]))
			return false;
	return n == l->n_addresses;
}

/* Whether the sockets behind @l are the right ones; the target may be another. */
static bool fits(const struct agent *a, const struct kk_config *config,
		 const struct relay_listener *l)
{
	const struct kk_service *service = kk_config_service(config, l->service);

	return service && service->protocol == l->protocol && service->port == l->port &&
	       service->last_port == l->last_port && service->agent_port == l->agent_port &&
	       same_addresses(a, config, l) &&
	       l->n_sockets == l->n_addresses * count_ports(service) &&
	       tunnel_is_netns(a->tunnel, l->netns_cookie);
}

static int drop_listeners(struct agent *a, const struct kk_config *config,
			  const struct relay_listener *there, size_t n, struct kk_err *err)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++)
		if (!fits(a, config, &there[i]))
			r = relayctl_unlisten(&a->relay, there[i].service, err);
	return r;
}

static int change_targets(struct agent *a, const struct kk_config *config,
			  const struct relay_listener *there, size_t n, struct kk_err *err)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		const struct kk_service *service = kk_config_service(config, there[i].service);

		if (fits(a, config, &there[i]) &&
		    (strcmp(service->target, there[i].target) != 0 ||
		     service->proxy_protocol != there[i].proxy_protocol ||
		     service->shared != there[i].shared))
			r = relayctl_set(&a->relay, service, err);
	}
	return r;
}

static int compare(const void *key, const void *item)
{
	const int64_t *service = key;
	const struct relay_listener *l = item;

	return (*service > l->service) - (*service < l->service);
}

/* The sockets of a service in their order: of each port one on every address. */
struct sockets {
	struct agent *agent;
	const struct kk_service *service;
	struct kk_address addresses[2];
	size_t n_addresses;
};

static int next_socket(size_t i, void *userdata, struct kk_err *err)
{
	const struct sockets *s = userdata;
	const struct kk_address *address = &s->addresses[i % s->n_addresses];
	const uint16_t port = (uint16_t)(s->service->agent_port + i / s->n_addresses);

	return tunnel_listen(s->agent->tunnel, address, s->service->protocol, port, err);
}

static int add_listener(struct agent *a, const struct kk_config *config,
			const struct kk_service *service, struct kk_err *err)
{
	struct sockets s = {.agent = a, .service = service};

	s.n_addresses = tunnel_addresses(a->tunnel, &config->self, s.addresses);
	return relayctl_listen(&a->relay, service, s.n_addresses * count_ports(service),
			       next_socket, &s, err);
}

static int add_listeners(struct agent *a, const struct kk_config *config,
			 const struct relay_listener *there, size_t n, struct kk_err *err)
{
	int r = 0;

	for (size_t i = 0; i < config->n_services && r == 0; i++) {
		const struct kk_service *service = &config->services[i];
		const struct relay_listener *l =
			n ? bsearch(&service->id, there, n, sizeof(*there), compare) : NULL;

		if (!l || !fits(a, config, l))
			r = add_listener(a, config, service, err);
	}
	return r;
}

static int bring_listeners(struct agent *a, const struct kk_config *config, struct kk_err *err)
{
	KK_CLEANUP_FREE struct relay_listener *there = NULL;
	size_t n = 0;
	int r = relayctl_list(&a->relay, &there, &n, err);

	/* First what goes, since its ports may be wanted by what comes. */
	if (r == 0)
		r = drop_listeners(a, config, there, n, err);
	if (r == 0)
		r = change_targets(a, config, there, n, err);
	if (r == 0)
		r = add_listeners(a, config, there, n, err);
	return r;
}

/* The relay says by which gateway somebody came: the engine tells it the peer, we tell it the peers' names. */
static int name_gateways(struct agent *a, const struct kk_config *config, struct kk_err *err)
{
	KK_CLEANUP_CLOSE int fd = tunnel_flows(a->tunnel, err);

	return fd < 0 ? fd : relayctl_gateways(&a->relay, config, fd, err);
}

int agent_bring(struct agent *a, const struct kk_config *config, struct kk_err *err)
{
	int r = tunnel_up(a->tunnel, config, err);

	if (r == 0)
		r = name_gateways(a, config, err);
	if (r == 0)
		r = bring_listeners(a, config, err);
	if (r == 0)
		r = tunnel_trim(a->tunnel, config, err);
	return r;
}
