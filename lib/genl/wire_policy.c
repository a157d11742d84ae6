// SPDX-License-Identifier: MIT
/* Groups, guards, rules, bans and flows as attributes. */
#include "genl/wire.h"

#include <errno.h>
#include <string.h>

#include <netlink/attr.h>
#include <uapi/kakuremichi.h>

#include "bpf/address.h"
#include "core/maglev.h"

#define IP4_BITS  96 /* of an IPv6 address, before an IPv4 one in it */
#define LIST_BITS 32

static int end(struct nl_msg *msg, struct nlattr *nest, int r)
{
	if (r < 0)
		return -EMSGSIZE;
	nla_nest_end(msg, nest);
	return 0;
}

/* A nest with nothing but a number. */
static int put_id(struct nl_msg *msg, int type, int attr, uint32_t id)
{
	struct nlattr *nest = nla_nest_start(msg, type);

	return nest ? end(msg, nest, nla_put_u32(msg, attr, id)) : -EMSGSIZE;
}

int kk_wire_put_group(struct nl_msg *msg, const struct kk_group *group)
{
	struct in_addr members[KK_MAGLEV_MEMBERS_MAX], unhealthy[KK_MAGLEV_MEMBERS_MAX];
	struct nlattr *nest = nla_nest_start(msg, KK_A_GROUP);
	int n = (int)group->n_members, n_unhealthy = 0;

	if (!nest)
		return -EMSGSIZE;
	for (int i = 0; i < n; i++) {
		members[i] = group->members[i].address;
		if (!group->members[i].healthy)
			unhealthy[n_unhealthy++] = members[i];
	}
	return end(msg, nest,
		   nla_put_u32(msg, KK_GROUP_A_ID, group->id) < 0 ||
				   nla_put(msg, KK_GROUP_A_MEMBERS, n * (int)sizeof(*members),
					   members) < 0 ||
				   (n_unhealthy &&
				    nla_put(msg, KK_GROUP_A_UNHEALTHY,
					    n_unhealthy * (int)sizeof(*members), unhealthy) < 0)
			   ? -1
			   : 0);
}

int kk_wire_put_group_gone(struct nl_msg *msg, const struct kk_group *group)
{
	return put_id(msg, KK_A_GROUP_GONE, KK_GROUP_A_ID, group->id);
}

static int put_limit(struct nl_msg *msg, int rate, int burst, const struct kk_limit *limit)
{
	if (!limit->rate)
		return 0;
	return nla_put_u32(msg, rate, limit->rate) < 0 || nla_put_u32(msg, burst, limit->burst) < 0
		       ? -1
		       : 0;
}

int kk_wire_put_guard(struct nl_msg *msg, const struct kk_guard *guard)
{
	struct nlattr *nest = nla_nest_start(msg, KK_A_GUARD);
	uint32_t flags = guard->deny_others ? KK_GUARD_F_DENY_OTHERS : 0;

	if (!nest)
		return -EMSGSIZE;
	if (nla_put_u32(msg, KK_GUARD_A_SERVICE, guard->service) < 0 ||
	    (guard->list && nla_put_u32(msg, KK_GUARD_A_LIST, guard->list) < 0) ||
	    nla_put_u32(msg, KK_GUARD_A_FLAGS, flags) < 0 ||
	    put_limit(msg, KK_GUARD_A_PACKET_RATE, KK_GUARD_A_PACKET_BURST, &guard->packets) < 0 ||
	    put_limit(msg, KK_GUARD_A_CONNECTION_RATE, KK_GUARD_A_CONNECTION_BURST,
		      &guard->connections) < 0 ||
	    (guard->syn_rate && nla_put_u32(msg, KK_GUARD_A_SYN_RATE, guard->syn_rate) < 0))
		return -EMSGSIZE;
	return end(msg, nest, 0);
}

int kk_wire_put_guard_gone(struct nl_msg *msg, const struct kk_guard *guard)
{
	return put_id(msg, KK_A_GUARD_GONE, KK_GUARD_A_SERVICE, guard->service);
}

