// SPDX-License-Identifier: MIT
#include "genl/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include <netlink/attr.h>
#include <netlink/genl/genl.h>
#include <uapi/kakuremichi.h>

static const struct kk_in6 none6;

static uint8_t mask_len(__be32 mask)
{
	return (uint8_t)__builtin_popcount(mask);
}

static size_t count4(const struct kk_settings *set)
{
	size_t n = 0;

	while (n < KK_ADDRESSES_MAX && set->address4[n])
		n++;
	return n;
}

static size_t count6(const struct kk_settings *set)
{
	size_t n = 0;

	while (n < KK_ADDRESSES_MAX && memcmp(&set->address6[n], &none6, sizeof(none6)) != 0)
		n++;
	return n;
}

static int put_edge(struct nl_msg *msg, const struct kk_module_settings *settings)
{
	const struct kk_edge_settings *edge = &settings->edge_settings;
	const struct kk_flow_times *times = &settings->flow_times;
	uint32_t flags = (settings->edge ? KK_SETTINGS_F_EDGE : 0) |
			 (settings->closed_ports ? KK_SETTINGS_F_CLOSED_PORTS : 0);

	if (nla_put_u32(msg, KK_SETTINGS_A_FLAGS, flags) < 0 ||
	    nla_put(msg, KK_SETTINGS_A_COOKIE_KEY, sizeof(edge->cookie_key), edge->cookie_key) <
		    0 ||
	    (edge->syn_rate && nla_put_u32(msg, KK_SETTINGS_A_SYN_RATE, edge->syn_rate) < 0) ||
	    (edge->ephemeral &&
	     nla_put_u16(msg, KK_SETTINGS_A_EPHEMERAL, (uint16_t)edge->ephemeral) < 0) ||
	    (settings->flows_max &&
	     nla_put_u32(msg, KK_SETTINGS_A_FLOWS_MAX, settings->flows_max) < 0) ||
	    (times->udp && nla_put_u32(msg, KK_SETTINGS_A_UDP_TIME, times->udp) < 0) ||
	    (times->tcp && nla_put_u32(msg, KK_SETTINGS_A_TCP_TIME, times->tcp) < 0) ||
	    (times->closing && nla_put_u32(msg, KK_SETTINGS_A_CLOSING_TIME, times->closing) < 0))
		return -EMSGSIZE;
	return 0;
}

int kk_wire_put_settings(struct nl_msg *msg, const struct kk_module_settings *settings)
{
	const struct kk_settings *set = &settings->core;
	struct nlattr *nest = nla_nest_start(msg, KK_A_SETTINGS);

	if (!nest || nla_put_u32(msg, KK_SETTINGS_A_PUBLIC, settings->public_ifindex) < 0 ||
	    nla_put_u32(msg, KK_SETTINGS_A_TUNNEL, settings->tunnel_ifindex) < 0 ||
	    (count4(set) && nla_put(msg, KK_SETTINGS_A_ADDRESS4,
				    (int)(count4(set) * sizeof(__be32)), set->address4) < 0) ||
	    (count6(set) &&
	     nla_put(msg, KK_SETTINGS_A_ADDRESS6, (int)(count6(set) * sizeof(struct kk_in6)),
		     set->address6) < 0) ||
	    nla_put(msg, KK_SETTINGS_A_POOL, sizeof(set->pool), &set->pool) < 0 ||
	    nla_put_u8(msg, KK_SETTINGS_A_POOL_LEN, mask_len(set->pool_mask)) < 0 ||
	    (memcmp(&set->pool6, &none6, sizeof(none6)) != 0 &&
	     nla_put(msg, KK_SETTINGS_A_POOL6, sizeof(set->pool6), &set->pool6) < 0) ||
	    (set->host && nla_put_u8(msg, KK_SETTINGS_A_HOST, (uint8_t)ntohl(set->host)) < 0) ||
	    (set->mtu && nla_put_u32(msg, KK_SETTINGS_A_MTU, set->mtu) < 0) ||
	    nla_put(msg, KK_SETTINGS_A_FLOW_KEY, sizeof(set->flow_key), set->flow_key) < 0 ||
	    put_edge(msg, settings) < 0)
		return -EMSGSIZE;
	nla_nest_end(msg, nest);
	return 0;
}

