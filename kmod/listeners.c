// SPDX-License-Identifier: GPL-2.0
/* Listeners set, removed and listed. */
#include "kmod/netlink.h"

#include <linux/mm.h>
#include <net/netlink.h>
#include <net/sock.h>

#include "kmod/compat.h"

static int complain(struct netlink_ext_ack *extack, const struct nlattr *nest,
		    const struct nlattr *attr, u16 type, const char *message)
{
	if (attr)
		NL_SET_BAD_ATTR(extack, attr);
	else
		NL_SET_ERR_ATTR_MISS(extack, nest, type);
	extack->_msg = message;
	return -EINVAL;
}

/* Where a listener is: what setting, removing and looking for one have in common. */
static int read_place(const struct kk_settings *set, struct nlattr *const *attrs,
		      const struct nlattr *nest, struct kk_range *range,
		      struct netlink_ext_ack *extack)
{
	static const struct kk_in6 none;
	u32 i;

	*range = (struct kk_range){.n = 1, .attr = nest};
	if (!attrs[KK_LISTENER_A_SLOT])
		return complain(extack, nest, NULL, KK_LISTENER_A_SLOT,
				"the slot of the public address is missing");
	if (!attrs[KK_LISTENER_A_PROTOCOL])
		return complain(extack, nest, NULL, KK_LISTENER_A_PROTOCOL,
				"the protocol is missing");
	if (!attrs[KK_LISTENER_A_PORT])
		return complain(extack, nest, NULL, KK_LISTENER_A_PORT, "the port is missing");
	range->slot = nla_get_u8(attrs[KK_LISTENER_A_SLOT]);
	range->protocol = nla_get_u8(attrs[KK_LISTENER_A_PROTOCOL]);
	if (range->protocol != KK_TCP && range->protocol != KK_UDP)
		return complain(extack, nest, attrs[KK_LISTENER_A_PROTOCOL], 0,
				"the protocol is neither TCP (6) nor UDP (17)");
	range->port = nla_get_u16(attrs[KK_LISTENER_A_PORT]);
	if (attrs[KK_LISTENER_A_PORTS])
		range->n = nla_get_u16(attrs[KK_LISTENER_A_PORTS]);
	i = range->slot / 2;
	if (range->slot % 2 ? !memcmp(&set->address6[i], &none, sizeof(none)) : !set->address4[i])
		return complain(extack, nest, attrs[KK_LISTENER_A_SLOT], 0,
				"there is no public address in that slot");
	if (range->port + range->n > 65536)
		return complain(extack, nest, attrs[KK_LISTENER_A_PORTS], 0,
				"the ports end beyond 65535");
	return 0;
}

static int read_agent(const struct kk_settings *set, struct nlattr *const *attrs,
		      const struct nlattr *nest, struct kk_range *range,
		      struct netlink_ext_ack *extack)
{
	if (!attrs[KK_LISTENER_A_AGENT])
		return complain(extack, nest, NULL, KK_LISTENER_A_AGENT,
				"the agent's address is missing");
	if (!attrs[KK_LISTENER_A_AGENT_PORT])
		return complain(extack, nest, NULL, KK_LISTENER_A_AGENT_PORT,
				"the agent's port is missing");
	if (!attrs[KK_LISTENER_A_SERVICE])
		return complain(extack, nest, NULL, KK_LISTENER_A_SERVICE,
				"the service is missing");
	range->agent = nla_get_in_addr(attrs[KK_LISTENER_A_AGENT]);
	range->agent_port = nla_get_u16(attrs[KK_LISTENER_A_AGENT_PORT]);
	range->service = nla_get_u32(attrs[KK_LISTENER_A_SERVICE]);
	if (attrs[KK_LISTENER_A_FLAGS] &&
	    nla_get_u32(attrs[KK_LISTENER_A_FLAGS]) & KK_LISTENER_F_DRAINING)
		range->flags = KK_LISTENER_DRAINING;
	if ((range->agent & set->pool_mask) != set->pool)
		return complain(extack, nest, attrs[KK_LISTENER_A_AGENT], 0,
				"the agent's address is not in the pool");
	if (range->slot % 2 && !set->pool6.word[0])
		return complain(extack, nest, attrs[KK_LISTENER_A_SLOT], 0,
				"there is no IPv6 inside: the settings have no IPv6 pool");
	if (range->agent_port + range->n > 65536)
		return complain(extack, nest, attrs[KK_LISTENER_A_AGENT_PORT], 0,
				"the agent's ports end beyond 65535");
	return 0;
}

