// SPDX-License-Identifier: MIT
#include "agentd/tunnel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/crypto.h>

#include "agentd/peers.h"
#include "agentd/space.h"
#include "net/net.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "wgctl/wgctl.h"

#define BACKLOG 4096
#define MTU	1420

struct tunnel {
	struct tunnel_options options;
	int netns_fd;
	uint64_t netns_cookie;
	bool has_key;
	uint8_t private_key[KK_KEY_LEN], public_key[KK_KEY_LEN];
	struct wgctl *wg; /* NULL: there is none */
	int ifindex;	  /* as it was when made or adopted */
	bool is_set;	  /* the interface has this subnet's address */
	struct kk_prefix4 subnet;
	struct kk_prefix pool6;
	bool has_ipv6;
	struct peers peers;
};

static int enter(const struct tunnel *t, struct kk_err *err)
{
	int back = kk_netns_enter(t->netns_fd);

	if (back < 0)
		kk_err_set(err, -back, "netns", "cannot enter namespace %s: %s", t->options.netns,
			   strerror(-back));
	return back;
}

static void forget(struct tunnel *t)
{
	wgctl_close(t->wg);
	t->wg = NULL;
	t->is_set = false;
	peers_forget(&t->peers);
}

/* Where we are: ends what cannot be ours or is not whole. */
static int remove_interface(const struct tunnel_options *options, struct kk_err *err)
{
	KK_CLEANUP(wgctl_closep) struct wgctl *wg = NULL;
	struct kk_err why = {0};
	int r = wgctl_adopt(options->ifname, &wg, &why);

	if (r == -EEXIST) /* an interface without its engine */
		return kk_net_link_del(options->ifname, err);
	if (r < 0)
		return r == -ENODEV ? 0 : kk_err_set(err, -r, why.field, "%s", why.msg);
	return wgctl_destroy(wg, err);
}

static int settle_key(struct tunnel *t, struct kk_err *err)
{
	int r = 0;

	/* In memory only (requirement K7): the engine is where a restarted daemon finds it. */
	if (!t->has_key)
		r = wgctl_genkey(t->private_key);
	if (r == 0)
		r = wgctl_pubkey(t->private_key, t->public_key);
	if (r < 0)
		return kk_err_set(err, -r, NULL, "cannot make a key: %s", strerror(-r));
	t->has_key = true;
	return 0;
}

/* An engine from before an upgrade cannot: it then finds a gateway's new interface some seconds later. */
static int make_eager(struct wgctl *wg, struct kk_err *err)
{
	struct kk_err why = {0};
	int r = wgctl_eager(wg, &why);

	if (r < 0 && r != -EOPNOTSUPP)
		return kk_err_set(err, -r, why.field, "%s", why.msg);
	if (r < 0)
		kk_info("%s", why.msg);
	return 0;
}

/* Takes the key of what was found, or gives it ours; the engine must be able to do what all this rests on. */
static int prepare(struct tunnel *t, struct wgctl *wg, struct kk_err *err)
{
	static const uint8_t none[KK_KEY_LEN];
	struct wgctl_device device;
	int r = wgctl_reply_to_ingress(wg, err);

	if (r == 0)
		r = wgctl_forwarding(wg, false, err);
	if (r == 0)
		r = make_eager(wg, err);
	if (r == 0)
		r = wgctl_get(wg, &device, err);
	if (r < 0)
		return r;
	if (!t->has_key && CRYPTO_memcmp(device.private_key, none, KK_KEY_LEN) != 0) {
		memcpy(t->private_key, device.private_key, KK_KEY_LEN);
		t->has_key = true;
	}
	r = settle_key(t, err);
	if (r == 0 && CRYPTO_memcmp(device.private_key, t->private_key, KK_KEY_LEN) != 0)
		r = wgctl_set_device(wg, t->private_key, 0, err);
	wgctl_device_free(&device);
	return r;
}

/* Returns 1 when the interface that is in the namespace is adopted, 0 when none is there any more. */
static int adopt(struct tunnel *t, struct kk_err *err)
{
	KK_CLEANUP_NETNS int back = enter(t, err);
	KK_CLEANUP(wgctl_closep) struct wgctl *wg = NULL;
	const char *ifname = t->options.ifname;
	struct kk_err why = {0};

	if (back < 0)
		return back;
	if (kk_net_ifindex(ifname) < 0)
		return 0;
	if (wgctl_adopt(ifname, &wg, &why) < 0 || prepare(t, wg, &why) < 0) {
		kk_warn("%s is replaced: %s", ifname, why.msg);
		return remove_interface(&t->options, err);
	}
	t->wg = KK_STEAL(wg);
	t->ifindex = kk_net_ifindex(ifname);
	kk_info("adopted %s", ifname);
	return 1;
}