int kk_wire_slot(const struct kk_settings *set, const struct kk_address *address)
{
	bool v6 = address->family == AF_INET6;

	for (uint32_t i = 0; i < KK_ADDRESSES_MAX; i++)
		if (v6 ? memcmp(&set->address6[i], &address->v6, sizeof(address->v6)) == 0
		       : set->address4[i] == address->v4.s_addr && set->address4[i])
			return (int)kk_slot(v6 ? KK_IP6 : KK_IP4, i);
	return -1;
}

static int put_place(struct nl_msg *msg, const struct kk_settings *set,
		     const struct kk_listener *listener)
{
	int slot = kk_wire_slot(set, &listener->address);

	if (slot < 0)
		return -EINVAL;
	return nla_put_u8(msg, KK_LISTENER_A_SLOT, (uint8_t)slot) < 0 ||
			       nla_put_u8(msg, KK_LISTENER_A_PROTOCOL, listener->protocol) < 0 ||
			       nla_put_u16(msg, KK_LISTENER_A_PORT, listener->port) < 0
		       ? -EMSGSIZE
		       : 0;
}

static uint32_t flags_of(const struct kk_listener *listener)
{
	return (listener->draining ? KK_LISTENER_F_DRAINING : 0) |
	       (listener->snat ? KK_LISTENER_F_SNAT : 0);
}

int kk_wire_put_listener(struct nl_msg *msg, const struct kk_settings *set,
			 const struct kk_listener *listener, uint16_t n)
{
	struct nlattr *nest = nla_nest_start(msg, KK_A_LISTENER);
	int r;

	if (!nest)
		return -EMSGSIZE;
	r = put_place(msg, set, listener);
	if (r < 0)
		return r;
	if ((n > 1 && nla_put_u16(msg, KK_LISTENER_A_PORTS, n) < 0) ||
	    (listener->group ? nla_put_u32(msg, KK_LISTENER_A_GROUP, listener->group)
			     : nla_put(msg, KK_LISTENER_A_AGENT, sizeof(listener->agent_address),
				       &listener->agent_address)) < 0 ||
	    nla_put_u16(msg, KK_LISTENER_A_AGENT_PORT, listener->agent_port) < 0 ||
	    nla_put_u32(msg, KK_LISTENER_A_SERVICE, listener->service) < 0 ||
	    nla_put_u32(msg, KK_LISTENER_A_FLAGS, flags_of(listener)) < 0)
		return -EMSGSIZE;
	nla_nest_end(msg, nest);
	return 0;
}

int kk_wire_put_gone(struct nl_msg *msg, const struct kk_settings *set,
		     const struct kk_listener *listener, uint16_t n)
{
	struct nlattr *nest = nla_nest_start(msg, KK_A_GONE);
	int r;

	if (!nest)
		return -EMSGSIZE;
	r = put_place(msg, set, listener);
	if (r == 0 && n > 1 && nla_put_u16(msg, KK_LISTENER_A_PORTS, n) < 0)
		r = -EMSGSIZE;
	if (r == 0)
		nla_nest_end(msg, nest);
	return r;
}

int kk_wire_parse(struct nlmsghdr *hdr, struct nlattr **attrs)
{
	if (!genlmsg_valid_hdr(hdr, 0) || genlmsg_parse(hdr, 0, attrs, KK_A_MAX, NULL) < 0)
		return -EBADMSG;
	return 0;
}

static uint32_t get_number(const struct nlattr *attr)
{
	return attr ? nla_get_u32(attr) : 0;
}

