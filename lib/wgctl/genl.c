// SPDX-License-Identifier: MIT
#include "wgctl/genl.h"

#include <errno.h>
#include <string.h>

#include <linux/time_types.h>
#include <linux/wireguard.h>
#include <netlink/attr.h>
#include <netlink/genl/genl.h>

#include "net/nl.h"
#include "wgctl/ops.h"

struct nl_msg *wg_genl_request(int family, uint8_t cmd, int flags, const char *ifname, size_t room)
{
	KK_CLEANUP_NLMSG struct nl_msg *msg = nlmsg_alloc_size(NLMSG_SPACE(256) + room);

	if (!msg ||
	    !genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, family, 0, flags, cmd, WG_GENL_VERSION) ||
	    nla_put_string(msg, WGDEVICE_A_IFNAME, ifname) < 0)
		return NULL;
	return KK_STEAL(msg);
}

static int put_prefix(struct nl_msg *msg, uint16_t family, const void *addr, int addr_len,
		      uint8_t len)
{
	struct nlattr *one = nla_nest_start(msg, NLA_F_NESTED);

	if (!one || nla_put_u16(msg, WGALLOWEDIP_A_FAMILY, family) < 0 ||
	    nla_put(msg, WGALLOWEDIP_A_IPADDR, addr_len, addr) < 0 ||
	    nla_put_u8(msg, WGALLOWEDIP_A_CIDR_MASK, len) < 0)
		return -EMSGSIZE;
	nla_nest_end(msg, one);
	return 0;
}

static int put_allowed(struct nl_msg *msg, const struct wgctl_peer *peer)
{
	struct nlattr *list = nla_nest_start(msg, WGPEER_A_ALLOWEDIPS | NLA_F_NESTED);
	int r = list ? 0 : -EMSGSIZE;

	for (size_t i = 0; i < peer->n_allowed && r == 0; i++)
		r = put_prefix(msg, AF_INET, &peer->allowed[i].addr, sizeof(struct in_addr),
			       peer->allowed[i].len);
	for (size_t i = 0; i < peer->n_allowed6 && r == 0; i++)
		r = put_prefix(msg, AF_INET6, &peer->allowed6[i].addr.v6, sizeof(struct in6_addr),
			       peer->allowed6[i].len);
	if (r == 0)
		nla_nest_end(msg, list);
	return r;
}

int wg_genl_put_peer(struct nl_msg *msg, const struct wgctl_peer *peer, uint32_t flags)
{
	struct nlattr *nest = nla_nest_start(msg, NLA_F_NESTED);

	if (!nest || nla_put(msg, WGPEER_A_PUBLIC_KEY, KK_KEY_LEN, peer->public_key) < 0 ||
	    nla_put_u32(msg, WGPEER_A_FLAGS, flags) < 0)
		return -EMSGSIZE;
	if (!(flags & WGPEER_F_REMOVE_ME)) {
		if (peer->endpoint.any.sa_family &&
		    nla_put(msg, WGPEER_A_ENDPOINT, (int)kk_sockaddr_len(&peer->endpoint),
			    &peer->endpoint) < 0)
			return -EMSGSIZE;
		if (nla_put_u16(msg, WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, peer->keepalive) < 0)
			return -EMSGSIZE;
		/* libnl drops an empty nest; then the flag alone empties the peer's list. */
		if (peer->n_allowed + peer->n_allowed6 && put_allowed(msg, peer) < 0)
			return -EMSGSIZE;
	}
	nla_nest_end(msg, nest);
	return 0;
}

static int parse_allowed(struct nlattr *list, struct wgctl_peer *peer)
{
	static struct nla_policy policy[WGALLOWEDIP_A_MAX + 1] = {
		[WGALLOWEDIP_A_FAMILY] = {.type = NLA_U16},
		[WGALLOWEDIP_A_IPADDR] = {.minlen = sizeof(struct in_addr)},
		[WGALLOWEDIP_A_CIDR_MASK] = {.type = NLA_U8},
	};
	struct nlattr *one, *attrs[WGALLOWEDIP_A_MAX + 1];
	int left;

	nla_for_each_nested(one, list, left)
	{
		struct kk_prefix prefix = {0};
		size_t len;

		if (nla_parse_nested(attrs, WGALLOWEDIP_A_MAX, one, policy) < 0 ||
		    !attrs[WGALLOWEDIP_A_FAMILY] || !attrs[WGALLOWEDIP_A_IPADDR] ||
		    !attrs[WGALLOWEDIP_A_CIDR_MASK])
			return -EBADMSG;
		prefix.addr.family = nla_get_u16(attrs[WGALLOWEDIP_A_FAMILY]);
		prefix.len = nla_get_u8(attrs[WGALLOWEDIP_A_CIDR_MASK]);
		len = prefix.addr.family == AF_INET6 ? 16 : 4;
		if ((size_t)nla_len(attrs[WGALLOWEDIP_A_IPADDR]) < len || prefix.len > 8 * len)
			return -EBADMSG;
		memcpy(prefix.addr.bytes, nla_data(attrs[WGALLOWEDIP_A_IPADDR]), len);
		wgctl_peer_allow(peer, &prefix);
	}
	return 0;
}