static int put_address(struct nl_msg *msg, int attr, const struct kk_address *address)
{
	return nla_put(msg, attr, address->family == AF_INET6 ? 16 : 4, address->bytes);
}

static int put_prefix(struct nl_msg *msg, const struct kk_list_record *rule)
{
	const struct kk_address address = kk_address_of(&rule->key.address);
	uint32_t number = KK_HOST32(rule->key.list),
		 before = LIST_BITS + (number & 1 ? 0 : IP4_BITS);

	if (nla_put_u32(msg, KK_RULE_A_LIST, number >> 1) < 0 ||
	    put_address(msg, KK_RULE_A_ADDRESS, &address) < 0)
		return -1;
	return nla_put_u8(msg, KK_RULE_A_LEN, (uint8_t)(rule->key.prefix_len - before));
}

int kk_wire_put_rule(struct nl_msg *msg, const struct kk_list_record *rule)
{
	struct nlattr *nest = nla_nest_start(msg, KK_A_RULE);
	uint32_t verdict = rule->value.verdict == KK_LIST_ALLOW ? KK_RULE_ALLOW : KK_RULE_DENY;

	if (!nest || put_prefix(msg, rule) < 0)
		return -EMSGSIZE;
	return end(msg, nest, nla_put_u32(msg, KK_RULE_A_VERDICT, verdict));
}

int kk_wire_put_rule_gone(struct nl_msg *msg, const struct kk_list_record *rule)
{
	struct nlattr *nest = nla_nest_start(msg, KK_A_RULE_GONE);

	return nest ? end(msg, nest, put_prefix(msg, rule)) : -EMSGSIZE;
}

int kk_wire_put_ban(struct nl_msg *msg, int type, const struct kk_ban_entry *ban)
{
	struct nlattr *nest = nla_nest_start(msg, type);

	if (!nest || put_address(msg, KK_BAN_A_ADDRESS, &ban->source) < 0 ||
	    (ban->service && nla_put_u32(msg, KK_BAN_A_SERVICE, ban->service) < 0) ||
	    (ban->seconds && nla_put_u32(msg, KK_BAN_A_SECONDS, ban->seconds) < 0))
		return -EMSGSIZE;
	return end(msg, nest, 0);
}

struct kk_address kk_wire_address(const struct nlattr *attr)
{
	struct kk_address address = {0};

	if (nla_len(attr) != 4 && nla_len(attr) != 16)
		return address;
	address.family = nla_len(attr) == 4 ? AF_INET : AF_INET6;
	memcpy(address.bytes, nla_data(attr), (size_t)nla_len(attr));
	return address;
}

static uint32_t number_of(const struct nlattr *attr)
{
	return attr ? nla_get_u32(attr) : 0;
}

static bool has_member(const struct nlattr *list, const struct in_addr *address)
{
	for (int i = 0; list && i + 4 <= nla_len(list); i += 4)
		if (memcmp((const char *)nla_data(list) + i, address, 4) == 0)
			return true;
	return false;
}

int kk_wire_get_group(struct nlattr *nest, struct kk_group *ret, struct kk_member *members)
{
	static struct nla_policy policy[KK_GROUP_A_MAX + 1] = {
		[KK_GROUP_A_ID] = {.type = NLA_U32},
		[KK_GROUP_A_MEMBERS] = {.maxlen = 4 * KK_MAGLEV_MEMBERS_MAX},
		[KK_GROUP_A_UNHEALTHY] = {.maxlen = 4 * KK_MAGLEV_MEMBERS_MAX},
	};
	struct nlattr *a[KK_GROUP_A_MAX + 1];

	if (nla_parse_nested(a, KK_GROUP_A_MAX, nest, policy) < 0 || !a[KK_GROUP_A_ID] ||
	    !a[KK_GROUP_A_MEMBERS])
		return -EBADMSG;
	*ret = (struct kk_group){.id = nla_get_u32(a[KK_GROUP_A_ID]),
				 .members = members,
				 .n_members = (size_t)nla_len(a[KK_GROUP_A_MEMBERS]) / 4};
	for (size_t i = 0; i < ret->n_members; i++) {
		memcpy(&members[i].address, (const char *)nla_data(a[KK_GROUP_A_MEMBERS]) + 4 * i,
		       4);
		members[i].healthy = !has_member(a[KK_GROUP_A_UNHEALTHY], &members[i].address);
	}
	return 0;
}

