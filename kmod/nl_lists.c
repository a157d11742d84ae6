// SPDX-License-Identifier: GPL-2.0
/* Rules of lists set, removed and listed. */
#include "kmod/netlink.h"

#include <net/netlink.h>
#include <net/sock.h>

#include "kmod/compat.h"

static bool has_host_bits(const struct kk_rule *rule)
{
	u32 free = (rule->family == KK_IP6 ? 128 : 32) - rule->len;

	if (free == 0)
		return false;
	if (free >= 64 && rule->from.low)
		return true;
	if (free < 64)
		return rule->from.low & ((1ULL << free) - 1);
	return free > 64 &&
	       (free == 128 ? rule->from.high : rule->from.high & ((1ULL << (free - 64)) - 1));
}

static int read_prefix(struct nlattr *const *attrs, struct kk_rule *rule,
		       struct netlink_ext_ack *extack)
{
	struct kk_in6 address;
	int family = kk_read_address(attrs[KK_RULE_A_ADDRESS], &address, extack);

	if (family < 0)
		return family;
	rule->from = kk_point_of(&address);
	rule->family = family;
	rule->len = nla_get_u8(attrs[KK_RULE_A_LEN]);
	if (family == KK_IP4 && rule->len > 32)
		return kk_refuse(extack, attrs[KK_RULE_A_LEN],
				 "a prefix of IPv4 has 32 bits at most");
	if (has_host_bits(rule))
		return kk_refuse(extack, attrs[KK_RULE_A_ADDRESS],
				 "the prefix has bits beyond its length");
	return 0;
}

int kk_change_rule_attr(struct kk_net *kn, struct kk_change *change, const struct nlattr *nest)
{
	struct kk_rule_change rule = {.gone = nla_type(nest) == KK_A_RULE_GONE, .attr = nest};
	struct nlattr *attrs[KK_RULE_A_MAX + 1];
	struct netlink_ext_ack *extack = change->extack;
	int r;

	r = nla_parse_nested(attrs, KK_RULE_A_MAX, nest, NULL, extack);
	if (r)
		return r;
	if (!attrs[KK_RULE_A_LIST])
		return kk_missing(extack, nest, KK_RULE_A_LIST, "the list is missing");
	if (!attrs[KK_RULE_A_ADDRESS])
		return kk_missing(extack, nest, KK_RULE_A_ADDRESS,
				  "the prefix's address is missing");
	if (!attrs[KK_RULE_A_LEN])
		return kk_missing(extack, nest, KK_RULE_A_LEN, "the prefix's length is missing");
	if (!rule.gone && !attrs[KK_RULE_A_VERDICT])
		return kk_missing(extack, nest, KK_RULE_A_VERDICT, "the verdict is missing");
	if (rule.gone && attrs[KK_RULE_A_VERDICT])
		return kk_refuse(extack, attrs[KK_RULE_A_VERDICT],
				 "a rule is removed by list, address and length alone");
	rule.list = nla_get_u32(attrs[KK_RULE_A_LIST]);
	if (!rule.gone)
		rule.rule.verdict = nla_get_u32(attrs[KK_RULE_A_VERDICT]) == KK_RULE_ALLOW
					    ? KK_LIST_ALLOW
					    : KK_LIST_DENY;
	if (rule.list == KK_LIST_GATEWAY && rule.rule.verdict == KK_LIST_ALLOW)
		return kk_refuse(extack, attrs[KK_RULE_A_VERDICT],
				 "the gateway's own list denies and cannot allow");
	r = read_prefix(attrs, &rule.rule, extack);
	return r ?: kk_change_rule(change, &rule);
}

static int put_rule(struct sk_buff *skb, struct netlink_callback *cb, u32 list,
		    const struct kk_rule *rule)
{
	void *header = kk_netlink_dump(skb, cb, KK_CMD_RULE_GET);
	struct kk_in6 address = {
		.word = {KK_BE32((u32)(rule->from.high >> 32)), KK_BE32((u32)rule->from.high),
			 KK_BE32((u32)(rule->from.low >> 32)), KK_BE32((u32)rule->from.low)}};
	struct nlattr *nest;

	if (!header)
		return -EMSGSIZE;
	nest = nla_nest_start(skb, KK_A_RULE);
	if (!nest || nla_put_u32(skb, KK_RULE_A_LIST, list) ||
	    kk_put_address(skb, KK_RULE_A_ADDRESS, &address) ||
	    nla_put_u8(skb, KK_RULE_A_LEN, rule->len) ||
	    nla_put_u32(skb, KK_RULE_A_VERDICT,
			rule->verdict == KK_LIST_ALLOW ? KK_RULE_ALLOW : KK_RULE_DENY)) {
		genlmsg_cancel(skb, header);
		return -EMSGSIZE;
	}
	nla_nest_end(skb, nest);
	genlmsg_end(skb, header);
	return 0;
}

static int read_filter(struct netlink_callback *cb, unsigned long *first, unsigned long *last)
{
	struct nlattr *nest = kk_dump_attrs(cb)[KK_A_RULE], *attrs[KK_RULE_A_MAX + 1];
	int r;

	*first = 0;
	*last = KK_LIST_ID_MAX;
	if (!nest)
		return 0;
	r = nla_parse_nested(attrs, KK_RULE_A_MAX, nest, NULL, cb->extack);
	if (r)
		return r;
	if (attrs[KK_RULE_A_ADDRESS] || attrs[KK_RULE_A_LEN] || attrs[KK_RULE_A_VERDICT])
		return kk_refuse(cb->extack, nest, "a dump of rules is filtered by list");
	if (attrs[KK_RULE_A_LIST])
		*first = *last = nla_get_u32(attrs[KK_RULE_A_LIST]);
	return 0;
}

/* Goes on at rule args[1] of list args[0]. */
int kk_dump_rules(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct kk_net *kn = kk_net_of(sock_net(cb->skb->sk));
	const struct kk_tables *tables;
	unsigned long first, last, id;
	struct kk_list *list = NULL;
	int r;

	r = read_filter(cb, &first, &last);
	if (r)
		return r;
	id = max_t(unsigned long, cb->args[0], first);
	mutex_lock(&kn->lock);
	tables = kk_net_tables(kn);
	cb->seq = kn->changes;
	if (tables)
		xa_for_each_range(&tables->listeners->lists.by_id, id, list, id, last)
		{
			while (cb->args[1] < list->n &&
			       !put_rule(skb, cb, id, &list->rules[cb->args[1]]))
				cb->args[1]++;
			if (cb->args[1] < list->n)
				break;
			cb->args[1] = 0;
		}
	/* Behind the last list the loop leaves its number. */
	cb->args[0] = list ? id : last + 1;
	mutex_unlock(&kn->lock);
	return skb->len;
}
