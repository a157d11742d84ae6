// SPDX-License-Identifier: GPL-2.0
/* What requests may hold: ranges and lengths are checked here, once. */
#include "kmod/netlink.h"

/* Not const: 6.1 would not take it. */
static struct netlink_range_validation mtu = {.min = 576, .max = 65535};

static const struct nla_policy settings[KK_SETTINGS_A_MAX + 1] = {
	[KK_SETTINGS_A_PUBLIC] = NLA_POLICY_MIN(NLA_U32, 1),
	[KK_SETTINGS_A_TUNNEL] = NLA_POLICY_MIN(NLA_U32, 1),
	[KK_SETTINGS_A_ADDRESS4] = {.type = NLA_BINARY, .len = 4 * KK_ADDRESSES_MAX},
	[KK_SETTINGS_A_ADDRESS6] = {.type = NLA_BINARY, .len = 16 * KK_ADDRESSES_MAX},
	[KK_SETTINGS_A_POOL] = NLA_POLICY_EXACT_LEN(4),
	[KK_SETTINGS_A_POOL_LEN] = NLA_POLICY_RANGE(NLA_U8, 8, 24),
	[KK_SETTINGS_A_POOL6] = NLA_POLICY_EXACT_LEN(16),
	[KK_SETTINGS_A_HOST] = NLA_POLICY_RANGE(NLA_U8, 1, 254),
	[KK_SETTINGS_A_MTU] = NLA_POLICY_FULL_RANGE(NLA_U32, &mtu),
	[KK_SETTINGS_A_FLOW_KEY] = NLA_POLICY_EXACT_LEN(8 * KK_FLOW_KEY_WORDS),
};

const struct nla_policy kk_policy_listener[KK_LISTENER_A_MAX + 1] = {
	[KK_LISTENER_A_SLOT] = NLA_POLICY_MAX(NLA_U8, KK_SLOTS_MAX - 1),
	/* TCP to UDP. No function: 6.1 warns when it describes that of a number to whoever asks for the policy. */
	[KK_LISTENER_A_PROTOCOL] = NLA_POLICY_RANGE(NLA_U8, 6, 17),
	[KK_LISTENER_A_PORT] = NLA_POLICY_MIN(NLA_U16, 1),
	[KK_LISTENER_A_PORTS] = NLA_POLICY_MIN(NLA_U16, 1),
	[KK_LISTENER_A_AGENT] = NLA_POLICY_EXACT_LEN(4),
	[KK_LISTENER_A_AGENT_PORT] = NLA_POLICY_MIN(NLA_U16, 1),
	[KK_LISTENER_A_SERVICE] = NLA_POLICY_MIN(NLA_U32, 1),
	[KK_LISTENER_A_FLAGS] = NLA_POLICY_MASK(NLA_U32, KK_LISTENER_F_ALL),
};

static const struct nla_policy service[KK_SERVICE_A_MAX + 1] = {
	[KK_SERVICE_A_ID] = NLA_POLICY_MIN(NLA_U32, 1),
};

static const struct nla_policy packet[KK_PACKET_A_MAX + 1] = {
	[KK_PACKET_A_DATA] = {.type = NLA_BINARY, .len = 65535 - 256},
	[KK_PACKET_A_DIRECTION] = NLA_POLICY_MAX(NLA_U32, KK_PACKET_OUTBOUND),
	[KK_PACKET_A_GSO] = NLA_POLICY_MIN(NLA_U16, 1),
	[KK_PACKET_A_PARTIAL] = {.type = NLA_FLAG},
};

const struct nla_policy kk_policy_none[1] = {};

const struct nla_policy kk_policy_settings[KK_A_MAX + 1] = {
	[KK_A_SETTINGS] = NLA_POLICY_NESTED(settings),
};

const struct nla_policy kk_policy_listeners[KK_A_MAX + 1] = {
	[KK_A_PENDING] = {.type = NLA_FLAG},
	[KK_A_GONE] = NLA_POLICY_NESTED(kk_policy_listener),
	[KK_A_LISTENER] = NLA_POLICY_NESTED(kk_policy_listener),
};

const struct nla_policy kk_policy_listener_filter[KK_A_MAX + 1] = {
	[KK_A_LISTENER] = NLA_POLICY_NESTED(kk_policy_listener),
};

const struct nla_policy kk_policy_service_filter[KK_A_MAX + 1] = {
	[KK_A_SERVICE] = NLA_POLICY_NESTED(service),
};

const struct nla_policy kk_policy_packet[KK_A_MAX + 1] = {
	[KK_A_PACKET] = NLA_POLICY_NESTED(packet),
};
