// SPDX-License-Identifier: MIT
/* /healthz, and /metrics in the text format of Prometheus. */
#include "gatewayd/gateway.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "util/cleanup.h"
#include "util/json.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

static void family(FILE *f, const char *name, const char *type, const char *help)
{
	fprintf(f, "# HELP kakuremichi_%s %s\n# TYPE kakuremichi_%s %s\n", name, help, name, type);
}

/* As the text format has it in a label's value. */
static const char *escaped(const char *text, char *ret, size_t size)
{
	size_t n = 0;

	for (; *text && n + 2 < size; text++) {
		if (*text == '"' || *text == '\\')
			ret[n++] = '\\';
		ret[n++] = *text == '\n' ? ' ' : *text;
	}
	ret[n] = '\0';
	return ret;
}

static void write_xdp(FILE *f, const struct gateway *gw)
{
	struct kk_xdp_state xdp;
	char reason[2 * KK_XDP_REASON_MAX];

	if (!gw->plane || kk_datapath_edge(kk_plane_bpf(gw->plane), &xdp, NULL) < 0)
		return;
	family(f, "xdp_info", "gauge", "Where packets are checked, and why not in a better mode.");
	fprintf(f, "kakuremichi_xdp_info{mode=\"%s\",shared=\"%d\",reason=\"%s\"} 1\n",
		kk_xdp_mode_name(xdp.mode), xdp.shared,
		escaped(xdp.reason, reason, sizeof(reason)));
}

static void write_state(FILE *f, const struct gateway *gw)
{
	const struct kk_config *config = kk_link_config(gw->link);
	char reason[512];

	family(f, "build_info", "gauge", "Version of kkgatewayd.");
	fprintf(f, "kakuremichi_build_info{version=\"%s\"} 1\n", KK_VERSION);
	family(f, "control_connected", "gauge", "Whether the line to Control is up.");
	fprintf(f, "kakuremichi_control_connected %d\n", kk_link_connected(gw->link));
	family(f, "generation", "gauge", "Generation of the configuration in force.");
	fprintf(f, "kakuremichi_generation %" PRId64 "\n", config->generation);
	family(f, "dataplane_info", "gauge", "What forwards, and why not something better.");
	fprintf(f, "kakuremichi_dataplane_info{kind=\"%s\",reason=\"%s\"} 1\n",
		gw->plane ? kk_plane_kind(gw->plane) : "none",
		gw->plane ? escaped(kk_plane_reason(gw->plane), reason, sizeof(reason))
			  : "there was no configuration yet");
	family(f, "tunnel_info", "gauge", "The WireGuard interface.");
	fprintf(f, "kakuremichi_tunnel_info{kind=\"%s\",interface=\"%s\"} 1\n",
		tunnel_kind(&gw->tunnel), gw->tunnel.ifname);
	family(f, "agents", "gauge", "Agents in the configuration.");
	fprintf(f, "kakuremichi_agents %zu\n", config->n_agents);
	family(f, "services", "gauge", "Services in the configuration.");
	fprintf(f, "kakuremichi_services %zu\n", config->n_services);
}

static void write_counters(FILE *f, const struct gateway *gw)
{
	KK_CLEANUP_FREE struct kk_datapath_counter *list = NULL;
	int n = gw->plane ? kk_plane_counters(gw->plane, &list, NULL) : 0;

	family(f, "packets_total", "counter", "Packets by what became of them, and why.");
	for (int i = 0; i < n; i++)
		fprintf(f, "kakuremichi_packets_total{verdict=\"%s\",reason=\"%s\"} %" PRIu64 "\n",
			list[i].verdict, list[i].name, list[i].packets);
	family(f, "bytes_total", "counter", "The same in bytes from the network header on.");
	for (int i = 0; i < n; i++)
		fprintf(f, "kakuremichi_bytes_total{verdict=\"%s\",reason=\"%s\"} %" PRIu64 "\n",
			list[i].verdict, list[i].name, list[i].bytes);
}

