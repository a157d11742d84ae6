// SPDX-License-Identifier: GPL-2.0
/* What was counted, of services and of reasons. */
#include "kmod/netlink.h"

#include <net/netlink.h>
#include <net/sock.h>

#include <kk/core/reasons.h>

#include "kmod/compat.h"
#include "kmod/names.h"

static int put_service(struct sk_buff *skb, struct netlink_callback *cb,
		       const struct kk_service *service)
{
	struct kk_traffic traffic;
	struct nlattr *nest;
	void *header;

	kk_service_traffic(service, &traffic);
	header = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, &kk_family,
			     NLM_F_MULTI, KK_CMD_SERVICE_GET);
	if (!header)
		return -EMSGSIZE;
	nest = nla_nest_start(skb, KK_A_SERVICE);
	if (!nest || nla_put_u32(skb, KK_SERVICE_A_ID, service->id) ||
	    nla_put_u64_64bit(skb, KK_SERVICE_A_IN_PACKETS, traffic.direction[KK_INBOUND].packets,
			      KK_SERVICE_A_PAD) ||
	    nla_put_u64_64bit(skb, KK_SERVICE_A_IN_BYTES, traffic.direction[KK_INBOUND].bytes,
			      KK_SERVICE_A_PAD) ||
	    nla_put_u64_64bit(skb, KK_SERVICE_A_OUT_PACKETS, traffic.direction[KK_OUTBOUND].packets,
			      KK_SERVICE_A_PAD) ||
	    nla_put_u64_64bit(skb, KK_SERVICE_A_OUT_BYTES, traffic.direction[KK_OUTBOUND].bytes,
			      KK_SERVICE_A_PAD)) {
		genlmsg_cancel(skb, header);
		return -EMSGSIZE;
	}
	nla_nest_end(skb, nest);
	genlmsg_end(skb, header);
	return 0;
}

int kk_dump_services(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct kk_net *kn = kk_net_of(sock_net(cb->skb->sk));
	struct nlattr *nest = kk_dump_attrs(cb)[KK_A_SERVICE], *attrs[KK_SERVICE_A_MAX + 1];
	struct kk_service *service;
	unsigned long id = cb->args[0], last = ULONG_MAX;
	int r;

	if (nest) {
		r = nla_parse_nested(attrs, KK_SERVICE_A_MAX, nest, NULL, cb->extack);
		if (r)
			return r;
		if (attrs[KK_SERVICE_A_ID]) {
			last = nla_get_u32(attrs[KK_SERVICE_A_ID]);
			id = max(id, last);
		}
	}
	mutex_lock(&kn->lock);
	if (kn->services.by_slot) {
		xa_for_each_range(&kn->services.by_id, id, service, id,
				  last) if (put_service(skb, cb, service)) break;
		/* Behind the last one the loop leaves its number. */
		cb->args[0] = service ? id : (long)min(last, (unsigned long)LONG_MAX - 1) + 1;
	}
	mutex_unlock(&kn->lock);
	return skb->len;
}

static void sum_counter(const struct kk_net *kn, u32 reason, struct kk_counter *ret)
{
	int cpu;

	memset(ret, 0, sizeof(*ret));
	for_each_possible_cpu(cpu)
	{
		const struct kk_counter *one = per_cpu_ptr(kn->counters, cpu) + reason;

		ret->packets += READ_ONCE(one->packets);
		ret->bytes += READ_ONCE(one->bytes);
	}
}

static int put_counter(struct sk_buff *skb, struct netlink_callback *cb, u32 reason,
		       const struct kk_counter *counter)
{
	struct nlattr *nest;
	void *header;

	header = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, &kk_family,
			     NLM_F_MULTI, KK_CMD_COUNTER_GET);
	if (!header)
		return -EMSGSIZE;
	nest = nla_nest_start(skb, KK_A_COUNTER);
	if (!nest || nla_put_string(skb, KK_COUNTER_A_REASON, kk_reason_name(reason)) ||
	    nla_put_string(skb, KK_COUNTER_A_VERDICT, kk_verdict_name(kk_verdict(reason))) ||
	    nla_put_u64_64bit(skb, KK_COUNTER_A_PACKETS, counter->packets, KK_COUNTER_A_PAD) ||
	    nla_put_u64_64bit(skb, KK_COUNTER_A_BYTES, counter->bytes, KK_COUNTER_A_PAD)) {
		genlmsg_cancel(skb, header);
		return -EMSGSIZE;
	}
	nla_nest_end(skb, nest);
	genlmsg_end(skb, header);
	return 0;
}

int kk_dump_counters(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct kk_net *kn = kk_net_of(sock_net(cb->skb->sk));
	struct kk_counter counter;

	for (; cb->args[0] < KK_REASON_MAX; cb->args[0]++) {
		sum_counter(kn, cb->args[0], &counter);
		if (put_counter(skb, cb, cb->args[0], &counter))
			break;
	}
	return skb->len;
}

int kk_do_counter_reset(struct sk_buff *skb, struct genl_info *info)
{
	struct kk_net *kn = kk_net_of(genl_info_net(info));
	int cpu;

	mutex_lock(&kn->lock);
	for_each_possible_cpu(cpu) memset(per_cpu_ptr(kn->counters, cpu), 0,
					  sizeof(struct kk_counter) * KK_REASON_MAX);
	if (kn->services.by_slot)
		kk_services_reset(&kn->services);
	mutex_unlock(&kn->lock);
	return 0;
}
