// SPDX-License-Identifier: MIT
/*
 * From what is there to what shall be, by difference: ways to gateways first, then listeners, then what
 * is no longer wanted. What is there is asked of the tunnel and the relay, never remembered, so that the
 * same steps serve a change, a restart, a mending and an undoing.
 */
#include "agentd/agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"

static bool is_wanted(const struct kk_gateway *gateway)
{
	return gateway && gateway->has_key;
}

static int ways_up(struct agent *a, const struct kk_config *config, struct kk_err *err)
{
	int r = 0;

	for (size_t i = 0; i < config->n_gateways && r == 0; i++)
		if (is_wanted(&config->gateways[i]))
			r = tunnel_up(a->tunnel, &config->self.subnet, &config->gateways[i], err);
	return r;
}

static int ways_down(struct agent *a, const struct kk_config *config, struct kk_err *err)
{
	bool wanted[256] = {false};
	int r = 0;

	for (size_t i = 0; i < config->n_gateways; i++)
		if (is_wanted(&config->gateways[i]))
			wanted[config->gateways[i].index] = true;
	for (unsigned int i = 1; i < 255 && r == 0; i++)
		if (!wanted[i] && tunnel_is_up(a->tunnel, (uint8_t)i))
			r = tunnel_down(a->tunnel, (uint8_t)i, err);
	return r;
}

/* Whether the socket behind @l is the right one; the target may be another. */
static bool fits(const struct agent *a, const struct kk_config *config,
		 const struct relay_listener *l)
{
	const struct kk_service *service = kk_config_service(config, l->service);
	const struct kk_gateway *gateway = kk_config_gateway(config, l->gateway);

	return service && is_wanted(gateway) && service->protocol == l->protocol &&
	       service->port == l->port && service->agent_port == l->agent_port &&
	       tunnel_device_fits(a->tunnel, gateway, l->device);
}

static int drop_listeners(struct agent *a, const struct kk_config *config,
			  const struct relay_listener *there, size_t n, struct kk_err *err)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++)
		if (!fits(a, config, &there[i]))
			r = relayctl_unlisten(&a->relay, there[i].service, there[i].gateway, err);
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
		     service->proxy_protocol != there[i].proxy_protocol))
			r = relayctl_set(&a->relay, service, err);
	}
	return r;
}

struct pair {
	int64_t service, gateway;
};

static int compare(const void *key, const void *item)
{
	const struct pair *a = key;
	const struct relay_listener *b = item;

	if (a->service != b->service)
		return a->service < b->service ? -1 : 1;
	return (a->gateway > b->gateway) - (a->gateway < b->gateway);
}

static int add_listener(struct agent *a, const struct kk_config *config,
			const struct kk_service *service, const struct kk_gateway *gateway,
			struct kk_err *err)
{
	KK_CLEANUP_CLOSE int fd = tunnel_listen(a->tunnel, &config->self.subnet, gateway,
						service->protocol, service->agent_port, err);

	return fd < 0 ? fd : relayctl_listen(&a->relay, service, gateway, fd, err);
}

static int add_listeners(struct agent *a, const struct kk_config *config,
			 const struct relay_listener *there, size_t n, struct kk_err *err)
{
	int r = 0;

	for (size_t s = 0; s < config->n_services && r == 0; s++)
		for (size_t g = 0; g < config->n_gateways && r == 0; g++) {
			const struct pair pair = {config->services[s].id, config->gateways[g].id};
			const struct relay_listener *l =
				n ? bsearch(&pair, there, n, sizeof(*there), compare) : NULL;

			if (!is_wanted(&config->gateways[g]) || (l && fits(a, config, l)))
				continue;
			r = add_listener(a, config, &config->services[s], &config->gateways[g],
					 err);
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

int agent_bring(struct agent *a, const struct kk_config *config, struct kk_err *err)
{
	int r = ways_up(a, config, err);

	if (r == 0)
		r = bring_listeners(a, config, err);
	if (r == 0)
		r = ways_down(a, config, err);
	return r;
}