static int no_agent(struct nlattr *const *attrs, const struct nlattr *nest,
		    struct netlink_ext_ack *extack)
{
	for (int i = KK_LISTENER_A_AGENT; i <= KK_LISTENER_A_MAX; i++)
		if (attrs[i])
			return complain(extack, nest, attrs[i], 0,
					"a listener is removed by slot, protocol and ports alone");
	return 0;
}

static bool is_range(const struct nlattr *attr)
{
	return nla_type(attr) == KK_A_LISTENER || nla_type(attr) == KK_A_GONE;
}

static int read_range(const struct kk_settings *set, const struct nlattr *nest,
		      struct kk_range *range, struct netlink_ext_ack *extack)
{
	struct nlattr *attrs[KK_LISTENER_A_MAX + 1];
	int r;

	r = nla_parse_nested(attrs, KK_LISTENER_A_MAX, nest, NULL, extack);
	if (r == 0)
		r = read_place(set, attrs, nest, range, extack);
	if (r)
		return r;
	range->gone = nla_type(nest) == KK_A_GONE;
	return range->gone ? no_agent(attrs, nest, extack)
			   : read_agent(set, attrs, nest, range, extack);
}

/* All listeners of a request; the caller frees *@ret. How many, or an error. */
static int read_ranges(struct genl_info *info, const struct kk_settings *set, struct kk_range **ret)
{
	struct kk_range *ranges;
	struct nlattr *nest;
	int left, r = 0, n = 0;

	nlmsg_for_each_attr(nest, info->nlhdr, GENL_HDRLEN, left) n += is_range(nest);
	if (!n)
		return complain(info->extack, NULL, NULL, KK_A_LISTENER, "no listener is named");
	ranges = kvcalloc(n, sizeof(*ranges), GFP_KERNEL);
	if (!ranges)
		return -ENOMEM;
	n = 0;
	nlmsg_for_each_attr(nest, info->nlhdr, GENL_HDRLEN, left)
	{
		if (!is_range(nest))
			continue;
		r = read_range(set, nest, &ranges[n], info->extack);
		if (r)
			break;
		n++;
	}
	if (r)
		kvfree(ranges);
	else
		*ret = ranges;
	return r ? r : n;
}

int kk_do_listener_change(struct sk_buff *skb, struct genl_info *info)
{
	struct kk_net *kn = kk_net_of(genl_info_net(info));
	struct kk_tables *tables;
	struct kk_range *ranges;
	int r;

	mutex_lock(&kn->lock);
	tables = kk_netlink_tables(kn, info);
	if (IS_ERR(tables)) {
		r = PTR_ERR(tables);
	} else {
		r = read_ranges(info, &tables->set, &ranges);
		if (r > 0) {
			r = kk_tables_change(tables, ranges, r, info->extack);
			kvfree(ranges);
			kn->changes++;
		}
	}
	mutex_unlock(&kn->lock);
	return r;
}

/* What a dump asks for; what is not said is all. */
struct filter {
	int slot, protocol, port;
	u32 service;
	__be32 agent;
};

static int read_filter(struct netlink_callback *cb, struct filter *filter)
{
	struct nlattr *nest = kk_dump_attrs(cb)[KK_A_LISTENER], *attrs[KK_LISTENER_A_MAX + 1];
	int r;

	*filter = (struct filter){.slot = -1, .protocol = -1, .port = -1};
	if (!nest)
		return 0;
	r = nla_parse_nested(attrs, KK_LISTENER_A_MAX, nest, NULL, cb->extack);
	if (r)
		return r;
	if (attrs[KK_LISTENER_A_PORTS] || attrs[KK_LISTENER_A_AGENT_PORT] ||
	    attrs[KK_LISTENER_A_FLAGS])
		return complain(cb->extack, nest, nest, 0,
				"a dump is filtered by slot, protocol, port, agent and service");
	if (attrs[KK_LISTENER_A_SLOT])
		filter->slot = nla_get_u8(attrs[KK_LISTENER_A_SLOT]);
	if (attrs[KK_LISTENER_A_PROTOCOL])
		filter->protocol = nla_get_u8(attrs[KK_LISTENER_A_PROTOCOL]);
	if (attrs[KK_LISTENER_A_PORT])
		filter->port = nla_get_u16(attrs[KK_LISTENER_A_PORT]);
	if (attrs[KK_LISTENER_A_SERVICE])
		filter->service = nla_get_u32(attrs[KK_LISTENER_A_SERVICE]);
	if (attrs[KK_LISTENER_A_AGENT])
		filter->agent = nla_get_in_addr(attrs[KK_LISTENER_A_AGENT]);
	return 0;
}

