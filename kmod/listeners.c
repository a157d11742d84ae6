// SPDX-License-Identifier: GPL-2.0
/* Listeners set, removed and listed. */
#include "kmod/netlink.h"

#include <linux/mm.h>
#include <net/netlink.h>
#include <net/sock.h>

#include "kmod/compat.h"

/* Where a listener is: what setting, removing and looking for one have in common. */
static int read_place(const struct kk_settings *set, struct nlattr *const *attrs,
		      const struct nlattr *nest, struct kk_range *range,
		      struct netlink_ext_ack *extack)
{
	static const struct kk_in6 none;
	u32 i;

	*range = (struct kk_range){.n = 1, .attr = nest};
	if (!attrs[KK_LISTENER_A_SLOT])
		return kk_missing(extack, nest, KK_LISTENER_A_SLOT,
				  "the slot of the public address is missing");
	if (!attrs[KK_LISTENER_A_PROTOCOL])
		return kk_missing(extack, nest, KK_LISTENER_A_PROTOCOL, "the protocol is missing");
	if (!attrs[KK_LISTENER_A_PORT])
		return kk_missing(extack, nest, KK_LISTENER_A_PORT, "the port is missing");
	range->slot = nla_get_u8(attrs[KK_LISTENER_A_SLOT]);
	range->protocol = nla_get_u8(attrs[KK_LISTENER_A_PROTOCOL]);
	if (range->protocol != KK_TCP && range->protocol != KK_UDP)
		return kk_refuse(extack, attrs[KK_LISTENER_A_PROTOCOL],
				 "the protocol is neither TCP (6) nor UDP (17)");
	range->port = nla_get_u16(attrs[KK_LISTENER_A_PORT]);
	if (attrs[KK_LISTENER_A_PORTS])
		range->n = nla_get_u16(attrs[KK_LISTENER_A_PORTS]);
	i = range->slot / 2;
	if (range->slot % 2 ? !memcmp(&set->address6[i], &none, sizeof(none)) : !set->address4[i])
		return kk_refuse(extack, attrs[KK_LISTENER_A_SLOT],
				 "there is no public address in that slot");
	if (range->port + range->n > 65536)
		return kk_refuse(extack, attrs[KK_LISTENER_A_PORTS], "the ports end beyond 65535");
	return 0;
}

/* The Agent, or the group, that a listener leads to. */
static int read_agent(const struct kk_tables *tables, struct nlattr *const *attrs,
		      const struct nlattr *nest, struct kk_range *range,
		      struct netlink_ext_ack *extack)
{
	const struct nlattr *agent = attrs[KK_LISTENER_A_AGENT], *id = attrs[KK_LISTENER_A_GROUP];
	const struct kk_settings *set = &tables->set;
	const struct kk_group *group;

	if (!agent && !id)
		return kk_missing(extack, nest, KK_LISTENER_A_AGENT,
				  "the agent's address is missing");
	if (agent && id)
		return kk_refuse(extack, id, "a listener leads to an agent or to a group");
	if (id) {
		group = kk_groups_find(&tables->listeners->groups, nla_get_u32(id));
		if (!group) {
			kk_refuse(extack, id, "there is no such group");
			return -ENOENT;
		}
		range->agent = group->number;
		range->flags |= KK_LISTENER_GROUP;
		return 0;
	}
	if ((nla_get_in_addr(agent) & set->pool_mask) != set->pool)
		return kk_refuse(extack, agent, "the agent's address is not in the pool");
	range->agent = kk_pool_offset(nla_get_in_addr(agent), set->pool_mask);
	return 0;
}

static int read_rest(struct kk_net *kn, const struct kk_tables *tables, struct nlattr *const *attrs,
		     const struct nlattr *nest, struct kk_range *range,
		     struct netlink_ext_ack *extack)
{
	u32 flags = 0;

	if (!attrs[KK_LISTENER_A_AGENT_PORT])
		return kk_missing(extack, nest, KK_LISTENER_A_AGENT_PORT,
				  "the agent's port is missing");
	if (!attrs[KK_LISTENER_A_SERVICE])
		return kk_missing(extack, nest, KK_LISTENER_A_SERVICE, "the service is missing");
	range->agent_port = nla_get_u16(attrs[KK_LISTENER_A_AGENT_PORT]);
	range->service = nla_get_u32(attrs[KK_LISTENER_A_SERVICE]);
	if (attrs[KK_LISTENER_A_FLAGS])
		flags = nla_get_u32(attrs[KK_LISTENER_A_FLAGS]);
	range->flags |= (flags & KK_LISTENER_F_DRAINING ? KK_LISTENER_DRAINING : 0) |
			(flags & KK_LISTENER_F_SNAT ? KK_LISTENER_SNAT : 0);
	if (range->slot % 2 && !tables->set.pool6.word[0])
		return kk_refuse(extack, attrs[KK_LISTENER_A_SLOT],
				 "there is no IPv6 inside: the settings have no IPv6 pool");
	if (range->agent_port + range->n > 65536)
		return kk_refuse(extack, attrs[KK_LISTENER_A_AGENT_PORT],
				 "the agent's ports end beyond 65535");
	if (!(flags & KK_LISTENER_F_SNAT))
		return 0;
	if (!tables->set.host)
		return kk_refuse(
			extack, attrs[KK_LISTENER_A_FLAGS],
			"there is no address that an agent could see: the settings have no host");
	return kk_flows_init(&kn->flows);
}

