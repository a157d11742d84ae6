// SPDX-License-Identifier: GPL-2.0
/* What the tables in force would do with a packet, told without doing it. */
#include "kmod/netlink.h"

#include <linux/ip.h>
#include <linux/ipv6.h>
#include <net/netlink.h>

#include "kmod/env.h"
#include "kmod/names.h"
#include <kk/core/forward.h>

#define HEADROOM 256

static struct sk_buff *make_packet(const struct nlattr *data, u16 gso, bool partial)
{
	struct sk_buff *skb = alloc_skb(HEADROOM + nla_len(data), GFP_KERNEL);

	if (!skb)
		return NULL;
	skb_reserve(skb, HEADROOM);
	skb_put_data(skb, nla_data(data), nla_len(data));
	skb_reset_network_header(skb);
	skb->protocol = skb->data[0] >> 4 == 6 ? htons(ETH_P_IPV6) : htons(ETH_P_IP);
	skb_shinfo(skb)->gso_size = gso;
	if (partial)
		skb->ip_summed = CHECKSUM_PARTIAL;
	return skb;
}

static int answer(struct genl_info *info, const struct sk_buff *packet, enum kk_reason reason)
{
	struct sk_buff *msg;
	struct nlattr *nest;
	void *header;

	msg = kk_netlink_answer(info, packet->len + 256, &header);
	if (!msg)
		return -ENOMEM;
	nest = nla_nest_start(msg, KK_A_PACKET);
	if (!nest || nla_put_string(msg, KK_PACKET_A_REASON, kk_reason_name(reason)) ||
	    nla_put_string(msg, KK_PACKET_A_VERDICT, kk_verdict_name(kk_verdict(reason))) ||
	    nla_put(msg, KK_PACKET_A_DATA, packet->len, packet->data)) {
		nlmsg_free(msg);
		return -EMSGSIZE;
	}
	nla_nest_end(msg, nest);
	genlmsg_end(msg, header);
	return genlmsg_reply(msg, info);
}

int kk_do_try(struct sk_buff *skb, struct genl_info *info)
{
	struct kk_net *kn = kk_net_of(genl_info_net(info));
	struct nlattr *nest = info->attrs[KK_A_PACKET], *attrs[KK_PACKET_A_MAX + 1];
	struct kk_scratch scratch;
	struct kk_packet pkt = {.scratch = &scratch};
	enum kk_direction direction;
	enum kk_reason reason;
	u16 gso = 0;
	int r;

	if (!nest) {
		NL_SET_ERR_MSG(info->extack, "the packet is missing");
		NL_SET_ERR_ATTR_MISS(info->extack, NULL, KK_A_PACKET);
		return -EINVAL;
	}
	r = nla_parse_nested(attrs, KK_PACKET_A_MAX, nest, NULL, info->extack);
	if (r)
		return r;
	if (!attrs[KK_PACKET_A_DATA] || !nla_len(attrs[KK_PACKET_A_DATA]) ||
	    !attrs[KK_PACKET_A_DIRECTION]) {
		NL_SET_ERR_MSG(info->extack, "the packet's data or direction is missing");
		NL_SET_ERR_ATTR_MISS(info->extack, nest,
				     attrs[KK_PACKET_A_DATA] ? KK_PACKET_A_DIRECTION
							     : KK_PACKET_A_DATA);
		return -EINVAL;
	}
	if (attrs[KK_PACKET_A_GSO])
		gso = nla_get_u16(attrs[KK_PACKET_A_GSO]);
	direction = nla_get_u32(attrs[KK_PACKET_A_DIRECTION]) == KK_PACKET_OUTBOUND ? KK_OUTBOUND
										    : KK_INBOUND;
	pkt.skb = make_packet(attrs[KK_PACKET_A_DATA], gso, attrs[KK_PACKET_A_PARTIAL]);
	if (!pkt.skb)
		return -ENOMEM;
	mutex_lock(&kn->lock);
	if (!kn->fragments)
		kn->fragments = kvzalloc(sizeof(*kn->fragments), GFP_KERNEL_ACCOUNT);
	if (!kn->fragments) {
		r = -ENOMEM;
		goto out;
	}
	pkt.fragments = kn->fragments;
	pkt.tables = kk_net_tables(kn);
	if (pkt.tables) {
		rcu_read_lock(); /* of the way back */
		reason = kk_forward(&pkt, pkt.skb->data[0] >> 4 == KK_IP6 ? KK_IP6 : KK_IP4,
				    direction);
		rcu_read_unlock();
		r = answer(info, pkt.skb, reason);
	} else {
		NL_SET_ERR_MSG(info->extack, "there are no tables in this namespace");
		r = -ENOENT;
	}
out:
	mutex_unlock(&kn->lock);
	kfree_skb(pkt.skb);
	return r;
}
