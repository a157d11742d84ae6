// SPDX-License-Identifier: GPL-2.0
/* What requests may hold: ranges and lengths are checked here, once. */
#include "kmod/netlink.h"

/* Not const: 6.1 would not take it. */
static struct netlink_range_validation mtu = {.min = 576, .max = 65535};
static struct netlink_range_validation flows_max = {.min = 1, .max = 1048576};
static struct netlink_range_validation flow_time = {.min = 1, .max = 604800};
static struct netlink_range_validation list = {.min = 0, .max = 2147483647};
static struct netlink_range_validation named_list = {.min = 1, .max = 2147483647};
static struct netlink_range_validation rate = {.min = 1, .max = 10000000};
static struct netlink_range_validation burst = {.min = 1, .max = 1000000};

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
	[KK_SETTINGS_A_FLAGS] = NLA_POLICY_MASK(NLA_U32, KK_SETTINGS_F_ALL),
	[KK_SETTINGS_A_COOKIE_KEY] = NLA_POLICY_EXACT_LEN(16),
	[KK_SETTINGS_A_SYN_RATE] = NLA_POLICY_MIN(NLA_U32, 1),
	[KK_SETTINGS_A_EPHEMERAL] = NLA_POLICY_MIN(NLA_U16, 1),
	[KK_SETTINGS_A_FLOWS_MAX] = NLA_POLICY_FULL_RANGE(NLA_U32, &flows_max),
	[KK_SETTINGS_A_UDP_TIME] = NLA_POLICY_FULL_RANGE(NLA_U32, &flow_time),
	[KK_SETTINGS_A_TCP_TIME] = NLA_POLICY_FULL_RANGE(NLA_U32, &flow_time),
	[KK_SETTINGS_A_CLOSING_TIME] = NLA_POLICY_FULL_RANGE(NLA_U32, &flow_time),
};

static const struct nla_policy kk_policy_listener[KK_LISTENER_A_MAX + 1] = {
	[KK_LISTENER_A_SLOT] = NLA_POLICY_MAX(NLA_U8, KK_SLOTS_MAX - 1),
	/* TCP to UDP. No function: 6.1 warns when it describes that of a number to whoever asks for the policy. */
	[KK_LISTENER_A_PROTOCOL] = NLA_POLICY_RANGE(NLA_U8, 6, 17),
	[KK_LISTENER_A_PORT] = NLA_POLICY_MIN(NLA_U16, 1),
	[KK_LISTENER_A_PORTS] = NLA_POLICY_MIN(NLA_U16, 1),
	[KK_LISTENER_A_AGENT] = NLA_POLICY_EXACT_LEN(4),
	[KK_LISTENER_A_AGENT_PORT] = NLA_POLICY_MIN(NLA_U16, 1),
	[KK_LISTENER_A_SERVICE] = NLA_POLICY_MIN(NLA_U32, 1),
	[KK_LISTENER_A_FLAGS] = NLA_POLICY_MASK(NLA_U32, KK_LISTENER_F_ALL),
	[KK_LISTENER_A_GROUP] = NLA_POLICY_MIN(NLA_U32, 1),
};

static const struct nla_policy group[KK_GROUP_A_MAX + 1] = {
	[KK_GROUP_A_ID] = NLA_POLICY_MIN(NLA_U32, 1),
	[KK_GROUP_A_MEMBERS] = {.type = NLA_BINARY, .len = 4 * KK_MAGLEV_MEMBERS_MAX},
	[KK_GROUP_A_UNHEALTHY] = {.type = NLA_BINARY, .len = 4 * KK_MAGLEV_MEMBERS_MAX},
};

static const struct nla_policy rule[KK_RULE_A_MAX + 1] = {
	[KK_RULE_A_LIST] = NLA_POLICY_FULL_RANGE(NLA_U32, &list),
	[KK_RULE_A_ADDRESS] = {.type = NLA_BINARY, .len = 16},
	[KK_RULE_A_LEN] = NLA_POLICY_MAX(NLA_U8, 128),
	[KK_RULE_A_VERDICT] = NLA_POLICY_MAX(NLA_U32, KK_RULE_ALLOW),
};