static int no_agent(struct nlattr *const *attrs, struct netlink_ext_ack *extack)
{
	for (int i = KK_LISTENER_A_AGENT; i <= KK_LISTENER_A_MAX; i++)
		if (attrs[i])
			return kk_refuse(extack, attrs[i],
					 "a listener is removed by slot, protocol and ports alone");
	return 0;
}

int kk_change_listener_attr(struct kk_net *kn, struct kk_change *change, const struct nlattr *nest)
{
	struct nlattr *attrs[KK_LISTENER_A_MAX + 1];
	struct netlink_ext_ack *extack = change->extack;
	struct kk_range range;
	int r;

	r = nla_parse_nested(attrs, KK_LISTENER_A_MAX, nest, NULL, extack);
	if (r == 0)
		r = read_place(&change->tables->set, attrs, nest, &range, extack);
	if (r)
		return r;
	range.gone = nla_type(nest) == KK_A_GONE;
	if (range.gone)
		r = no_agent(attrs, extack);
	else
		r = read_agent(change->tables, attrs, nest, &range, extack)
			    ?: read_rest(kn, change->tables, attrs, nest, &range, extack);
	return r ?: kk_change_range(change, &range);
}

/* What a dump asks for; what is not said is all. */
struct filter {
	int slot, protocol, port;
	u32 service, group;
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
		return kk_refuse(
			cb->extack, nest,
			"a dump is filtered by slot, protocol, port, agent, group and service");
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
	if (attrs[KK_LISTENER_A_GROUP])
		filter->group = nla_get_u32(attrs[KK_LISTENER_A_GROUP]);
	return 0;
}

/* A range as it is told: with ids in place of numbers. */
struct told {
	u32 index, n;
	u64 word; /* of the first */
	u32 service, group;
	__be32 agent;
};

static u32 flags_of(u64 word)
{
	return (word & KK_LISTENER_DRAINING ? KK_LISTENER_F_DRAINING : 0) |
	       (word & KK_LISTENER_SNAT ? KK_LISTENER_F_SNAT : 0);
}

static u8 protocol_of(u32 index)
{
	return index % KK_LISTENERS_PER_ADDRESS < 65536 ? KK_TCP : KK_UDP;
}

static int put_listener(struct sk_buff *skb, struct netlink_callback *cb, const struct told *told)
{
	void *header = kk_netlink_dump(skb, cb, KK_CMD_LISTENER_GET);
	struct nlattr *nest;

	if (!header)
		return -EMSGSIZE;
	nest = nla_nest_start(skb, KK_A_LISTENER);
	if (!nest || nla_put_u8(skb, KK_LISTENER_A_SLOT, told->index / KK_LISTENERS_PER_ADDRESS) ||
	    nla_put_u8(skb, KK_LISTENER_A_PROTOCOL, protocol_of(told->index)) ||
	    nla_put_u16(skb, KK_LISTENER_A_PORT, told->index % 65536) ||
	    nla_put_u16(skb, KK_LISTENER_A_PORTS, told->n) ||
	    (told->group ? nla_put_u32(skb, KK_LISTENER_A_GROUP, told->group)
			 : nla_put_in_addr(skb, KK_LISTENER_A_AGENT, told->agent)) ||
	    nla_put_u16(skb, KK_LISTENER_A_AGENT_PORT, kk_listener_port(told->word)) ||
	    nla_put_u32(skb, KK_LISTENER_A_SERVICE, told->service) ||
	    nla_put_u32(skb, KK_LISTENER_A_FLAGS, flags_of(told->word))) {
		genlmsg_cancel(skb, header);
		return -EMSGSIZE;
	}
	nla_nest_end(skb, nest);
	genlmsg_end(skb, header);
	return 0;
}

/* The range of one service that begins at @index: as many ports as follow each other on both sides. */
static bool range_at(struct kk_net *kn, const struct kk_tables *tables, u32 index,
		     struct told *told)
{
	u64 word = kk_tables_word(tables, index);
	const struct kk_group *group;

	if (!word)
		return false;
	*told = (struct told){
		.index = index,
		.n = 1,
		.word = word,
		.service =
			rcu_dereference_protected(kn->services.by_slot[kk_listener_service(word)],
						  lockdep_is_held(&kn->lock))
				->id,
	};
	if (word & KK_LISTENER_GROUP) {
		group = kk_groups_at(&tables->listeners->groups, kk_listener_agent(word));
		told->group = group->id;
	} else {
		told->agent = tables->set.pool | htonl(kk_listener_agent(word));
	}
	while (index % 65536 + told->n < 65536 &&
	       kk_tables_word(tables, index + told->n) == word + ((u64)told->n << KK_AGENT_BITS))
		told->n++;
	return true;
}

static bool wanted(const struct filter *filter, const struct told *told)
{
	u32 port = told->index % 65536;

	return (filter->slot < 0 || filter->slot == told->index / KK_LISTENERS_PER_ADDRESS) &&
	       (filter->protocol < 0 || filter->protocol == protocol_of(told->index)) &&
	       (filter->port < 0 || (filter->port >= port && filter->port < port + told->n)) &&
	       (!filter->service || filter->service == told->service) &&
	       (!filter->group || filter->group == told->group) &&
	       (!filter->agent || filter->agent == told->agent);
}

int kk_dump_listeners(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct kk_net *kn = kk_net_of(sock_net(cb->skb->sk));
	const struct kk_tables *tables;
	struct filter filter;
	struct told told;
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
		told.n = 1;
		if (range_at(kn, tables, index, &told) && wanted(&filter, &told) &&
		    put_listener(skb, cb, &told))
			break;
		index += told.n;
	}
	mutex_unlock(&kn->lock);
	cb->args[0] = index;
	return skb->len;
}
