// SPDX-License-Identifier: MIT
#include "agentd/agent.h"

#include <stdlib.h>

#include "util/cleanup.h"
#include "util/log.h"

/* So many reasons tell enough, and keep the report within what Control takes from an Agent. */
#define REASONS_MAX 1000

/* @l: its listener, or NULL. */
static json_t *service_json(const struct kk_service *service, const struct relay_listener *l,
			    size_t *n_reasons)
{
	const char *message = NULL;
	bool ready;

	if (!l)
		message = "nothing listens for it";
	else if (l->error[0])
		message = l->error;
	ready = !message;
	if (message && (*n_reasons)++ >= REASONS_MAX)
		message = NULL;
	return json_pack("{s:I, s:s, s:s*}", "id", (json_int_t)service->id, "state",
			 ready ? "ready" : "failed", "message", message);
}

static json_t *services_json(struct agent *a, const struct kk_config *config)
{
	KK_CLEANUP_FREE struct relay_listener *there = NULL;
	json_t *services = json_array();
	struct kk_err err = {0};
	size_t n = 0, at = 0, n_reasons = 0;

	if (a->relay.fd < 0 || relayctl_list(&a->relay, &there, &n, &err) < 0) {
		kk_warn("no report of services: %s", err.code ? err.msg : "there is no relay");
		json_decref(services);
		return NULL;
	}
	/* Both are in order of service. */
	for (size_t i = 0; services && i < config->n_services; i++) {
		const struct kk_service *service = &config->services[i];

		while (at < n && there[at].service < service->id)
			at++;
		json_array_append_new(
			services,
			service_json(service,
				     at < n && there[at].service == service->id ? &there[at] : NULL,
				     &n_reasons));
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
	json_object_set_new(report, "peers", tunnel_peers_json(a->tunnel, config));
	json_object_set_new(report, "services", services_json(a, config));
	return report;
}
