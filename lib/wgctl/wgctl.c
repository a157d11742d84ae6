// SPDX-License-Identifier: MIT
#include "wgctl/wgctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "net/net.h"
#include "util/cleanup.h"
#include "wgctl/engine.h"
#include "wgctl/ops.h"

static int check_ifname(const char *ifname, struct kk_err *err)
{
	size_t len = strlen(ifname);

	/* The name becomes a file name, too. */
	if (len >= 1 && len < IFNAMSIZ && !strpbrk(ifname, "/ \t\n%:") && ifname[0] != '.' &&
	    ifname[0] != '-')
		return 0;
	return kk_err_set(err, EINVAL, "interface",
			  "\"%.64s\" is not an interface name (1 to %d bytes)", ifname,
			  IFNAMSIZ - 1);
}

/* Which back end serves @ifname already; NULL if the name is free. */
static int find_existing(const char *ifname, const struct wgctl_ops **ret, struct kk_err *err)
{
	char kind[32] = "";
	int r = kk_net_link_kind(ifname, kind, sizeof(kind));
	bool has_link = r == 0;

	if (r < 0 && r != -ENODEV)
		return kk_err_set(err, -r, "interface", "cannot ask about interface %s: %s", ifname,
				  strerror(-r));
	if (has_link && strcmp(kind, "wireguard") == 0) {
		*ret = &wgctl_kernel_ops;
		return 0;
	}
	if (has_link && strcmp(kind, "tun") != 0)
		return kk_err_set(err, EEXIST, "interface",
				  "the name %s is taken by an interface that is no WireGuard (%s)",
				  ifname, kind[0] ? kind : "hardware");
	r = wgctl_engine_find(ifname, err);
	if (r < 0)
		return r;
	if (!r && has_link)
		return kk_err_set(
			err, EEXIST, "interface",
			"the name %s is taken by a TUN interface that no WireGuard engine serves",
			ifname);
	*ret = r ? &wgctl_uapi_ops : NULL;
	return 0;
}

static int adopt(struct wgctl *wg, enum wgctl_kind wanted, struct kk_err *err)
{
	if (wanted != WGCTL_AUTO && wanted != wg->ops->kind)
		return kk_err_set(
			err, EEXIST, "tunnel",
			"%s is there already and is served by %s; take it down first", wg->ifname,
			wg->ops->kind == WGCTL_KERNEL ? "the kernel" : "a userspace engine");
	snprintf(wg->reason, sizeof(wg->reason), "%s was there already and was adopted",
		 wg->ifname);
	return 0;
}

static int make_userspace(struct wgctl *wg, const char *engine, const char *why, struct kk_err *err)
{
	char program[256];
	int r;

	r = wgctl_engine_program(engine, program, sizeof(program), err);
	if (r == 0)
		r = wgctl_engine_start(wg->ifname, program, err);
	if (r < 0)
		return r;
	wg->ops = &wgctl_uapi_ops;
	snprintf(wg->reason, sizeof(wg->reason), "%s; the engine is %s", why,
		 strrchr(program, '/') + 1);
	return 0;
}

static int make(struct wgctl *wg, enum wgctl_kind wanted, const char *engine, struct kk_err *err)
{
	struct kk_err kernel_err = {0};
	int r;

	if (wanted == WGCTL_USERSPACE)
		return make_userspace(wg, engine, "userspace was asked for", err);
	r = kk_net_link_add(wg->ifname, "wireguard", &kernel_err);
	if (r == -EOPNOTSUPP && wanted == WGCTL_AUTO)
		return make_userspace(wg, engine, "this kernel has no WireGuard", err);
	if (r == -EOPNOTSUPP)
		return kk_err_set(err, EOPNOTSUPP, "tunnel", "this kernel has no WireGuard");
	if (r < 0)
		return kk_err_set(err, -r, kernel_err.field, "%s", kernel_err.msg);
	wg->ops = &wgctl_kernel_ops;
	snprintf(wg->reason, sizeof(wg->reason), "this kernel has WireGuard");
	return 0;
}

/* A struct for @ifname, with the back end of what is there already, or none. */
static int look(const char *ifname, struct wgctl **ret, struct kk_err *err)
{
	KK_CLEANUP(wgctl_closep) struct wgctl *wg = NULL;
	int r;

	r = check_ifname(ifname, err);
	if (r < 0)
		return r;
	wg = calloc(1, sizeof(*wg));
	if (!wg)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	strcpy(wg->ifname, ifname);
	r = find_existing(ifname, &wg->ops, err);
	if (r == 0)
		*ret = KK_STEAL(wg);
	return r;
}

int wgctl_open(const char *ifname, enum wgctl_kind kind, const char *engine, struct wgctl **ret,
	       bool *ret_adopted, struct kk_err *err)
{
	KK_CLEANUP(wgctl_closep) struct wgctl *wg = NULL;
	bool adopted;
	int r;

	r = look(ifname, &wg, err);
	if (r < 0)
		return r;
	adopted = wg->ops != NULL;
	r = adopted ? adopt(wg, kind, err) : make(wg, kind, engine, err);
	if (r < 0)
		return r;
	*ret_adopted = adopted;
	*ret = KK_STEAL(wg);
	return 0;
}

