// SPDX-License-Identifier: MIT
#include "agentd/tunnel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/crypto.h>

#include "agentd/space.h"
#include "agentd/ways.h"
#include "net/net.h"
#include "util/cleanup.h"
#include "util/log.h"

#define BACKLOG 4096

struct way {
	struct wgctl *wg; /* NULL: there is none */
	int ifindex;	  /* as it was when made or adopted */
	bool is_set;	  /* to what follows */
	struct kk_prefix4 subnet;
	struct kk_gateway gateway;
};

struct tunnel {
	struct tunnel_options options;
	int netns_fd;
	bool has_key;
	uint8_t private_key[KK_KEY_LEN], public_key[KK_KEY_LEN];
	struct way ways[WAYS_MAX]; /* by gateway index */
};

static int enter(const struct tunnel *t, struct kk_err *err)
{
	int back = kk_netns_enter(t->netns_fd);

	if (back < 0)
		kk_err_set(err, -back, "netns", "cannot enter namespace %s: %s", t->options.netns,
			   strerror(-back));
	return back;
}

static void forget(struct tunnel *t, uint8_t index)
{
	wgctl_close(t->ways[index].wg);
	t->ways[index] = (struct way){0};
}

/* Inside the namespace: ends what cannot be ours or is not whole. */
static int remove_way(const struct tunnel_options *options, uint8_t index, struct kk_err *err)
{
	KK_CLEANUP(wgctl_closep) struct wgctl *wg = NULL;
	char ifname[IFNAMSIZ];
	struct kk_err why = {0};
	bool adopted;
	int r;

	way_name(options->prefix, index, ifname);
	r = wgctl_open(ifname, WGCTL_AUTO, options->engine, &wg, &adopted, &why);
	if (r == -EEXIST) /* an interface without its engine */
		return kk_net_link_del(ifname, err);
	if (r < 0)
		return kk_err_set(err, -r, why.field, "%s", why.msg);
	return wgctl_destroy(wg, err);
}

/* Inside the namespace. Returns 1 when the interface is adopted, 0 when it was of no use and is gone. */
static int adopt(struct tunnel *t, uint8_t index, struct kk_err *err)
{
	KK_CLEANUP(wgctl_closep) struct wgctl *wg = NULL;
	struct wgctl_device device;
	char ifname[IFNAMSIZ];
	struct kk_err why = {0};
	bool adopted, fits;

	way_name(t->options.prefix, index, ifname);
	if (wgctl_open(ifname, t->options.kind, t->options.engine, &wg, &adopted, &why) < 0 ||
	    wgctl_get(wg, &device, &why) < 0) {
		kk_warn("%s is replaced: %s", ifname, why.msg);
		return remove_way(&t->options, index, err);
	}
	if (!t->has_key) {
		memcpy(t->private_key, device.private_key, KK_KEY_LEN);
		t->has_key = memcmp(device.public_key, (uint8_t[KK_KEY_LEN]){0}, KK_KEY_LEN) != 0;
	}
	fits = t->has_key && CRYPTO_memcmp(device.private_key, t->private_key, KK_KEY_LEN) == 0;
	wgctl_device_free(&device);
	if (!fits || !adopted) {
		kk_warn("%s is replaced: it does not have our key", ifname);
		return wgctl_destroy(wg, err);
	}
	t->ways[index] = (struct way){.wg = KK_STEAL(wg), .ifindex = kk_net_ifindex(ifname)};
	return 1;
}

static int adopt_found(uint8_t index, void *userdata, struct kk_err *err)
{
	struct tunnel *t = userdata;
	int r = adopt(t, index, err);

	if (r > 0)
		kk_info("adopted %s%u", t->options.prefix, index);
	return r < 0 ? r : 0;
}

static int adopt_all(struct tunnel *t, struct kk_err *err)
{
	KK_CLEANUP_NETNS int back = enter(t, err);

	return back < 0 ? back : ways_each(t->options.prefix, adopt_found, t, err);
}

static int settle_key(struct tunnel *t, struct kk_err *err)
{
	int r = 0;

	/* In memory only (requirement K7): the engines are where a restarted daemon finds it. */
	if (!t->has_key)
		r = wgctl_genkey(t->private_key);
	if (r == 0)
		r = wgctl_pubkey(t->private_key, t->public_key);
	if (r < 0)
		return kk_err_set(err, -r, NULL, "cannot make a key: %s", strerror(-r));
	t->has_key = true;
	return 0;
}

int tunnel_new(const struct tunnel_options *options, struct tunnel **ret, struct kk_err *err)
{
	struct tunnel *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return kk_err_set(err, ENOMEM, NULL, "memory is short");
	t->options = *options;
	t->netns_fd = space_open(options->netns, err);
	r = t->netns_fd < 0 ? t->netns_fd : adopt_all(t, err);
	if (r == 0)
		r = settle_key(t, err);
	if (r < 0) {
		tunnel_free(t);
		return r;
	}
	*ret = t;
	return 0;
}