static void read_peer(struct nlattr *const *attrs, struct wgctl_peer *peer)
{
	const struct nlattr *endpoint = attrs[WGPEER_A_ENDPOINT];

	memcpy(peer->public_key, nla_data(attrs[WGPEER_A_PUBLIC_KEY]), KK_KEY_LEN);
	if (endpoint && nla_len(endpoint) <= (int)sizeof(peer->endpoint))
		memcpy(&peer->endpoint, nla_data(endpoint), (size_t)nla_len(endpoint));
	if (attrs[WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL])
		peer->keepalive = nla_get_u16(attrs[WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL]);
	if (attrs[WGPEER_A_LAST_HANDSHAKE_TIME]) {
		struct __kernel_timespec time;

		memcpy(&time, nla_data(attrs[WGPEER_A_LAST_HANDSHAKE_TIME]), sizeof(time));
		peer->last_handshake = time.tv_sec;
	}
	if (attrs[WGPEER_A_RX_BYTES])
		peer->rx_bytes = nla_get_u64(attrs[WGPEER_A_RX_BYTES]);
	if (attrs[WGPEER_A_TX_BYTES])
		peer->tx_bytes = nla_get_u64(attrs[WGPEER_A_TX_BYTES]);
}

static int parse_peer(struct nlattr *nest, struct wgctl_device *device)
{
	static struct nla_policy policy[WGPEER_A_MAX + 1] = {
		[WGPEER_A_PUBLIC_KEY] = {.minlen = KK_KEY_LEN, .maxlen = KK_KEY_LEN},
		[WGPEER_A_ENDPOINT] = {.minlen = sizeof(struct sockaddr)},
		[WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL] = {.type = NLA_U16},
		[WGPEER_A_LAST_HANDSHAKE_TIME] = {.minlen = sizeof(struct __kernel_timespec)},
		[WGPEER_A_RX_BYTES] = {.type = NLA_U64},
		[WGPEER_A_TX_BYTES] = {.type = NLA_U64},
		[WGPEER_A_ALLOWEDIPS] = {.type = NLA_NESTED},
	};
	struct wgctl_peer *last = device->n_peers ? &device->peers[device->n_peers - 1] : NULL;
	struct nlattr *attrs[WGPEER_A_MAX + 1];

	if (nla_parse_nested(attrs, WGPEER_A_MAX, nest, policy) < 0 || !attrs[WGPEER_A_PUBLIC_KEY])
		return -EBADMSG;
	if (!last ||
	    memcmp(last->public_key, nla_data(attrs[WGPEER_A_PUBLIC_KEY]), KK_KEY_LEN) != 0) {
		last = wgctl_device_grow(device);
		if (!last)
			return -ENOMEM;
		read_peer(attrs, last);
	}
	return attrs[WGPEER_A_ALLOWEDIPS] ? parse_allowed(attrs[WGPEER_A_ALLOWEDIPS], last) : 0;
}

int wg_genl_parse(struct nlmsghdr *hdr, struct wgctl_device *device)
{
	static struct nla_policy policy[WGDEVICE_A_MAX + 1] = {
		[WGDEVICE_A_PRIVATE_KEY] = {.minlen = KK_KEY_LEN, .maxlen = KK_KEY_LEN},
		[WGDEVICE_A_PUBLIC_KEY] = {.minlen = KK_KEY_LEN, .maxlen = KK_KEY_LEN},
		[WGDEVICE_A_LISTEN_PORT] = {.type = NLA_U16},
		[WGDEVICE_A_PEERS] = {.type = NLA_NESTED},
	};
	struct nlattr *attrs[WGDEVICE_A_MAX + 1], *peer;
	int left, r;

	if (!genlmsg_valid_hdr(hdr, 0) || genlmsg_parse(hdr, 0, attrs, WGDEVICE_A_MAX, policy) < 0)
		return -EBADMSG;
	if (attrs[WGDEVICE_A_PRIVATE_KEY])
		memcpy(device->private_key, nla_data(attrs[WGDEVICE_A_PRIVATE_KEY]), KK_KEY_LEN);
	if (attrs[WGDEVICE_A_PUBLIC_KEY])
		memcpy(device->public_key, nla_data(attrs[WGDEVICE_A_PUBLIC_KEY]), KK_KEY_LEN);
	if (attrs[WGDEVICE_A_LISTEN_PORT])
		device->listen_port = nla_get_u16(attrs[WGDEVICE_A_LISTEN_PORT]);
	if (!attrs[WGDEVICE_A_PEERS])
		return 0;
	nla_for_each_nested(peer, attrs[WGDEVICE_A_PEERS], left)
	{
		r = parse_peer(peer, device);
		if (r < 0)
			return r;
	}
	return 0;
}