static void get_edge(struct nlattr **a, struct kk_module_settings *ret)
{
	uint32_t flags = a[KK_SETTINGS_A_FLAGS] ? nla_get_u32(a[KK_SETTINGS_A_FLAGS]) : 0;
	struct kk_edge_settings *edge = &ret->edge_settings;

	ret->edge = flags & KK_SETTINGS_F_EDGE;
	ret->closed_ports = flags & KK_SETTINGS_F_CLOSED_PORTS;
	if (a[KK_SETTINGS_A_COOKIE_KEY])
		nla_memcpy(edge->cookie_key, a[KK_SETTINGS_A_COOKIE_KEY], sizeof(edge->cookie_key));
	if (a[KK_SETTINGS_A_SYN_RATE])
		edge->syn_rate = nla_get_u32(a[KK_SETTINGS_A_SYN_RATE]);
	if (a[KK_SETTINGS_A_EPHEMERAL])
		edge->ephemeral = nla_get_u16(a[KK_SETTINGS_A_EPHEMERAL]);
	if (a[KK_SETTINGS_A_FLOWS_MAX])
		ret->flows_max = nla_get_u32(a[KK_SETTINGS_A_FLOWS_MAX]);
	ret->flow_times =
		(struct kk_flow_times){.udp = get_number(a[KK_SETTINGS_A_UDP_TIME]),
				       .tcp = get_number(a[KK_SETTINGS_A_TCP_TIME]),
				       .closing = get_number(a[KK_SETTINGS_A_CLOSING_TIME])};
}

int kk_wire_get_settings(struct nlattr *nest, struct kk_module_settings *ret)
{
	static struct nla_policy policy[KK_SETTINGS_A_MAX + 1] = {
		[KK_SETTINGS_A_PUBLIC] = {.type = NLA_U32},
		[KK_SETTINGS_A_TUNNEL] = {.type = NLA_U32},
		[KK_SETTINGS_A_ADDRESS4] = {.maxlen = sizeof(ret->core.address4)},
		[KK_SETTINGS_A_ADDRESS6] = {.maxlen = sizeof(ret->core.address6)},
		[KK_SETTINGS_A_POOL] = {.minlen = 4, .maxlen = 4},
		[KK_SETTINGS_A_POOL_LEN] = {.type = NLA_U8},
		[KK_SETTINGS_A_POOL6] = {.minlen = 16, .maxlen = 16},
		[KK_SETTINGS_A_HOST] = {.type = NLA_U8},
		[KK_SETTINGS_A_MTU] = {.type = NLA_U32},
		[KK_SETTINGS_A_FLOW_KEY] = {.minlen = 8 * KK_FLOW_KEY_WORDS,
					    .maxlen = 8 * KK_FLOW_KEY_WORDS},
		[KK_SETTINGS_A_FLAGS] = {.type = NLA_U32},
		[KK_SETTINGS_A_COOKIE_KEY] = {.minlen = 16, .maxlen = 16},
		[KK_SETTINGS_A_SYN_RATE] = {.type = NLA_U32},
		[KK_SETTINGS_A_EPHEMERAL] = {.type = NLA_U16},
		[KK_SETTINGS_A_FLOWS_MAX] = {.type = NLA_U32},
		[KK_SETTINGS_A_UDP_TIME] = {.type = NLA_U32},
		[KK_SETTINGS_A_TCP_TIME] = {.type = NLA_U32},
		[KK_SETTINGS_A_CLOSING_TIME] = {.type = NLA_U32},
	};
	struct nlattr *a[KK_SETTINGS_A_MAX + 1];
	struct kk_settings *set = &ret->core;

	if (nla_parse_nested(a, KK_SETTINGS_A_MAX, nest, policy) < 0 || !a[KK_SETTINGS_A_POOL] ||
	    !a[KK_SETTINGS_A_POOL_LEN] || !a[KK_SETTINGS_A_PUBLIC] || !a[KK_SETTINGS_A_TUNNEL] ||
	    nla_get_u8(a[KK_SETTINGS_A_POOL_LEN]) > 32)
		return -EBADMSG;
	*ret = (struct kk_module_settings){
		.public_ifindex = nla_get_u32(a[KK_SETTINGS_A_PUBLIC]),
		.tunnel_ifindex = nla_get_u32(a[KK_SETTINGS_A_TUNNEL]),
	};
	if (a[KK_SETTINGS_A_MTU])
		set->mtu = nla_get_u32(a[KK_SETTINGS_A_MTU]);
	set->pool_mask =
		htonl((__u32)(0xffffffffULL << (32 - nla_get_u8(a[KK_SETTINGS_A_POOL_LEN]))));
	nla_memcpy(&set->pool, a[KK_SETTINGS_A_POOL], sizeof(set->pool));
	if (a[KK_SETTINGS_A_ADDRESS4])
		nla_memcpy(set->address4, a[KK_SETTINGS_A_ADDRESS4], sizeof(set->address4));
	if (a[KK_SETTINGS_A_ADDRESS6])
		nla_memcpy(set->address6, a[KK_SETTINGS_A_ADDRESS6], sizeof(set->address6));
	if (a[KK_SETTINGS_A_POOL6])
		nla_memcpy(&set->pool6, a[KK_SETTINGS_A_POOL6], sizeof(set->pool6));
	if (a[KK_SETTINGS_A_HOST])
		set->host = htonl(nla_get_u8(a[KK_SETTINGS_A_HOST]));
	if (a[KK_SETTINGS_A_FLOW_KEY])
		nla_memcpy(set->flow_key, a[KK_SETTINGS_A_FLOW_KEY], sizeof(set->flow_key));
	get_edge(a, ret);
	return 0;
}