static int put_listener(struct sk_buff *skb, struct netlink_callback *cb,
			const struct kk_range *range)
{
	struct nlattr *nest;
	void *header;

	header = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, &kk_family,
			     NLM_F_MULTI, KK_CMD_LISTENER_GET);
	if (!header)
		return -EMSGSIZE;
	genl_dump_check_consistent(cb, header);
	nest = nla_nest_start(skb, KK_A_LISTENER);
	if (!nest || nla_put_u8(skb, KK_LISTENER_A_SLOT, range->slot) ||
	    nla_put_u8(skb, KK_LISTENER_A_PROTOCOL, range->protocol) ||
	    nla_put_u16(skb, KK_LISTENER_A_PORT, range->port) ||
	    nla_put_u16(skb, KK_LISTENER_A_PORTS, range->n) ||
	    nla_put_in_addr(skb, KK_LISTENER_A_AGENT, range->agent) ||
	    nla_put_u16(skb, KK_LISTENER_A_AGENT_PORT, range->agent_port) ||
	    nla_put_u32(skb, KK_LISTENER_A_SERVICE, range->service) ||
	    nla_put_u32(skb, KK_LISTENER_A_FLAGS,
			range->flags & KK_LISTENER_DRAINING ? KK_LISTENER_F_DRAINING : 0)) {
		genlmsg_cancel(skb, header);
		return -EMSGSIZE;
	}
	nla_nest_end(skb, nest);
	genlmsg_end(skb, header);
	return 0;
}

/* The range of one service that begins at @index: as many ports as follow each other on both sides. */
static bool range_at(struct kk_net *kn, const struct kk_tables *tables, u32 index,
		     struct kk_range *range)
{
	u64 word = kk_tables_word(tables, index);
	const struct kk_service *service;

	if (!word)
		return false;
	service = rcu_dereference_protected(kn->services.by_slot[kk_listener_service(word)],
					    lockdep_is_held(&kn->lock));
	*range = (struct kk_range){
		.slot = index / KK_LISTENERS_PER_ADDRESS,
		.protocol = index % KK_LISTENERS_PER_ADDRESS < 65536 ? KK_TCP : KK_UDP,
		.port = index % 65536,
		.n = 1,
		.agent = tables->set.pool | htonl(kk_listener_agent(word)),
		.agent_port = kk_listener_port(word),
		.service = service->id,
		.flags = word & KK_LISTENER_DRAINING,
	};
	while (range->port + range->n < 65536 &&
	       kk_tables_word(tables, index + range->n) == word + ((u64)range->n << KK_AGENT_BITS))
		range->n++;
	return true;
}

static bool wanted(const struct filter *filter, const struct kk_range *range)
{
	return (filter->slot < 0 || filter->slot == range->slot) &&
	       (filter->protocol < 0 || filter->protocol == range->protocol) &&
	       (filter->port < 0 ||
		(filter->port >= range->port && filter->port < range->port + range->n)) &&
	       (!filter->service || filter->service == range->service) &&
	       (!filter->agent || filter->agent == range->agent);
}

int kk_dump_listeners(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct kk_net *kn = kk_net_of(sock_net(cb->skb->sk));
	const struct kk_tables *tables;
	struct filter filter;
	struct kk_range range;
	u32 index = cb->args[0];
	int r;

	r = read_filter(cb, &filter);
	if (r)
		return r;
	mutex_lock(&kn->lock);
	tables = kk_net_tables(kn);
	cb->seq = kn->changes;
	while (tables && index < KK_SLOTS_MAX * KK_LISTENERS_PER_ADDRESS) {
		if (!tables->listeners->words[index / KK_LISTENERS_PER_ADDRESS]) {
			index = roundup(index + 1, KK_LISTENERS_PER_ADDRESS);
			continue;
		}
		range.n = 1;
		if (range_at(kn, tables, index, &range) && wanted(&filter, &range) &&
		    put_listener(skb, cb, &range))
			break;
		index += range.n;
	}
	mutex_unlock(&kn->lock);
	cb->args[0] = index;
	return skb->len;
}