void tunnel_free(struct tunnel *t)
{
	if (!t)
		return;
	for (unsigned int i = 0; i < WAYS_MAX; i++)
		forget(t, (uint8_t)i);
	kk_close(t->netns_fd);
	OPENSSL_cleanse(t->private_key, sizeof(t->private_key));
	free(t);
}

const uint8_t *tunnel_public_key(const struct tunnel *t)
{
	return t->public_key;
}

/* An engine can be left whose interface is in a namespace that has lost its name: it is of no more use. */
static int open_here(struct tunnel *t, const char *ifname, struct wgctl **wg, struct kk_err *err)
{
	bool adopted;
	int r = wgctl_open(ifname, t->options.kind, t->options.engine, wg, &adopted, err);

	if (r < 0 || kk_net_ifindex(ifname) > 0)
		return r;
	kk_warn("%s is replaced: it is in a namespace that nobody knows", ifname);
	r = wgctl_destroy(*wg, err);
	wgctl_close(*wg);
	*wg = NULL;
	return r < 0 ? r
		     : wgctl_open(ifname, t->options.kind, t->options.engine, wg, &adopted, err);
}

/*
 * Made in the namespace that the daemon is in, so that its UDP socket lives there, then moved to where
 * only plain text goes.
 */
static int make(struct tunnel *t, uint8_t index, struct kk_err *err)
{
	KK_CLEANUP(wgctl_closep) struct wgctl *wg = NULL;
	char ifname[IFNAMSIZ];
	int r;

	way_name(t->options.prefix, index, ifname);
	r = open_here(t, ifname, &wg, err);
	if (r == 0)
		r = kk_net_link_move(ifname, t->netns_fd, err);
	if (r < 0) {
		if (wg)
			wgctl_destroy(wg, NULL);
		return r;
	}
	kk_info("made %s: %s", ifname, wgctl_reason(wg));
	t->ways[index].wg = KK_STEAL(wg);
	return 0;
}

/* Inside the namespace: whether the interface that we know is still the one there. */
static bool is_there(struct tunnel *t, uint8_t index)
{
	char ifname[IFNAMSIZ];

	way_name(t->options.prefix, index, ifname);
	return t->ways[index].wg && kk_net_ifindex(ifname) == t->ways[index].ifindex;
}

bool tunnel_check(struct tunnel *t)
{
	struct kk_err err = {0};
	KK_CLEANUP_NETNS int back = enter(t, &err);
	bool well = true;

	if (back < 0) {
		kk_error("%s", err.msg);
		return true; /* nothing could be mended from here */
	}
	for (unsigned int i = 0; i < WAYS_MAX; i++)
		if (t->ways[i].wg && !is_there(t, (uint8_t)i)) {
			kk_warn("%s%u is gone", t->options.prefix, i);
			forget(t, (uint8_t)i);
			well = false;
		}
	return well;
}

static bool is_as(const struct way *way, const struct kk_prefix4 *subnet,
		  const struct kk_gateway *gateway)
{
	return way->is_set && way->subnet.addr.s_addr == subnet->addr.s_addr &&
	       way->subnet.len == subnet->len &&
	       way->gateway.endpoint.sin_addr.s_addr == gateway->endpoint.sin_addr.s_addr &&
	       way->gateway.endpoint.sin_port == gateway->endpoint.sin_port &&
	       memcmp(way->gateway.public_key, gateway->public_key, KK_KEY_LEN) == 0;
}

int tunnel_up(struct tunnel *t, const struct kk_prefix4 *subnet, const struct kk_gateway *gateway,
	      struct kk_err *err)
{
	struct way *way = &t->ways[gateway->index];
	KK_CLEANUP_NETNS int back = -1;
	char ifname[IFNAMSIZ];
	bool fresh = false;
	int r;

	/* Most changes are of services: they cost no look at the ways. */
	if (is_as(way, subnet, gateway))
		return 0;
	way->is_set = false;
	if (!way->wg) {
		r = make(t, gateway->index, err);
		if (r < 0)
			return r;
		fresh = true;
	}
	way_name(t->options.prefix, gateway->index, ifname);
	back = enter(t, err);
	r = back < 0 ? back : way_set_peer(way->wg, t->private_key, gateway, err);
	if (r == 0)
		r = way_set_link(ifname, subnet, gateway, err);
	if (r == 0) {
		way->ifindex = kk_net_ifindex(ifname);
		way->is_set = true;
		way->subnet = *subnet;
		way->gateway = *gateway;
	}
	if (r < 0 && fresh) {
		wgctl_destroy(way->wg, NULL);
		forget(t, gateway->index);
	}
	return r;
}

int tunnel_down(struct tunnel *t, uint8_t index, struct kk_err *err)
{
	KK_CLEANUP_NETNS int back = -1;
	int r;

	if (!t->ways[index].wg)
		return 0;
	back = enter(t, err);
	r = back < 0 ? back : wgctl_destroy(t->ways[index].wg, err);
	if (r == 0) {
		kk_info("ended %s%u", t->options.prefix, index);
		forget(t, index);
	}
	return r;
}