int wgctl_adopt(const char *ifname, struct wgctl **ret, struct kk_err *err)
{
	KK_CLEANUP(wgctl_closep) struct wgctl *wg = NULL;
	int r;

	r = look(ifname, &wg, err);
	if (r < 0)
		return r;
	if (!wg->ops)
		return kk_err_set(err, ENODEV, "interface", "there is no tunnel %s", ifname);
	r = adopt(wg, WGCTL_AUTO, err);
	if (r == 0)
		*ret = KK_STEAL(wg);
	return r;
}

void wgctl_close(struct wgctl *wg)
{
	free(wg);
}

void wgctl_closep(struct wgctl **wg)
{
	wgctl_close(*wg);
}

enum wgctl_kind wgctl_kind(const struct wgctl *wg)
{
	return wg->ops->kind;
}

const char *wgctl_reason(const struct wgctl *wg)
{
	return wg->reason;
}

int wgctl_set_device(struct wgctl *wg, const uint8_t private_key[KK_KEY_LEN], uint16_t listen_port,
		     struct kk_err *err)
{
	return wg->ops->set_device(wg, private_key, listen_port, err);
}

int wgctl_set_peers(struct wgctl *wg, const struct wgctl_peer *peers, size_t n, struct kk_err *err)
{
	for (size_t i = 0; i < n; i++)
		if (peers[i].n_allowed > WGCTL_ALLOWED_MAX ||
		    peers[i].n_allowed6 > WGCTL_ALLOWED6_MAX)
			return kk_err_set(err, E2BIG, "allowed",
					  "a peer with %zu allowed prefixes, %d at most",
					  peers[i].n_allowed, WGCTL_ALLOWED_MAX);
	if (!n)
		return 0;
	return wg->ops->set_peers(wg, peers, n, err);
}

int wgctl_remove_peer(struct wgctl *wg, const uint8_t public_key[KK_KEY_LEN], struct kk_err *err)
{
	return wg->ops->remove_peer(wg, public_key, err);
}

int wgctl_get(struct wgctl *wg, struct wgctl_device *ret, struct kk_err *err)
{
	struct wgctl_device device = {0};
	int r;

	r = wg->ops->get(wg, &device, err);
	if (r < 0) {
		wgctl_device_free(&device);
		return r;
	}
	*ret = device;
	OPENSSL_cleanse(device.private_key, KK_KEY_LEN);
	return 0;
}

int wgctl_reply_to_ingress(struct wgctl *wg, struct kk_err *err)
{
	if (!wg->ops->reply_to_ingress)
		return kk_err_set(err, EOPNOTSUPP, "tunnel",
				  "%s cannot reply to ingress: the kernel's WireGuard does not",
				  wg->ifname);
	return wg->ops->reply_to_ingress(wg, err);
}

int wgctl_eager(struct wgctl *wg, struct kk_err *err)
{
	if (!wg->ops->eager)
		return kk_err_set(
			err, EOPNOTSUPP, "tunnel",
			"%s cannot begin handshakes eagerly: the kernel's WireGuard does not",
			wg->ifname);
	return wg->ops->eager(wg, err);
}

int wgctl_forwarding(struct wgctl *wg, bool on, struct kk_err *err)
{
	return wg->ops->forwarding ? wg->ops->forwarding(wg, on, err) : 0;
}

int wgctl_flows(struct wgctl *wg, struct kk_err *err)
{
	if (!wg->ops->flows)
		return kk_err_set(err, EOPNOTSUPP, "tunnel",
				  "%s cannot tell its flows: the kernel's WireGuard does not",
				  wg->ifname);
	return wg->ops->flows(wg, err);
}

int wgctl_destroy(struct wgctl *wg, struct kk_err *err)
{
	return wg->ops->destroy(wg, err);
}

void wgctl_device_free(struct wgctl_device *device)
{
	free(device->peers);
	OPENSSL_cleanse(device, sizeof(*device));
}

struct wgctl_peer *wgctl_device_grow(struct wgctl_device *device)
{
	/* Room doubles whenever the number reaches a power of two. */
	if (!(device->n_peers & (device->n_peers - 1))) {
		size_t room = device->n_peers ? 2 * device->n_peers : 1;
		struct wgctl_peer *bigger =
			reallocarray(device->peers, room, sizeof(*device->peers));

		if (!bigger)
			return NULL;
		device->peers = bigger;
	}
	device->peers[device->n_peers] = (struct wgctl_peer){0};
	return &device->peers[device->n_peers++];
}

void wgctl_peer_allow(struct wgctl_peer *peer, const struct kk_prefix *prefix)
{
	const bool six = prefix->addr.family == AF_INET6;

	if (six && peer->n_allowed6 < WGCTL_ALLOWED6_MAX)
		peer->allowed6[peer->n_allowed6++] = *prefix;
	else if (!six && peer->n_allowed < WGCTL_ALLOWED_MAX)
		peer->allowed[peer->n_allowed++] =
			(struct kk_prefix4){prefix->addr.v4, prefix->len};
	else
		peer->allowed_other = true;
}
