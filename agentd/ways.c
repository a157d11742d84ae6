// SPDX-License-Identifier: MIT
#include "agentd/ways.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "net/net.h"
#include "util/cleanup.h"

#define MTU	  1420
#define KEEPALIVE 25

void way_name(const char *prefix, uint8_t index, char out[IFNAMSIZ])
{
	snprintf(out, IFNAMSIZ, "%.*s%u", IFNAMSIZ - 4, prefix, index);
}

static int index_of(const char *prefix, const char *ifname)
{
	size_t len = strlen(prefix);
	char again[IFNAMSIZ];
	int index;

	if (strncmp(ifname, prefix, len) != 0)
		return -1;
	index = atoi(ifname + len);
	if (index < 1 || index >= WAYS_MAX)
		return -1;
	way_name(prefix, (uint8_t)index, again);
	return strcmp(again, ifname) == 0 ? index : -1;
}

int ways_each(const char *prefix, int (*found)(uint8_t index, void *userdata, struct kk_err *err),
	      void *userdata, struct kk_err *err)
{
	struct if_nameindex *all = if_nameindex();
	int r = 0;

	if (!all)
		return kk_err_set(err, errno, "netns", "cannot list interfaces: %s",
				  strerror(errno));
	for (struct if_nameindex *i = all; r == 0 && i->if_name; i++) {
		int index = index_of(prefix, i->if_name);

		if (index > 0)
			r = found((uint8_t)index, userdata, err);
	}
	if_freenameindex(all);
	return r;
}

static bool peer_is_right(const struct wgctl_peer *peer, const struct kk_gateway *gateway)
{
	return memcmp(peer->public_key, gateway->public_key, KK_KEY_LEN) == 0 &&
	       peer->endpoint.sin_addr.s_addr == gateway->endpoint.sin_addr.s_addr &&
	       peer->endpoint.sin_port == gateway->endpoint.sin_port &&
	       peer->keepalive == KEEPALIVE && peer->n_allowed == 1 && !peer->allowed_other &&
	       peer->allowed[0].len == 0;
}

/* Peers of old keys go; a peer that is right is not touched. */
static int change_peers(struct wgctl *wg, const struct wgctl_device *device,
			const struct kk_gateway *gateway, struct kk_err *err)
{
	const struct wgctl_peer wanted = {
		.endpoint = gateway->endpoint, .keepalive = KEEPALIVE, .n_allowed = 1};
	struct wgctl_peer peer = wanted;
	int r = 0;

	for (size_t i = 0; i < device->n_peers && r == 0; i++) {
		const struct wgctl_peer *p = &device->peers[i];

		if (peer_is_right(p, gateway))
			return 0;
		if (memcmp(p->public_key, gateway->public_key, KK_KEY_LEN) != 0)
			r = wgctl_remove_peer(wg, p->public_key, err);
	}
	memcpy(peer.public_key, gateway->public_key, KK_KEY_LEN);
	return r < 0 ? r : wgctl_set_peers(wg, &peer, 1, err);
}

int way_set_peer(struct wgctl *wg, const uint8_t private_key[KK_KEY_LEN],
		 const struct kk_gateway *gateway, struct kk_err *err)
{
	struct wgctl_device device;
	int r = wgctl_get(wg, &device, err);

	if (r < 0)
		return r;
	if (CRYPTO_memcmp(device.private_key, private_key, KK_KEY_LEN) != 0)
		r = wgctl_set_device(wg, private_key, 0, err);
	if (r == 0)
		r = change_peers(wg, &device, gateway, err);
	wgctl_device_free(&device);
	return r;
}

static int set_address(const char *ifname, const struct kk_prefix4 *address, struct kk_err *err)
{
	KK_CLEANUP_FREE struct kk_prefix4 *there = NULL;
	int n = kk_net_addr_list(ifname, &there, err), r = 0;

	if (n < 0)
		return n;
	for (int i = 0; i < n && r == 0; i++)
		if (there[i].addr.s_addr != address->addr.s_addr || there[i].len != address->len)
			r = kk_net_addr_del(ifname, &there[i], err);
	return r < 0 ? r : kk_net_addr_add(ifname, address, err);
}

int way_set_link(const char *ifname, const struct kk_prefix4 *subnet,
		 const struct kk_gateway *gateway, struct kk_err *err)
{
	const struct kk_prefix4 own = {kk_subnet_host(subnet, KK_AGENT_HOST), 32};
	const struct kk_prefix4 other = {kk_subnet_host(subnet, gateway->index), 32};
	const struct kk_prefix4 everyone = {{0}, 0};
	int r = kk_net_sysctl4(ifname, "rp_filter", "0", err);

	if (r == 0)
		r = kk_net_sysctl4(ifname, "forwarding", "0", err);
	if (r == 0)
		r = set_address(ifname, &own, err);
	if (r == 0)
		r = kk_net_link_set(ifname, true, MTU, err);
	if (r == 0)
		r = kk_net_route_add(ifname, &other, 0, err);
	/* Sockets are bound to their interface; the metrics only keep the routes apart. */
	if (r == 0)
		r = kk_net_route_add(ifname, &everyone, gateway->index, err);
	return r;
}