/* An engine can be left whose interface is in a namespace that has lost its name: it is of no more use. */
static int open_here(struct tunnel *t, struct wgctl **wg, struct kk_err *err)
{
	const struct tunnel_options *o = &t->options;
	bool adopted;
	int r = wgctl_open(o->ifname, WGCTL_USERSPACE, o->engine, wg, &adopted, err);

	if (r < 0 || kk_net_ifindex(o->ifname) > 0)
		return r;
	kk_warn("%s is replaced: it is in a namespace that nobody knows", o->ifname);
	r = wgctl_destroy(*wg, err);
	wgctl_close(*wg);
	*wg = NULL;
	return r < 0 ? r : wgctl_open(o->ifname, WGCTL_USERSPACE, o->engine, wg, &adopted, err);
}

/*
 * Made in the namespace that the daemon is in, so that its UDP socket lives there, then moved to where
 * only plain text goes.
 */
static int make(struct tunnel *t, struct kk_err *err)
{
	KK_CLEANUP(wgctl_closep) struct wgctl *wg = NULL;
	KK_CLEANUP_NETNS int back = -1;
	int r = open_here(t, &wg, err);

	if (r == 0)
		r = prepare(t, wg, err);
	if (r == 0)
		r = kk_net_link_move(t->options.ifname, t->netns_fd, err);
	if (r == 0)
		r = back = enter(t, err);
	if (r < 0) {
		if (wg)
			wgctl_destroy(wg, NULL);
		return r;
	}
	kk_info("made %s: %s", t->options.ifname, wgctl_reason(wg));
	t->wg = KK_STEAL(wg);
	t->ifindex = kk_net_ifindex(t->options.ifname);
	return 0;
}

static int open_interface(struct tunnel *t, struct kk_err *err)
{
	int r = adopt(t, err);

	return r == 0 ? make(t, err) : r < 0 ? r : 0;
}

/* Sockets cannot be asked for their namespace, but for its cookie. */
static int read_cookie(struct tunnel *t, struct kk_err *err)
{
	KK_CLEANUP_NETNS int back = enter(t, err);
	socklen_t len = sizeof(t->netns_cookie);
	KK_CLEANUP_CLOSE int fd = -1;

	if (back < 0)
		return back;
	t->has_ipv6 = space_has_ipv6();
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &t->netns_cookie, &len) < 0)
		return kk_err_set(err, errno, "netns", "cannot tell namespace %s from others: %s",
				  t->options.netns, strerror(errno));
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
	r = t->netns_fd < 0 ? t->netns_fd : read_cookie(t, err);
	if (r == 0)
		r = open_interface(t, err);
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
	forget(t);
	kk_close(t->netns_fd);
	OPENSSL_cleanse(t->private_key, sizeof(t->private_key));
	free(t);
}

const uint8_t *tunnel_public_key(const struct tunnel *t)
{
	return t->public_key;
}

bool tunnel_check(struct tunnel *t)
{
	struct kk_err err = {0};
	KK_CLEANUP_NETNS int back = enter(t, &err);

	if (back < 0) {
		kk_error("%s", err.msg);
		return true; /* nothing could be mended from here */
	}
	if (!t->wg || kk_net_ifindex(t->options.ifname) == t->ifindex)
		return true;
	kk_warn("%s is gone", t->options.ifname);
	forget(t);
	return false;
}

/* Inside the namespace: @address is the only one. */
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

/* The same of IPv6, where there is any. */
static int set_address6(struct tunnel *t, const struct kk_self *self, struct kk_err *err)
{
	const struct kk_prefix everyone = {.addr.family = AF_INET6};
	KK_CLEANUP_FREE struct kk_prefix *there = NULL;
	const char *ifname = t->options.ifname;
	struct kk_address own[2];
	int n, r = 0;

	if (tunnel_addresses(t, self, own) < 2)
		return 0;
	n = kk_net_addr6_list(ifname, &there, err);
	if (n < 0)
		return n;
	for (int i = 0; i < n && r == 0; i++)
		if (!kk_address_equal(&there[i].addr, &own[1]) || there[i].len != 128)
			r = kk_net_addr6_del(ifname, &there[i], err);
	if (r == 0)
		r = kk_net_addr6_add(ifname, &(struct kk_prefix){own[1], 128}, err);
	return r < 0 ? r : kk_net_route6_add(ifname, &everyone, 1, err);
}

static int set_link(struct tunnel *t, const struct kk_self *self, struct kk_err *err)
{
	const struct kk_prefix4 *subnet = &self->subnet;
	const struct kk_prefix4 own = {kk_subnet_host(subnet, KK_AGENT_HOST), 32};
	const struct kk_prefix4 everyone = {{0}, 0};
	const char *ifname = t->options.ifname;
	KK_CLEANUP_NETNS int back = enter(t, err);
	int r = back < 0 ? back : kk_net_sysctl4(ifname, "rp_filter", "0", err);

	if (r == 0)
		r = kk_net_sysctl4(ifname, "forwarding", "0", err);
	/* No link-local address of its own making. A kernel without IPv6 has none of that. */
	kk_net_sysctl6(ifname, "addr_gen_mode", "1", NULL);
	if (r == 0)
		r = set_address(ifname, &own, err);
	if (r == 0)
		r = kk_net_link_set(ifname, true, MTU, err);
	if (r == 0)
		r = kk_net_route_add(ifname, &everyone, 0, err);
	if (r == 0)
		r = set_address6(t, self, err);
	return r;
}

