// SPDX-License-Identifier: MIT
#include "gatewayd/tunnel.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <systemd/sd-daemon.h>

#include "net/net.h"
#include "util/cleanup.h"
#include "util/log.h"

/* What is left of 1500 bytes under IPv6, UDP and WireGuard. */
#define TUNNEL_MTU 1420

/* How long the engine may take to see that its interface is up. */
#define UP_MS	   2000
#define UP_STEP_MS 10

#define PEERS_AT_ONCE 64

static void device_freep(struct wgctl_device *device)
{
	wgctl_device_free(device);
}
#define KK_CLEANUP_DEVICE KK_CLEANUP(device_freep)

/*
 * Agents' addresses come in here alone, but their packets leave rewritten through another interface: a strict
 * check of the source is no use. And the tunnel is no way to anywhere else. Where /proc/sys is read-only
 * (containers) the programs at tc still see to both.
 */
static void set_sysctls(const char *ifname)
{
	static const char *const wanted[][2] = {{"rp_filter", "2"}, {"forwarding", "0"}};

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		struct kk_err err = {0};

		if (kk_net_sysctl4(ifname, wanted[i][0], wanted[i][1], &err) < 0)
			kk_warn("%s", err.msg);
	}
	/* Nobody advertises anything in a tunnel. A kernel without IPv6 has none of these. */
	kk_net_sysctl6(ifname, "accept_ra", "0", NULL);
	kk_net_sysctl6(ifname, "forwarding", "0", NULL);
}

static int set_up_link(const char *ifname, struct kk_err *err)
{
	if (kk_net_ifindex(ifname) < 0)
		return kk_err_set(err, EEXIST, "tunnel-interface",
				  "an engine serves %s already, in another network namespace; "
				  "give this gateway another --tunnel-interface",
				  ifname);
	set_sysctls(ifname);
	return kk_net_link_set(ifname, true, TUNNEL_MTU, err);
}

/* The port is bound once the interface is up, which an engine sees a moment later. */
static int wait_bound(struct wgctl *wg, struct wgctl_device *ret, struct kk_err *err)
{
	for (int ms = 0; ms < UP_MS; ms += UP_STEP_MS) {
		int r = wgctl_get(wg, ret, err);

		if (r < 0 || ret->listen_port)
			return r;
		wgctl_device_free(ret);
		poll(NULL, 0, UP_STEP_MS);
	}
	return kk_err_set(err, ETIMEDOUT, "tunnel",
			  "the WireGuard engine did not open a UDP port within %d s", UP_MS / 1000);
}

/* The key of the interface; it is made here, once, and known to nobody but the kernel or the engine. */
static int have_key(struct wgctl *wg, struct wgctl_device *device, uint8_t public_key[KK_KEY_LEN],
		    struct kk_err *err)
{
	static const uint8_t none[KK_KEY_LEN];
	int r;

	if (memcmp(device->private_key, none, KK_KEY_LEN) != 0) {
		memcpy(public_key, device->public_key, KK_KEY_LEN);
		return 0;
	}
	r = wgctl_genkey(device->private_key);
	if (r == 0)
		r = wgctl_pubkey(device->private_key, public_key);
	if (r < 0)
		return kk_err_set(err, -r, "tunnel", "cannot make a key: %s", strerror(-r));
	return wgctl_set_device(wg, device->private_key, device->listen_port, err);
}

static int read_addresses(const char *ifname, const struct wgctl_device *device, struct peers *ret,
			  struct kk_err *err)
{
	KK_CLEANUP_FREE struct kk_prefix4 *four = NULL;
	KK_CLEANUP_FREE struct kk_prefix *six = NULL;
	struct kk_prefix *all;
	int n4 = kk_net_addr_list(ifname, &four, err);
	int n6 = n4 < 0 ? n4 : kk_net_addr6_list(ifname, &six, err);

	if (n6 < 0)
		return n6;
	all = calloc((size_t)(n4 + n6) + 1, sizeof(*all));
	if (!all)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	for (int i = 0; i < n4; i++)
		all[i] = (struct kk_prefix){.addr = {.family = AF_INET, .v4 = four[i].addr},
					    .len = four[i].len};
	for (int i = 0; i < n6; i++)
		all[n4 + i] = six[i];
	return peers_found(device, all, (size_t)(n4 + n6), ret, err);
}

static int take_over(struct tunnel *t, struct kk_err *err)
{
	KK_CLEANUP_DEVICE struct wgctl_device device = {0};
	int r;

	r = set_up_link(t->ifname, err);
	if (r == 0)
		r = wait_bound(t->wg, &device, err);
	if (r == 0)
		r = wgctl_forwarding(t->wg, true, err);
	if (r == 0)
		r = have_key(t->wg, &device, t->public_key, err);
	if (r == 0)
		r = read_addresses(t->ifname, &device, &t->now, err);
	return r;
}