static struct kk_address address_in(const struct kk_settings *set, uint8_t slot)
{
	struct kk_address address = {.family = slot % 2 ? AF_INET6 : AF_INET};

	if (slot % 2)
		memcpy(&address.v6, &set->address6[slot / 2], sizeof(address.v6));
	else
		address.v4.s_addr = set->address4[slot / 2];
	return address;
}

int kk_wire_get_listener(struct nlattr *nest, const struct kk_settings *set,
			 struct kk_listener *ret, uint16_t *n)
{
	static struct nla_policy policy[KK_LISTENER_A_MAX + 1] = {
		[KK_LISTENER_A_SLOT] = {.type = NLA_U8},
		[KK_LISTENER_A_PROTOCOL] = {.type = NLA_U8},
		[KK_LISTENER_A_PORT] = {.type = NLA_U16},
		[KK_LISTENER_A_PORTS] = {.type = NLA_U16},
		[KK_LISTENER_A_AGENT] = {.minlen = 4, .maxlen = 4},
		[KK_LISTENER_A_AGENT_PORT] = {.type = NLA_U16},
		[KK_LISTENER_A_SERVICE] = {.type = NLA_U32},
		[KK_LISTENER_A_FLAGS] = {.type = NLA_U32},
		[KK_LISTENER_A_GROUP] = {.type = NLA_U32},
	};
	struct nlattr *a[KK_LISTENER_A_MAX + 1];
	uint32_t flags;

	if (nla_parse_nested(a, KK_LISTENER_A_MAX, nest, policy) < 0)
		return -EBADMSG;
	for (int i = KK_LISTENER_A_SLOT; i <= KK_LISTENER_A_FLAGS; i++)
		if (!a[i] && i != KK_LISTENER_A_AGENT)
			return -EBADMSG;
	if (!a[KK_LISTENER_A_AGENT] == !a[KK_LISTENER_A_GROUP] ||
	    nla_get_u8(a[KK_LISTENER_A_SLOT]) >= KK_SLOTS_MAX)
		return -EBADMSG;
	flags = nla_get_u32(a[KK_LISTENER_A_FLAGS]);
	*ret = (struct kk_listener){
		.protocol = nla_get_u8(a[KK_LISTENER_A_PROTOCOL]),
		.address = address_in(set, nla_get_u8(a[KK_LISTENER_A_SLOT])),
		.port = nla_get_u16(a[KK_LISTENER_A_PORT]),
		.agent_port = nla_get_u16(a[KK_LISTENER_A_AGENT_PORT]),
		.service = nla_get_u32(a[KK_LISTENER_A_SERVICE]),
		.snat = flags & KK_LISTENER_F_SNAT,
		.draining = flags & KK_LISTENER_F_DRAINING,
	};
	if (a[KK_LISTENER_A_GROUP])
		ret->group = nla_get_u32(a[KK_LISTENER_A_GROUP]);
	else
		nla_memcpy(&ret->agent_address, a[KK_LISTENER_A_AGENT], sizeof(ret->agent_address));
	*n = nla_get_u16(a[KK_LISTENER_A_PORTS]);
	return 0;
}