int kk_wire_get_guard(struct nlattr *nest, struct kk_guard *ret)
{
	static struct nla_policy policy[KK_GUARD_A_MAX + 1] = {
		[KK_GUARD_A_SERVICE] = {.type = NLA_U32},
		[KK_GUARD_A_LIST] = {.type = NLA_U32},
		[KK_GUARD_A_FLAGS] = {.type = NLA_U32},
		[KK_GUARD_A_PACKET_RATE] = {.type = NLA_U32},
		[KK_GUARD_A_PACKET_BURST] = {.type = NLA_U32},
		[KK_GUARD_A_CONNECTION_RATE] = {.type = NLA_U32},
		[KK_GUARD_A_CONNECTION_BURST] = {.type = NLA_U32},
		[KK_GUARD_A_SYN_RATE] = {.type = NLA_U32},
	};
	struct nlattr *a[KK_GUARD_A_MAX + 1];

	if (nla_parse_nested(a, KK_GUARD_A_MAX, nest, policy) < 0 || !a[KK_GUARD_A_SERVICE])
		return -EBADMSG;
	*ret = (struct kk_guard){
		.service = nla_get_u32(a[KK_GUARD_A_SERVICE]),
		.list = number_of(a[KK_GUARD_A_LIST]),
		.deny_others = number_of(a[KK_GUARD_A_FLAGS]) & KK_GUARD_F_DENY_OTHERS,
		.packets = {.rate = number_of(a[KK_GUARD_A_PACKET_RATE]),
			    .burst = number_of(a[KK_GUARD_A_PACKET_BURST])},
		.connections = {.rate = number_of(a[KK_GUARD_A_CONNECTION_RATE]),
				.burst = number_of(a[KK_GUARD_A_CONNECTION_BURST])},
		.syn_rate = number_of(a[KK_GUARD_A_SYN_RATE]),
	};
	return 0;
}

int kk_wire_get_rule(struct nlattr *nest, struct kk_list_record *ret)
{
	static struct nla_policy policy[KK_RULE_A_MAX + 1] = {
		[KK_RULE_A_LIST] = {.type = NLA_U32},
		[KK_RULE_A_ADDRESS] = {.minlen = 4, .maxlen = 16},
		[KK_RULE_A_LEN] = {.type = NLA_U8},
		[KK_RULE_A_VERDICT] = {.type = NLA_U32},
	};
	struct nlattr *a[KK_RULE_A_MAX + 1];
	struct kk_address address;
	bool v6;

	if (nla_parse_nested(a, KK_RULE_A_MAX, nest, policy) < 0 || !a[KK_RULE_A_LIST] ||
	    !a[KK_RULE_A_ADDRESS] || !a[KK_RULE_A_LEN] || !a[KK_RULE_A_VERDICT])
		return -EBADMSG;
	address = kk_wire_address(a[KK_RULE_A_ADDRESS]);
	if (!address.family)
		return -EBADMSG;
	v6 = address.family == AF_INET6;
	*ret = (struct kk_list_record){
		.key = {.prefix_len =
				LIST_BITS + (v6 ? 0u : IP4_BITS) + nla_get_u8(a[KK_RULE_A_LEN]),
			.list = kk_list_number(nla_get_u32(a[KK_RULE_A_LIST]),
					       v6 ? KK_IP6 : KK_IP4),
			.address = kk_in6_of(&address)},
		.value = {.verdict = nla_get_u32(a[KK_RULE_A_VERDICT]) == KK_RULE_ALLOW
					     ? KK_LIST_ALLOW
					     : KK_LIST_DENY},
	};
	return 0;
}

