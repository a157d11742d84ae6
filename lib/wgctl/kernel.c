// SPDX-License-Identifier: MIT
#include "wgctl/ops.h"

#include <errno.h>
#include <string.h>

#include <linux/wireguard.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>

#include "net/net.h"
#include "net/nl.h"
#include "wgctl/genl.h"

/* The list of peers is one attribute, whose length has 16 bits; half of that suits every socket buffer. */
#define PEERS_A_REQUEST (32768 / WG_GENL_PEER_ROOM)

/* How often a dump that changes overtook is started again. */
#define DUMP_ATTEMPTS 5

static int no_memory(struct kk_err *err)
{
	return kk_err_set(err, ENOMEM, NULL, "out of memory");
}

/* A socket in the namespace that the caller is in now, and the family's number. */
static int open_family(struct nl_sock **ret, struct kk_err *err)
{
	KK_CLEANUP_NL struct nl_sock *sk = NULL;
	int r;

	r = kk_nl_open(NETLINK_GENERIC, &sk);
	if (r < 0)
		return kk_err_set(err, -r, "tunnel", "cannot open a netlink socket: %s",
				  strerror(-r));
	r = genl_ctrl_resolve(sk, WG_GENL_NAME);
	if (r < 0)
		return kk_err_set(err, EOPNOTSUPP, "tunnel", "this kernel has no WireGuard");
	*ret = KK_STEAL(sk);
	return r;
}

static int request_failed(const struct wgctl *wg, int r, const char *what, struct kk_err *err)
{
	return kk_err_set(err, -r, "tunnel", "the kernel cannot %s of %s: %s", what, wg->ifname,
			  strerror(-r));
}

static int set_device(struct wgctl *wg, const uint8_t private_key[KK_KEY_LEN], uint16_t listen_port,
		      struct kk_err *err)
{
	KK_CLEANUP_NLMSG struct nl_msg *msg = NULL;
	KK_CLEANUP_NL struct nl_sock *sk = NULL;
	int family, r;

	family = open_family(&sk, err);
	if (family < 0)
		return family;
	msg = wg_genl_request(family, WG_CMD_SET_DEVICE, 0, wg->ifname, 256);
	if (!msg || nla_put(msg, WGDEVICE_A_PRIVATE_KEY, KK_KEY_LEN, private_key) < 0 ||
	    nla_put_u16(msg, WGDEVICE_A_LISTEN_PORT, listen_port) < 0)
		return no_memory(err);
	r = kk_nl_call(sk, msg, NULL, NULL);
	explicit_bzero(nlmsg_data(nlmsg_hdr(msg)), (size_t)nlmsg_datalen(nlmsg_hdr(msg)));
	if (r < 0)
		return kk_err_set(err, -r, "tunnel",
				  "the kernel's WireGuard cannot listen on UDP port %u: %s",
				  listen_port, strerror(-r));
	return 0;
}

static int send_peers(const struct wgctl *wg, struct nl_sock *sk, int family,
		      const struct wgctl_peer *peers, size_t n, uint32_t flags, struct kk_err *err)
{
	KK_CLEANUP_NLMSG struct nl_msg *msg =
		wg_genl_request(family, WG_CMD_SET_DEVICE, 0, wg->ifname, n * WG_GENL_PEER_ROOM);
	struct nlattr *list = msg ? nla_nest_start(msg, WGDEVICE_A_PEERS | NLA_F_NESTED) : NULL;
	int r;

	if (!list)
		return no_memory(err);
	for (size_t i = 0; i < n; i++)
		if (wg_genl_put_peer(msg, &peers[i], flags) < 0)
			return no_memory(err);
	nla_nest_end(msg, list);
	r = kk_nl_call(sk, msg, NULL, NULL);
	return r < 0 ? request_failed(wg, r, "change the peers", err) : 0;
}

static int set_peers(struct wgctl *wg, const struct wgctl_peer *peers, size_t n, struct kk_err *err)
{
	KK_CLEANUP_NL struct nl_sock *sk = NULL;
	int family = open_family(&sk, err), r = 0;

	if (family < 0)
		return family;
	for (size_t done = 0; r == 0 && done < n; done += PEERS_A_REQUEST) {
		size_t part = n - done < PEERS_A_REQUEST ? n - done : PEERS_A_REQUEST;

		r = send_peers(wg, sk, family, peers + done, part, WGPEER_F_REPLACE_ALLOWEDIPS,
			       err);
	}
	return r;
}

static int remove_peer(struct wgctl *wg, const uint8_t public_key[KK_KEY_LEN], struct kk_err *err)
{
	KK_CLEANUP_NL struct nl_sock *sk = NULL;
	struct wgctl_peer peer = {0};
	int family = open_family(&sk, err);

	if (family < 0)
		return family;
	memcpy(peer.public_key, public_key, KK_KEY_LEN);
	return send_peers(wg, sk, family, &peer, 1, WGPEER_F_REMOVE_ME, err);
}

static int on_part(struct nlmsghdr *hdr, void *userdata)
{
	return wg_genl_parse(hdr, userdata);
}

static int dump(const struct wgctl *wg, struct nl_sock *sk, int family, struct wgctl_device *ret)
{
	KK_CLEANUP_NLMSG struct nl_msg *msg =
		wg_genl_request(family, WG_CMD_GET_DEVICE, NLM_F_DUMP, wg->ifname, 0);

	if (!msg)
		return -ENOMEM;
	return kk_nl_call(sk, msg, on_part, ret);
}

static int get(struct wgctl *wg, struct wgctl_device *ret, struct kk_err *err)
{
	KK_CLEANUP_NL struct nl_sock *sk = NULL;
	int family = open_family(&sk, err), r = -EAGAIN;

	if (family < 0)
		return family;
	for (int i = 0; i < DUMP_ATTEMPTS && r == -EAGAIN; i++) {
		wgctl_device_free(ret);
		r = dump(wg, sk, family, ret);
	}
	return r < 0 ? request_failed(wg, r, "tell the state", err) : 0;
}

static int destroy(struct wgctl *wg, struct kk_err *err)
{
	return kk_net_link_del(wg->ifname, err);
}

const struct wgctl_ops wgctl_kernel_ops = {
	.kind = WGCTL_KERNEL,
	.set_device = set_device,
	.set_peers = set_peers,
	.remove_peer = remove_peer,
	.get = get,
	.destroy = destroy,
};