bool tunnel_is_up(const struct tunnel *t, uint8_t index)
{
	return t->ways[index].wg;
}

static int bind_socket(int fd, const char *ifname, const struct sockaddr_in *address,
		       uint8_t protocol)
{
	const int on = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, ifname, (socklen_t)strlen(ifname)) < 0)
		return -errno;
	/* Connections of an earlier listener may still be closing. For UDP two sockets would share datagrams. */
	if (protocol == IPPROTO_TCP &&
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		return -errno;
	return protocol == IPPROTO_TCP && listen(fd, BACKLOG) < 0 ? -errno : 0;
}

int tunnel_listen(struct tunnel *t, const struct kk_prefix4 *subnet,
		  const struct kk_gateway *gateway, uint8_t protocol, uint16_t port,
		  struct kk_err *err)
{
	const struct sockaddr_in address = {.sin_family = AF_INET,
					    .sin_port = htons(port),
					    .sin_addr = kk_subnet_host(subnet, KK_AGENT_HOST)};
	KK_CLEANUP_NETNS int back = enter(t, err);
	KK_CLEANUP_CLOSE int fd = -1;
	char ifname[IFNAMSIZ];
	int r;

	if (back < 0)
		return back;
	way_name(t->options.prefix, gateway->index, ifname);
	fd = socket(AF_INET,
		    (protocol == IPPROTO_TCP ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC |
			    SOCK_NONBLOCK,
		    protocol);
	r = fd < 0 ? -errno : bind_socket(fd, ifname, &address, protocol);
	if (r < 0)
		return kk_err_set(err, -r, "agent_port", "cannot listen on %s port %u of %s: %s",
				  protocol == IPPROTO_TCP ? "tcp" : "udp", port, ifname,
				  strerror(-r));
	return kk_steal_fd(&fd);
}

bool tunnel_device_fits(const struct tunnel *t, const struct kk_gateway *gateway,
			const char *device)
{
	char ifname[IFNAMSIZ];

	way_name(t->options.prefix, gateway->index, ifname);
	return strcmp(device, ifname) == 0;
}

json_t *tunnel_json(const struct tunnel *t)
{
	char pattern[IFNAMSIZ + 1];

	snprintf(pattern, sizeof(pattern), "%s*", t->options.prefix);
	for (unsigned int i = 0; i < WAYS_MAX; i++)
		if (t->ways[i].wg)
			return json_pack(
				"{s:s, s:s, s:s}", "kind",
				wgctl_kind(t->ways[i].wg) == WGCTL_KERNEL ? "kernel" : "userspace",
				"interface", pattern, "reason", wgctl_reason(t->ways[i].wg));
	return NULL;
}

json_t *tunnel_peer_json(struct tunnel *t, uint8_t index)
{
	struct wgctl_device device;
	KK_CLEANUP_NETNS int back = -1;
	struct kk_err err = {0};
	json_t *obj = NULL;
	char endpoint[32] = "", addr[INET_ADDRSTRLEN];

	if (!t->ways[index].wg)
		return NULL;
	back = enter(t, &err);
	if (back < 0 || wgctl_get(t->ways[index].wg, &device, &err) < 0) {
		kk_warn("%s", err.msg);
		return NULL;
	}
	if (device.n_peers) {
		const struct wgctl_peer *p = &device.peers[0];

		inet_ntop(AF_INET, &p->endpoint.sin_addr, addr, sizeof(addr));
		snprintf(endpoint, sizeof(endpoint), "%s:%u", addr, ntohs(p->endpoint.sin_port));
		obj = json_pack("{s:I, s:I, s:I, s:s}", "last_handshake",
				(json_int_t)p->last_handshake, "rx_bytes", (json_int_t)p->rx_bytes,
				"tx_bytes", (json_int_t)p->tx_bytes, "endpoint", endpoint);
	}
	wgctl_device_free(&device);
	return obj;
}

static int destroy_found(uint8_t index, void *userdata, struct kk_err *err)
{
	return remove_way(userdata, index, err);
}

int tunnel_destroy(const struct tunnel_options *options, struct kk_err *err)
{
	struct tunnel_options copy = *options;
	bool made;
	KK_CLEANUP_CLOSE int fd = kk_netns_open(options->netns, &made, err);
	int r;

	if (fd < 0)
		return fd;
	{
		KK_CLEANUP_NETNS int back = kk_netns_enter(fd);

		r = back < 0 ? kk_err_set(err, -back, "netns", "cannot enter namespace %s: %s",
					  options->netns, strerror(-back))
			     : ways_each(options->prefix, destroy_found, &copy, err);
	}
	/* One may have been made and not yet moved when its daemon was killed. */
	if (r == 0)
		r = ways_each(options->prefix, destroy_found, &copy, err);
	return r < 0 ? r : kk_netns_del(options->netns, err);
}
