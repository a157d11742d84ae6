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

/* Whether the socket behind @l is the right one; the target may be another. */
static bool fits(const struct agent *a, const struct kk_config *config,
		 const struct relay_listener *l)
{
	const struct kk_service *service = kk_config_service(config, l->service);

	return service && service->protocol == l->protocol && service->port == l->port &&
	       service->agent_port == l->agent_port &&
	       tunnel_socket_fits(a->tunnel, &config->self.subnet, l->address, l->netns_cookie);
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
		     service->proxy_protocol != there[i].proxy_protocol))
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

static int add_listener(struct agent *a, const struct kk_config *config,
			const struct kk_service *service, struct kk_err *err)
{
	KK_CLEANUP_CLOSE int fd = tunnel_listen(a->tunnel, &config->self.subnet, service->protocol,
						service->agent_port, err);

	return fd < 0 ? fd : relayctl_listen(&a->relay, service, fd, err);
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
