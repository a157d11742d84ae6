// SPDX-License-Identifier: MIT
#include "gatewayd/gateway.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/json.h"
#include "util/log.h"

/* A report has 1 MiB at most (doc/protocol.md), a peer about 150 bytes. */
#define PEERS_MAX 5000

static json_t *report_dataplane(const struct gateway *gw)
{
	struct kk_xdp_state xdp;
	struct kk_err err = {0};
	json_t *obj;

	if (!gw->plane)
		return json_pack("{s:s, s:s}", "kind", "none", "reason",
				 "there was no configuration yet");
	obj = json_pack("{s:s, s:s}", "kind", kk_plane_kind(gw->plane), "reason",
			kk_plane_reason(gw->plane));
	if (kk_datapath_edge(kk_plane_bpf(gw->plane), &xdp, &err) < 0) {
		kk_warn("%s", err.msg);
		return obj;
	}
	json_object_set_new(obj, "xdp", json_string(kk_xdp_mode_name(xdp.mode)));
	json_object_set_new(obj, "xdp_shared", json_boolean(xdp.shared));
	json_object_set_new(obj, "xdp_reason", json_string(xdp.reason));
	return obj;
}

static json_t *report_tunnel(const struct gateway *gw)
{
	return json_pack("{s:s, s:s, s:s}", "kind", tunnel_kind(&gw->tunnel), "reason",
			 wgctl_reason(gw->tunnel.wg), "interface", gw->tunnel.ifname);
}

static json_t *report_ports(struct gateway *gw)
{
	struct kk_err err = {0};
	struct ports now;
	json_t *list = json_array();

	if (gateway_ports(gw, &now, &err) < 0) {
		kk_warn("%s", err.msg);
	} else {
		ports_clean(&gw->ports);
		gw->ports = now;
	}
	for (size_t i = 0; i < gw->ports.n; i++)
		json_array_append_new(list, json_pack("{s:s, s:i}", "protocol",
						      protocol_name(gw->ports.items[i].protocol),
						      "port", (int)gw->ports.items[i].number));
	return list;
}

static json_t *report_peer(const struct kk_agent *agent, const struct wgctl_peer *peer)
{
	char endpoint[KK_ENDPOINT_TEXT];
	json_t *obj = json_pack("{s:I, s:I, s:I, s:I}", "agent", (json_int_t)agent->id,
				"last_handshake", (json_int_t)peer->last_handshake, "rx_bytes",
				(json_int_t)peer->rx_bytes, "tx_bytes", (json_int_t)peer->tx_bytes);

	if (!obj || !peer->endpoint.any.sa_family)
		return obj;
	kk_sockaddr_text(&peer->endpoint, endpoint);
	json_object_set_new(obj, "endpoint", json_string(endpoint));
	return obj;
}

static json_t *report_peers(struct gateway *gw)
{
	const struct kk_config *config = kk_link_config(gw->link);
	struct wgctl_device device = {0};
	struct kk_err err = {0};
	json_t *list = json_array();

	if (wgctl_get(gw->tunnel.wg, &device, &err) < 0) {
		kk_warn("%s", err.msg);
		return list;
	}
	peers_sort(&device);
	for (size_t i = 0; i < config->n_agents && json_array_size(list) < PEERS_MAX; i++) {
		const struct kk_agent *agent = &config->agents[i];
		const struct wgctl_peer *peer =
			agent->has_key ? peers_lookup(&device, agent->public_key) : NULL;

		if (peer)
			json_array_append_new(list, report_peer(agent, peer));
	}
	wgctl_device_free(&device);
	return list;
}

/* By name; of those that share a service. */
static json_t *report_silent(const struct gateway *gw)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < gw->health.n; i++)
		if (gw->health.agents[i].gone)
			json_array_append_new(list, json_string(gw->health.agents[i].name));
	return list;
}

static json_t *report_refusing(const struct gateway *gw)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < gw->probe.n; i++)
		if (gw->probe.targets[i].refuses)
			json_array_append_new(list, json_pack("{s:s, s:s}", "service",
							      gw->probe.targets[i].service_name,
							      "agent", gw->probe.targets[i].name));
	return list;
}

json_t *gateway_report(void *userdata)
{
	struct gateway *gw = userdata;

	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "dataplane", report_dataplane(gw),
			 "tunnel", report_tunnel(gw), "ports_in_use", report_ports(gw),
			 "silent_agents", report_silent(gw), "refusing", report_refusing(gw),
			 "peers", report_peers(gw));
}