static void write_services(FILE *f, const struct gateway *gw)
{
	const struct kk_config *config = kk_link_config(gw->link);
	KK_CLEANUP_FREE struct kk_datapath_service *list = NULL;
	int n = gw->plane ? kk_plane_services(gw->plane, &list, NULL) : 0;

	family(f, "service_packets_total", "counter", "Packets to (in) and from (out) a service.");
	for (int i = 0; i < n; i++) {
		const struct kk_service *s = kk_config_service(config, list[i].service);

		if (s)
			fprintf(f,
				"kakuremichi_service_packets_total{service=\"%s\",direction=\"in\"} %" PRIu64
				"\nkakuremichi_service_packets_total{service=\"%s\",direction=\"out\"} %" PRIu64
				"\n",
				s->name, list[i].in_packets, s->name, list[i].out_packets);
	}
	family(f, "service_bytes_total", "counter", "The same in bytes.");
	for (int i = 0; i < n; i++) {
		const struct kk_service *s = kk_config_service(config, list[i].service);

		if (s)
			fprintf(f,
				"kakuremichi_service_bytes_total{service=\"%s\",direction=\"in\"} %" PRIu64
				"\nkakuremichi_service_bytes_total{service=\"%s\",direction=\"out\"} %" PRIu64
				"\n",
				s->name, list[i].in_bytes, s->name, list[i].out_bytes);
	}
}

static const struct wgctl_peer *peer_of(const struct wgctl_device *device,
					const struct kk_agent *agent)
{
	return agent->has_key ? peers_lookup(device, agent->public_key) : NULL;
}

static void write_peers(FILE *f, const struct gateway *gw, const struct wgctl_device *device)
{
	const struct kk_config *config = kk_link_config(gw->link);
	int64_t now = (int64_t)time(NULL);

	family(f, "peer_handshake_age_seconds", "gauge",
	       "Time since the last handshake with an Agent; absent before the first.");
	for (size_t i = 0; i < config->n_agents; i++) {
		const struct wgctl_peer *peer = peer_of(device, &config->agents[i]);

		if (peer && peer->last_handshake)
			fprintf(f,
				"kakuremichi_peer_handshake_age_seconds{agent=\"%s\"} %" PRId64
				"\n",
				config->agents[i].name, now - peer->last_handshake);
	}
	family(f, "peer_bytes_total", "counter",
	       "Bytes received from (rx) and sent to (tx) an Agent.");
	for (size_t i = 0; i < config->n_agents; i++) {
		const struct wgctl_peer *peer = peer_of(device, &config->agents[i]);
		const char *agent = config->agents[i].name;

		if (peer)
			fprintf(f,
				"kakuremichi_peer_bytes_total{agent=\"%s\",direction=\"rx\"} %" PRIu64
				"\nkakuremichi_peer_bytes_total{agent=\"%s\",direction=\"tx\"} %" PRIu64
				"\n",
				agent, peer->rx_bytes, agent, peer->tx_bytes);
	}
}

static void answer_metrics(struct kk_httpd_request *req, struct gateway *gw)
{
	struct wgctl_device device = {0};
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f) {
		kk_httpd_answer(req, 500, "text/plain", "out of memory\n", 14);
		return;
	}
	write_state(f, gw);
	write_xdp(f, gw);
	write_counters(f, gw);
	write_services(f, gw);
	/* A counter that cannot be read is left out, the others are still worth having. */
	if (wgctl_get(gw->tunnel.wg, &device, NULL) == 0) {
		peers_sort(&device);
		write_peers(f, gw, &device);
	}
	wgctl_device_free(&device);
	if (fclose(f) == 0)
		kk_httpd_answer(req, 200, METRICS_TYPE, text, len);
	else
		kk_httpd_answer(req, 500, "text/plain", "out of memory\n", 14);
	free(text);
}

/* Well is a gateway that forwards, with or without Control. */
static void answer_health(struct kk_httpd_request *req, struct gateway *gw)
{
	bool well = tunnel_alive(&gw->tunnel);
	KK_CLEANUP_JSON json_t *obj =
		json_pack("{s:s, s:b, s:I}", "status", well ? "ok" : "the tunnel is gone",
			  "control_connected", kk_link_connected(gw->link), "generation",
			  (json_int_t)kk_link_config(gw->link)->generation);
	KK_CLEANUP_FREE char *text = obj ? kk_json_text(obj) : NULL;

	kk_httpd_answer(req, well ? 200 : 503, "application/json", text, text ? strlen(text) : 0);
}

void gateway_http(struct kk_httpd_request *req, void *userdata)
{
	const char *path = kk_httpd_path(req), *method = kk_httpd_method(req);
	struct gateway *gw = userdata;

	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
		kk_httpd_add_header(req, "Allow", "GET, HEAD");
		kk_httpd_answer(req, 405, "text/plain", "only GET and HEAD\n", 18);
	} else if (strcmp(path, "/metrics") == 0) {
		answer_metrics(req, gw);
	} else if (strcmp(path, "/healthz") == 0) {
		answer_health(req, gw);
	} else {
		kk_httpd_answer(req, 404, "text/plain", "/metrics or /healthz\n", 21);
	}
}