static const struct nla_policy guard[KK_GUARD_A_MAX + 1] = {
	[KK_GUARD_A_SERVICE] = NLA_POLICY_MIN(NLA_U32, 1),
	[KK_GUARD_A_LIST] = NLA_POLICY_FULL_RANGE(NLA_U32, &named_list),
	[KK_GUARD_A_FLAGS] = NLA_POLICY_MASK(NLA_U32, KK_GUARD_F_ALL),
	[KK_GUARD_A_PACKET_RATE] = NLA_POLICY_FULL_RANGE(NLA_U32, &rate),
	[KK_GUARD_A_PACKET_BURST] = NLA_POLICY_FULL_RANGE(NLA_U32, &burst),
	[KK_GUARD_A_CONNECTION_RATE] = NLA_POLICY_FULL_RANGE(NLA_U32, &rate),
	[KK_GUARD_A_CONNECTION_BURST] = NLA_POLICY_FULL_RANGE(NLA_U32, &burst),
	[KK_GUARD_A_SYN_RATE] = NLA_POLICY_MIN(NLA_U32, 1),
};

static const struct nla_policy ban[KK_BAN_A_MAX + 1] = {
	[KK_BAN_A_ADDRESS] = {.type = NLA_BINARY, .len = 16},
	[KK_BAN_A_SERVICE] = NLA_POLICY_MIN(NLA_U32, 1),
	[KK_BAN_A_SECONDS] = NLA_POLICY_MIN(NLA_U32, 1),
};

static const struct nla_policy flow[KK_FLOW_A_MAX + 1] = {
	[KK_FLOW_A_AGENT] = NLA_POLICY_EXACT_LEN(4),
};

static const struct nla_policy service[KK_SERVICE_A_MAX + 1] = {
	[KK_SERVICE_A_ID] = NLA_POLICY_MIN(NLA_U32, 1),
};

static const struct nla_policy packet[KK_PACKET_A_MAX + 1] = {
	[KK_PACKET_A_DATA] = {.type = NLA_BINARY, .len = 65535 - 256},
	[KK_PACKET_A_DIRECTION] = NLA_POLICY_MAX(NLA_U32, KK_PACKET_OUTBOUND),
	[KK_PACKET_A_GSO] = NLA_POLICY_MIN(NLA_U16, 1),
	[KK_PACKET_A_PARTIAL] = {.type = NLA_FLAG},
	[KK_PACKET_A_NOW] = {.type = NLA_U64},
};

const struct nla_policy kk_policy_none[KK_A_PAD + 1] = {};

const struct nla_policy kk_policy_settings[KK_A_MAX + 1] = {
	[KK_A_SETTINGS] = NLA_POLICY_NESTED(settings),
};

const struct nla_policy kk_policy_change[KK_A_MAX + 1] = {
	[KK_A_PENDING] = {.type = NLA_FLAG},
	[KK_A_GONE] = NLA_POLICY_NESTED(kk_policy_listener),
	[KK_A_LISTENER] = NLA_POLICY_NESTED(kk_policy_listener),
	[KK_A_GROUP_GONE] = NLA_POLICY_NESTED(group),
	[KK_A_GROUP] = NLA_POLICY_NESTED(group),
	[KK_A_RULE_GONE] = NLA_POLICY_NESTED(rule),
	[KK_A_RULE] = NLA_POLICY_NESTED(rule),
	[KK_A_GUARD_GONE] = NLA_POLICY_NESTED(guard),
	[KK_A_GUARD] = NLA_POLICY_NESTED(guard),
};

const struct nla_policy kk_policy_bans[KK_A_MAX + 1] = {
	[KK_A_BAN_GONE] = NLA_POLICY_NESTED(ban),
	[KK_A_BAN] = NLA_POLICY_NESTED(ban),
};

const struct nla_policy kk_policy_listener_filter[KK_A_MAX + 1] = {
	[KK_A_LISTENER] = NLA_POLICY_NESTED(kk_policy_listener),
};

const struct nla_policy kk_policy_group_filter[KK_A_MAX + 1] = {
	[KK_A_GROUP] = NLA_POLICY_NESTED(group),
};

const struct nla_policy kk_policy_rule_filter[KK_A_MAX + 1] = {
	[KK_A_RULE] = NLA_POLICY_NESTED(rule),
};

const struct nla_policy kk_policy_guard_filter[KK_A_MAX + 1] = {
	[KK_A_GUARD] = NLA_POLICY_NESTED(guard),
};

const struct nla_policy kk_policy_ban_filter[KK_A_MAX + 1] = {
	[KK_A_BAN] = NLA_POLICY_NESTED(ban),
};

const struct nla_policy kk_policy_flow_filter[KK_A_MAX + 1] = {
	[KK_A_FLOW] = NLA_POLICY_NESTED(flow),
};

const struct nla_policy kk_policy_service_filter[KK_A_MAX + 1] = {
	[KK_A_SERVICE] = NLA_POLICY_NESTED(service),
};

const struct nla_policy kk_policy_packet[KK_A_MAX + 1] = {
	[KK_A_PACKET] = NLA_POLICY_NESTED(packet),
};
