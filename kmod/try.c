// SPDX-License-Identifier: GPL-2.0
/* What the tables in force would do with packets, told without doing it. */
#include "kmod/netlink.h"

#include <linux/ip.h>
#include <linux/ipv6.h>
#include <net/netlink.h>

#include "kmod/decide.h"
#include "kmod/names.h"
#include "kmod/plain.h"

#define HEADROOM 256
#define ROOM	 (SKB_WITH_OVERHEAD(32768) - 64) /* of a message, or more if one answer is longer */

static struct sk_buff *make_packet(struct nlattr *const *attrs)
{
	const struct nlattr *data = attrs[KK_PACKET_A_DATA];
	struct sk_buff *skb = alloc_skb(HEADROOM + nla_len(data), GFP_KERNEL);

	if (!skb)
		return NULL;
	skb_reserve(skb, HEADROOM);
	skb_put_data(skb, nla_data(data), nla_len(data));
	skb_reset_network_header(skb);
	skb->protocol = skb->data[0] >> 4 == 6 ? htons(ETH_P_IPV6) : htons(ETH_P_IP);
	if (attrs[KK_PACKET_A_GSO])
		skb_shinfo(skb)->gso_size = nla_get_u16(attrs[KK_PACKET_A_GSO]);
	if (attrs[KK_PACKET_A_PARTIAL])
		skb->ip_summed = CHECKSUM_PARTIAL;
	return skb;
}

/* The answers to one request, message after message. */
struct answers {
	struct genl_info *info;
	struct sk_buff *msg;
	void *header;
};

static int send(struct answers *answers)
{
	struct sk_buff *msg = answers->msg;

	answers->msg = NULL;
	if (!msg)
		return 0;
	genlmsg_end(msg, answers->header);
	return genlmsg_reply(msg, answers->info);
}

static int put(struct answers *answers, const struct sk_buff *packet, enum kk_reason reason)
{
	struct sk_buff *msg = answers->msg;
	struct nlattr *nest = nla_nest_start(msg, KK_A_PACKET);

	if (!nest)
		return -EMSGSIZE;
	if (nla_put_string(msg, KK_PACKET_A_REASON, kk_reason_name(reason)) ||
	    nla_put_string(msg, KK_PACKET_A_VERDICT, kk_verdict_name(kk_verdict(reason))) ||
	    nla_put(msg, KK_PACKET_A_DATA, packet->len, packet->data)) {
		nla_nest_cancel(msg, nest);
		return -EMSGSIZE;
	}
	nla_nest_end(msg, nest);
	return 0;
}

static int answer(struct answers *answers, const struct sk_buff *packet, enum kk_reason reason)
{
	int r;

	if (answers->msg && !put(answers, packet, reason))
		return 0;
	r = send(answers);
	if (r)
		return r;
	answers->msg = kk_netlink_answer(answers->info, max(packet->len + 256, (u32)ROOM),
					 &answers->header);
	return answers->msg ? put(answers, packet, reason) : -ENOMEM;
}

static int check(struct nlattr *const *attrs, const struct nlattr *nest,
		 struct netlink_ext_ack *extack)
{
	if (!attrs[KK_PACKET_A_DATA] || !nla_len(attrs[KK_PACKET_A_DATA]))
		return kk_missing(extack, nest, KK_PACKET_A_DATA, "the packet's data is missing");
	if (!attrs[KK_PACKET_A_DIRECTION])
		return kk_missing(extack, nest, KK_PACKET_A_DIRECTION,
				  "the packet's direction is missing");
	return 0;
}

static enum kk_reason decide(struct kk_net *kn, const struct kk_tables *tables,
			     struct kk_trial *trial, struct sk_buff *skb,
			     enum kk_direction direction)
{
	struct kk_work work = {.flow = NULL};
	struct kk_packet pkt = {
		.skb = skb, .tables = tables, .net = kn, .trial = trial, .work = &work};
	enum kk_reason reason;

	rcu_read_lock();
	reason = kk_decide_plain(&pkt, direction);
	if (reason == KK_NOT_PLAIN)
		reason = skb->protocol == htons(ETH_P_IPV6) ? kk_decide(&pkt, KK_IP6, direction)
							    : kk_decide(&pkt, KK_IP4, direction);
	rcu_read_unlock();
	return reason;
}

static int try_one(struct kk_net *kn, const struct kk_tables *tables, struct kk_trial *trial,
		   const struct nlattr *nest, struct answers *answers)
{
	struct netlink_ext_ack *extack = answers->info->extack;
	struct nlattr *attrs[KK_PACKET_A_MAX + 1];
	enum kk_direction direction;
	enum kk_reason reason;
	struct sk_buff *skb;
	int r;

	r = nla_parse_nested(attrs, KK_PACKET_A_MAX, nest, NULL, extack);
	r = r ?: check(attrs, nest, extack);
	if (r)
		return r;
	direction = nla_get_u32(attrs[KK_PACKET_A_DIRECTION]) == KK_PACKET_OUTBOUND ? KK_OUTBOUND
										    : KK_INBOUND;
	trial->now = attrs[KK_PACKET_A_NOW] ? nla_get_u64(attrs[KK_PACKET_A_NOW]) : 0;
	skb = make_packet(attrs);
	if (!skb)
		return -ENOMEM;
	reason = decide(kn, tables, trial, skb, direction);
	r = answer(answers, skb, reason);
	kfree_skb(skb);
	return r;
}

static int try_all(struct kk_net *kn, const struct kk_tables *tables, struct answers *answers)
{
	struct kk_trial *trial = kk_trial_new();
	struct nlattr *nest;
	int left, r = 0;

	if (!trial)
		return -ENOMEM;
	nlmsg_for_each_attr(nest, answers->info->nlhdr, GENL_HDRLEN, left)
	{
		if (nla_type(nest) != KK_A_PACKET)
			continue;
		r = try_one(kn, tables, trial, nest, answers);
		if (r)
			break;
		cond_resched();
	}
	kk_trial_free(trial);
	if (!r)
		return send(answers);
	nlmsg_free(answers->msg);
	return r;
}

int kk_do_try(struct sk_buff *skb, struct genl_info *info)
{
	struct kk_net *kn = kk_net_of(genl_info_net(info));
	struct answers answers = {.info = info};
	const struct kk_tables *tables;
	int r;

	if (!info->attrs[KK_A_PACKET])
		return kk_missing(info->extack, NULL, KK_A_PACKET, "the packet is missing");
	mutex_lock(&kn->lock);
	tables = kk_net_tables(kn);
	if (tables) {
		r = try_all(kn, tables, &answers);
	} else {
		NL_SET_ERR_MSG(info->extack, "there are no tables in this namespace");
		r = -ENOENT;
	}
	mutex_unlock(&kn->lock);
	return r;
}
