// SPDX-License-Identifier: MIT
#include "agentd/agent.h"

#include <stdlib.h>

#include "util/cleanup.h"
#include "util/log.h"

static json_t *peers_json(struct agent *a, const struct kk_config *config)
{
	json_t *peers = json_array();

	for (size_t i = 0; peers && i < config->n_gateways; i++) {
		const struct kk_gateway *gateway = &config->gateways[i];
		json_t *peer = tunnel_peer_json(a->tunnel, gateway->index);

		if (!peer)
			continue;
		json_object_set_new(peer, "gateway", json_integer(gateway->id));
		json_array_append_new(peers, peer);
	}
	return peers;
}

/* A service is as well as its least well listener; @l is the first of @n that may be its own. */
static json_t *service_json(const struct kk_service *service, const struct relay_listener *l,
			    size_t n)
{
	const char *message = "no gateway can reach it yet";

	for (size_t i = 0; i < n; i++) {
		if (l[i].service != service->id)
			continue;
		message = l[i].error[0] ? l[i].error : NULL;
		if (message)
			break;
	}
	return json_pack("{s:I, s:s, s:s*}", "id", (json_int_t)service->id, "state",
			 message ? "failed" : "ready", "message", message);
}

static json_t *services_json(struct agent *a, const struct kk_config *config)
{
	KK_CLEANUP_FREE struct relay_listener *there = NULL;
	json_t *services = json_array();
	struct kk_err err = {0};
	size_t n = 0, at = 0;

	if (a->relay.fd < 0 || relayctl_list(&a->relay, &there, &n, &err) < 0) {
		kk_warn("no report of services: %s", err.code ? err.msg : "there is no relay");
		json_decref(services);
		return NULL;
	}
	/* Both are in order of service. */
	for (size_t i = 0; services && i < config->n_services; i++) {
		size_t end = at;

		while (at < n && there[at].service < config->services[i].id)
			end = ++at;
		while (end < n && there[end].service == config->services[i].id)
			end++;
		json_array_append_new(services,
				      service_json(&config->services[i], &there[at], end - at));
	}
	return services;
}

json_t *agent_report(struct agent *a)
{
	const struct kk_config *config = kk_link_config(a->link);
	json_t *report = json_object();

	if (!report)
		return NULL;
	json_object_set_new(report, "tunnel", tunnel_json(a->tunnel));
	json_object_set_new(report, "peers", peers_json(a, config));
	json_object_set_new(report, "services", services_json(a, config));
	return report;
}