int tunnel_up(struct tunnel *t, const struct kk_config *config, struct kk_err *err)
{
	const struct kk_prefix4 *subnet = &config->self.subnet;
	int r = t->wg ? 0 : open_interface(t, err);

	if (r < 0)
		return r;
	/* Most changes are of services: they cost no look at the interface. */
	if (!t->is_set || t->subnet.addr.s_addr != subnet->addr.s_addr ||
	    t->subnet.len != subnet->len || !kk_prefix_equal(&t->pool6, &config->self.pool6)) {
		t->is_set = false;
		r = set_link(t, &config->self, err);
		if (r < 0)
			return r;
		t->subnet = *subnet;
		t->pool6 = config->self.pool6;
		t->is_set = true;
	}
	return peers_up(&t->peers, t->wg, config, err);
}

int tunnel_trim(struct tunnel *t, const struct kk_config *config, struct kk_err *err)
{
	return peers_trim(&t->peers, t->wg, config, err);
}

static int bind_socket(int fd, const union kk_sockaddr *address, uint8_t protocol)
{
	const int on = 1;

	/* The interface may be just being made. */
	if (address->any.sa_family == AF_INET6 &&
	    (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0 ||
	     setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof(on)) < 0))
		return -errno;
	/* Connections of an earlier listener may still be closing. For UDP two sockets would share datagrams. */
	if (protocol == IPPROTO_TCP &&
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return -errno;
	if (bind(fd, &address->any, kk_sockaddr_len(address)) < 0)
		return -errno;
	return protocol == IPPROTO_TCP && listen(fd, BACKLOG) < 0 ? -errno : 0;
}

size_t tunnel_addresses(const struct tunnel *t, const struct kk_self *self,
			struct kk_address ret[2])
{
	const struct in_addr own = kk_subnet_host(&self->subnet, KK_AGENT_HOST);

	ret[0] = (struct kk_address){.family = AF_INET, .v4 = own};
	if (!self->pool6.len || !t->has_ipv6)
		return 1;
	ret[1] = (struct kk_address){.family = AF_INET6, .v6 = kk_pool6_address(&self->pool6, own)};
	return 2;
}

/* Bound to the address and not to the interface: connections live on when that has to be made again. */
int tunnel_listen(struct tunnel *t, const struct kk_address *address, uint8_t protocol,
		  uint16_t port, struct kk_err *err)
{
	const union kk_sockaddr at = kk_sockaddr_make(address, port);
	KK_CLEANUP_NETNS int back = enter(t, err);
	KK_CLEANUP_CLOSE int fd = -1;
	char text[KK_ADDRESS_TEXT];
	int r;

	if (back < 0)
		return back;
	fd = socket(address->family,
		    (protocol == IPPROTO_TCP ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC |
			    SOCK_NONBLOCK,
		    protocol);
	r = fd < 0 ? -errno : bind_socket(fd, &at, protocol);
	if (r < 0)
		return kk_err_set(err, -r, "agent_port",
				  "cannot listen on %s port %u of %s (%s): %s",
				  protocol == IPPROTO_TCP ? "tcp" : "udp", port, t->options.ifname,
				  kk_address_text(address, text), strerror(-r));
	return kk_steal_fd(&fd);
}

bool tunnel_is_netns(const struct tunnel *t, uint64_t netns_cookie)
{
	return netns_cookie == t->netns_cookie;
}

int tunnel_flows(struct tunnel *t, struct kk_err *err)
{
	return wgctl_flows(t->wg, err);
}

json_t *tunnel_json(const struct tunnel *t)
{
	if (!t->wg)
		return NULL;
	return json_pack("{s:s, s:s, s:s}", "kind", "userspace", "interface", t->options.ifname,
			 "reason", wgctl_reason(t->wg));
}

json_t *tunnel_peers_json(struct tunnel *t, const struct kk_config *config)
{
	struct wgctl_device device;
	struct kk_err err = {0};
	json_t *peers;

	if (!t->wg)
		return json_array();
	if (wgctl_get(t->wg, &device, &err) < 0) {
		kk_warn("%s", err.msg);
		return json_array();
	}
	peers = peers_json(&device, config);
	wgctl_device_free(&device);
	return peers;
}

int tunnel_destroy(const struct tunnel_options *options, struct kk_err *err)
{
	bool made;
	KK_CLEANUP_CLOSE int fd = kk_netns_open(options->netns, &made, err);
	int r;

	if (fd < 0)
		return fd;
	{
		KK_CLEANUP_NETNS int back = kk_netns_enter(fd);

		r = back < 0 ? kk_err_set(err, -back, "netns", "cannot enter namespace %s: %s",
					  options->netns, strerror(-back))
			     : remove_interface(options, err);
	}
	/* One may have been made and not yet moved when its daemon was killed. */
	if (r == 0)
		r = remove_interface(options, err);
	return r < 0 ? r : kk_netns_del(options->netns, err);
}