int tunnel_open(const struct options *o, struct tunnel *ret, struct kk_err *err)
{
	struct tunnel t = {0};
	bool adopted;
	int r;

	strcpy(t.ifname, o->tunnel_interface);
	r = wgctl_open(t.ifname, o->tunnel_kind, o->engine, &t.wg, &adopted, err);
	if (r < 0)
		return r;
	r = take_over(&t, err);
	if (r < 0) {
		struct kk_err ignored = {0};

		if (!adopted && wgctl_destroy(t.wg, &ignored) < 0)
			kk_warn("%s", ignored.msg);
		tunnel_close(&t);
		return r;
	}
	kk_info("tunnel %s (%s): %s, %zu peers", t.ifname, tunnel_kind(&t), wgctl_reason(t.wg),
		t.now.n_peers);
	*ret = t;
	return 0;
}

void tunnel_close(struct tunnel *tunnel)
{
	peers_clean(&tunnel->now);
	wgctl_close(tunnel->wg);
	*tunnel = (struct tunnel){0};
}

/* The key has to be named again with the port; it is read back for that and wiped. */
static int set_port(struct tunnel *t, uint16_t port, struct kk_err *err)
{
	KK_CLEANUP_DEVICE struct wgctl_device device = {0};
	int r;

	r = wgctl_get(t->wg, &device, err);
	if (r < 0)
		return r;
	return wgctl_set_device(t->wg, device.private_key, port, err);
}

/* Thousands of new peers take an engine a while, in which the daemon is not hung. */
static void feed_watchdog(void)
{
	sd_notify(0, "WATCHDOG=1");
}

static int set_peers(struct tunnel *t, const struct peers_change *change, struct kk_err *err)
{
	struct wgctl_peer part[PEERS_AT_ONCE];
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < change->n_set; i++) {
		part[n++] = *change->set[i];
		if (n < PEERS_AT_ONCE && i + 1 < change->n_set)
			continue;
		r = wgctl_set_peers(t->wg, part, n, err);
		n = 0;
		feed_watchdog();
	}
	for (size_t i = 0; r == 0 && i < change->n_removed; i++) {
		r = wgctl_remove_peer(t->wg, change->removed[i]->public_key, err);
		if (i % PEERS_AT_ONCE == 0)
			feed_watchdog();
	}
	return r;
}

/* On a machine that has IPv6 switched off, published IPv4 services still are. */
static int add_address(const struct tunnel *t, const struct kk_prefix *address, struct kk_err *err)
{
	struct kk_err why = {0};
	int r;

	if (address->addr.family == AF_INET)
		return kk_net_addr6_add(t->ifname, address, err);
	r = kk_net_addr6_add(t->ifname, address, &why);
	if (r == 0 || r == -EACCES || r == -EOPNOTSUPP) {
		if (r < 0)
			kk_debug("no IPv6 on this machine: %s", why.msg);
		return 0;
	}
	return kk_err_set(err, -r, why.field, "%s", why.msg);
}

static int change(struct tunnel *t, const struct peers *from, const struct peers *to,
		  struct kk_err *err)
{
	KK_CLEANUP(peers_change_clean) struct peers_change c = {0};
	int r;

	r = peers_compare(from, to, &c);
	if (r < 0)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	if (from->port != to->port)
		r = set_port(t, to->port, err);
	for (size_t i = 0; r == 0 && i < c.n_addresses_added; i++)
		r = add_address(t, c.addresses_added[i], err);
	if (r == 0)
		r = set_peers(t, &c, err);
	for (size_t i = 0; r == 0 && i < c.n_addresses_removed; i++)
		r = kk_net_addr6_del(t->ifname, c.addresses_removed[i], err);
	return r;
}

/* How far a failed change has come is read from the machine, and undone from there. */
static void restore(struct tunnel *t)
{
	KK_CLEANUP_DEVICE struct wgctl_device device = {0};
	KK_CLEANUP(peers_clean) struct peers found = {0};
	struct kk_err err = {0};
	int r;

	r = wgctl_get(t->wg, &device, &err);
	if (r == 0)
		r = read_addresses(t->ifname, &device, &found, &err);
	if (r == 0)
		r = change(t, &found, &t->now, &err);
	if (r < 0)
		kk_error("the tunnel could not be put back as it was: %s", err.msg);
}

int tunnel_set(struct tunnel *t, const struct peers *wanted, struct kk_err *err)
{
	struct peers next;
	int r;

	if (peers_copy(wanted, &next) < 0)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	r = change(t, &t->now, wanted, err);
	if (r < 0) {
		restore(t);
		peers_clean(&next);
		return r;
	}
	peers_clean(&t->now);
	t->now = next;
	return 0;
}

bool tunnel_alive(const struct tunnel *tunnel)
{
	return kk_net_ifindex(tunnel->ifname) > 0;
}

const char *tunnel_kind(const struct tunnel *tunnel)
{
	return wgctl_kind(tunnel->wg) == WGCTL_KERNEL ? "kernel" : "userspace";
}