int kk_wire_get_ban(struct nlattr *nest, struct kk_ban_entry *ret)
{
	static struct nla_policy policy[KK_BAN_A_MAX + 1] = {
		[KK_BAN_A_ADDRESS] = {.minlen = 4, .maxlen = 16},
		[KK_BAN_A_SERVICE] = {.type = NLA_U32},
		[KK_BAN_A_SECONDS] = {.type = NLA_U32},
	};
	struct nlattr *a[KK_BAN_A_MAX + 1];

	if (nla_parse_nested(a, KK_BAN_A_MAX, nest, policy) < 0 || !a[KK_BAN_A_ADDRESS])
		return -EBADMSG;
	*ret = (struct kk_ban_entry){.source = kk_wire_address(a[KK_BAN_A_ADDRESS]),
				     .service = number_of(a[KK_BAN_A_SERVICE]),
				     .seconds = number_of(a[KK_BAN_A_SECONDS])};
	return ret->source.family ? 0 : -EBADMSG;
}

int kk_wire_get_flow(struct nlattr *nest, struct kk_module_flow *ret)
{
	static struct nla_policy policy[KK_FLOW_A_MAX + 1] = {
		[KK_FLOW_A_AGENT] = {.minlen = 4, .maxlen = 4},
		[KK_FLOW_A_AGENT_PORT] = {.type = NLA_U16},
		[KK_FLOW_A_PORT] = {.type = NLA_U16},
		[KK_FLOW_A_PROTOCOL] = {.type = NLA_U8},
		[KK_FLOW_A_CLIENT] = {.minlen = 4, .maxlen = 16},
		[KK_FLOW_A_CLIENT_PORT] = {.type = NLA_U16},
		[KK_FLOW_A_SLOT] = {.type = NLA_U8},
		[KK_FLOW_A_PUBLIC_PORT] = {.type = NLA_U16},
		[KK_FLOW_A_IDLE] = {.type = NLA_U32},
		[KK_FLOW_A_IN_PACKETS] = {.type = NLA_U64},
		[KK_FLOW_A_IN_BYTES] = {.type = NLA_U64},
		[KK_FLOW_A_OUT_PACKETS] = {.type = NLA_U64},
		[KK_FLOW_A_OUT_BYTES] = {.type = NLA_U64},
	};
	struct nlattr *a[KK_FLOW_A_MAX + 1];

	if (nla_parse_nested(a, KK_FLOW_A_MAX, nest, policy) < 0)
		return -EBADMSG;
	for (int i = KK_FLOW_A_AGENT; i <= KK_FLOW_A_MAX; i++)
		if (!a[i])
			return -EBADMSG;
	*ret = (struct kk_module_flow){
		.protocol = nla_get_u8(a[KK_FLOW_A_PROTOCOL]),
		.slot = nla_get_u8(a[KK_FLOW_A_SLOT]),
		.agent_port = nla_get_u16(a[KK_FLOW_A_AGENT_PORT]),
		.port = nla_get_u16(a[KK_FLOW_A_PORT]),
		.client_port = nla_get_u16(a[KK_FLOW_A_CLIENT_PORT]),
		.public_port = nla_get_u16(a[KK_FLOW_A_PUBLIC_PORT]),
		.client = kk_wire_address(a[KK_FLOW_A_CLIENT]),
		.idle = nla_get_u32(a[KK_FLOW_A_IDLE]),
		.in_packets = nla_get_u64(a[KK_FLOW_A_IN_PACKETS]),
		.in_bytes = nla_get_u64(a[KK_FLOW_A_IN_BYTES]),
		.out_packets = nla_get_u64(a[KK_FLOW_A_OUT_PACKETS]),
		.out_bytes = nla_get_u64(a[KK_FLOW_A_OUT_BYTES]),
	};
	nla_memcpy(&ret->agent, a[KK_FLOW_A_AGENT], sizeof(ret->agent));
	return 0;
}
