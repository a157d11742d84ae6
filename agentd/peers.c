// SPDX-License-Identifier: MIT
#include "agentd/peers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"

#define KEEPALIVE 25

void peers_forget(struct peers *peers)
{
	*peers = (struct peers){0};
}

static bool is_known(const struct peers *peers, const struct kk_gateway *gateway)
{
	return peers->gateways[gateway->index].is_set &&
	       kk_sockaddr_equal(&peers->gateways[gateway->index].endpoint, &gateway->endpoint) &&
	       memcmp(peers->gateways[gateway->index].public_key, gateway->public_key,
		      KK_KEY_LEN) == 0;
}

static const struct wgctl_peer *find_peer(const struct wgctl_device *device,
					  const struct kk_gateway *gateway)
{
	for (size_t i = 0; i < device->n_peers; i++)
		if (memcmp(device->peers[i].public_key, gateway->public_key, KK_KEY_LEN) == 0)
			return &device->peers[i];
	return NULL;
}

static bool is_right(const struct wgctl_peer *peer, const struct kk_gateway *gateway)
{
	return peer && kk_sockaddr_equal(&peer->endpoint, &gateway->endpoint) &&
	       peer->keepalive == KEEPALIVE && peer->n_allowed == 1 && !peer->allowed_other &&
	       peer->allowed[0].len == 0 && peer->n_allowed6 == 1 && peer->allowed6[0].len == 0;
}

/* Everything may come from each gateway: the engine tells their flows apart. */
static int set_wrong(struct wgctl *wg, const struct wgctl_device *device,
		     const struct kk_config *config, struct kk_err *err)
{
	KK_CLEANUP_FREE struct wgctl_peer *wrong = calloc(config->n_gateways, sizeof(*wrong));
	size_t n = 0;

	if (!wrong)
		return kk_err_set(err, ENOMEM, NULL, "memory is short");
	for (size_t i = 0; i < config->n_gateways; i++) {
		const struct kk_gateway *gateway = &config->gateways[i];

		if (!gateway->has_key || is_right(find_peer(device, gateway), gateway))
			continue;
		wrong[n] = (struct wgctl_peer){.endpoint = gateway->endpoint,
					       .keepalive = KEEPALIVE,
					       .n_allowed = 1,
					       .allowed6[0].addr.family = AF_INET6,
					       .n_allowed6 = 1};
		memcpy(wrong[n++].public_key, gateway->public_key, KK_KEY_LEN);
	}
	return wgctl_set_peers(wg, wrong, n, err);
}

static bool all_known(const struct peers *peers, const struct kk_config *config)
{
	for (size_t i = 0; i < config->n_gateways; i++)
		if (config->gateways[i].has_key && !is_known(peers, &config->gateways[i]))
			return false;
	return true;
}

int peers_up(struct peers *peers, struct wgctl *wg, const struct kk_config *config,
	     struct kk_err *err)
{
	struct wgctl_device device;
	int r;

	if (all_known(peers, config))
		return 0;
	peers_forget(peers);
	r = wgctl_get(wg, &device, err);
	if (r < 0)
		return r;
	r = set_wrong(wg, &device, config, err);
	wgctl_device_free(&device);
	for (size_t i = 0; r == 0 && i < config->n_gateways; i++) {
		const struct kk_gateway *gateway = &config->gateways[i];

		if (!gateway->has_key)
			continue;
		peers->gateways[gateway->index].is_set = true;
		peers->gateways[gateway->index].endpoint = gateway->endpoint;
		memcpy(peers->gateways[gateway->index].public_key, gateway->public_key, KK_KEY_LEN);
	}
	return r;
}

static bool is_wanted(const struct kk_config *config, const uint8_t key[KK_KEY_LEN])
{
	for (size_t i = 0; i < config->n_gateways; i++)
		if (config->gateways[i].has_key &&
		    memcmp(config->gateways[i].public_key, key, KK_KEY_LEN) == 0)
			return true;
	return false;
}

/* What is known of gateways that are no longer wanted is forgotten. */
static bool forget_unwanted(struct peers *peers, const struct kk_config *config)
{
	bool any = false;

	for (size_t i = 0; i < ARRAY_SIZE(peers->gateways); i++)
		if (peers->gateways[i].is_set &&
		    !is_wanted(config, peers->gateways[i].public_key)) {
			peers->gateways[i].is_set = false;
			any = true;
		}
	return any;
}

int peers_trim(struct peers *peers, struct wgctl *wg, const struct kk_config *config,
	       struct kk_err *err)
{
	struct wgctl_device device;
	int r;

	if (!forget_unwanted(peers, config) && peers->is_trim)
		return 0;
	peers->is_trim = false;
	r = wgctl_get(wg, &device, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < device.n_peers && r == 0; i++)
		if (!is_wanted(config, device.peers[i].public_key))
			r = wgctl_remove_peer(wg, device.peers[i].public_key, err);
	wgctl_device_free(&device);
	peers->is_trim = r == 0;
	return r;
}

static json_t *peer_json(const struct wgctl_peer *p, const struct kk_gateway *gateway)
{
	char endpoint[KK_ENDPOINT_TEXT];

	return json_pack("{s:I, s:I, s:I, s:I, s:s}", "gateway", (json_int_t)gateway->id,
			 "last_handshake", (json_int_t)p->last_handshake, "rx_bytes",
			 (json_int_t)p->rx_bytes, "tx_bytes", (json_int_t)p->tx_bytes, "endpoint",
			 kk_sockaddr_text(&p->endpoint, endpoint));
}

json_t *peers_json(const struct wgctl_device *device, const struct kk_config *config)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < config->n_gateways; i++) {
		const struct kk_gateway *gateway = &config->gateways[i];
		const struct wgctl_peer *p = gateway->has_key ? find_peer(device, gateway) : NULL;

		if (p)
			json_array_append_new(list, peer_json(p, gateway));
	}
	return list;
}
