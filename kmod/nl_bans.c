// SPDX-License-Identifier: GPL-2.0
/* Bans set, lifted, ended and listed. */
#include "kmod/netlink.h"

#include <linux/mm.h>
#include <net/netlink.h>
#include <net/sock.h>

#include "kmod/compat.h"
#include "kmod/module.h"

/* Of a ban that is to go with the end of the request: past for every packet, and there is a way back without memory. */
#define LIFTED 1

/* What one nest asks for, with what was there before. */
struct wish {
	struct kk_ban_key key;
	bool lift, was;
	u64 until, before;
};

static int read_wish(const struct nlattr *nest, u64 now, struct wish *wish,
		     struct netlink_ext_ack *extack)
{
	struct nlattr *attrs[KK_BAN_A_MAX + 1];
	int r;

	r = nla_parse_nested(attrs, KK_BAN_A_MAX, nest, NULL, extack);
	if (r)
		return r;
	if (!attrs[KK_BAN_A_ADDRESS])
		return kk_missing(extack, nest, KK_BAN_A_ADDRESS, "the source is missing");
	*wish = (struct wish){.lift = nla_type(nest) == KK_A_BAN_GONE, .until = KK_BAN_FOREVER};
	r = kk_read_address(attrs[KK_BAN_A_ADDRESS], &wish->key.address, extack);
	if (r < 0)
		return r;
	if (r == KK_IP6) /* kk_subscriber() */
		wish->key.address.word[2] = wish->key.address.word[3] = 0;
	if (attrs[KK_BAN_A_SERVICE])
		wish->key.service = nla_get_u32(attrs[KK_BAN_A_SERVICE]);
	if (attrs[KK_BAN_A_SECONDS])
		wish->until = now + (u64)nla_get_u32(attrs[KK_BAN_A_SECONDS]) * NSEC_PER_SEC;
	if (wish->lift && attrs[KK_BAN_A_SECONDS])
		return kk_refuse(extack, attrs[KK_BAN_A_SECONDS], "a ban is lifted at once");
	return 0;
}

static int fulfil(struct kk_bans *bans, struct wish *wish, const struct nlattr *nest,
		  struct netlink_ext_ack *extack)
{
	struct kk_ban *ban = kk_bans_find(bans, &wish->key);
	int r;

	wish->was = ban;
	wish->before = ban ? ban->until : 0;
	if (wish->lift) {
		if (!ban || ban->until == LIFTED) {
			NL_SET_ERR_MSG_ATTR(extack, nest, "that source is not banned");
			return -ENOENT;
		}
		return kk_bans_set(bans, &wish->key, LIFTED);
	}
	r = kk_bans_set(bans, &wish->key, wish->until);
	if (r == -ENOSPC)
		NL_SET_ERR_MSG_ATTR(extack, nest, "there are 65536 bans already");
	return r;
}

/* What was there is there still, and needs but its time back. */
static void take_back(struct kk_bans *bans, const struct wish *wish)
{
	if (wish->was)
		kk_bans_set(bans, &wish->key, wish->before);
	else
		kk_bans_remove(bans, kk_bans_find(bans, &wish->key));
}

static void finish(struct kk_net *kn, const struct wish *wish)
{
	struct kk_ban *ban = kk_bans_find(&kn->bans, &wish->key);

	if (ban && ban->until == LIFTED)
		kk_bans_remove(&kn->bans, ban);
	kk_event_ban(kn->net, wish->lift ? KK_EVENT_BAN_LIFTED : KK_EVENT_BANNED, &wish->key,
		     wish->until);
}

static bool is_ban(const struct nlattr *attr)
{
	return nla_type(attr) == KK_A_BAN || nla_type(attr) == KK_A_BAN_GONE;
}

static int read_wishes(struct genl_info *info, struct wish *wishes)
{
	u64 now = ktime_get_ns();
	struct nlattr *nest;
	int left, r, n = 0;

	nlmsg_for_each_attr(nest, info->nlhdr, GENL_HDRLEN, left)
	{
		if (!is_ban(nest))
			continue;
		r = read_wish(nest, now, &wishes[n++], info->extack);
		if (r)
			return r;
	}
	return 0;
}

static int fulfil_all(struct kk_net *kn, struct genl_info *info, struct wish *wishes)
{
	struct nlattr *nest;
	int left, r = 0, n = 0;

	nlmsg_for_each_attr(nest, info->nlhdr, GENL_HDRLEN, left)
	{
		if (!is_ban(nest))
			continue;
		r = fulfil(&kn->bans, &wishes[n], nest, info->extack);
		if (r)
			break;
		n++;
	}
	while (r && n)
		take_back(&kn->bans, &wishes[--n]);
	for (int i = 0; i < n; i++)
		finish(kn, &wishes[i]);
	return r;
}

static void on_end(struct work_struct *work)
{
	struct kk_net *kn = container_of(to_delayed_work(work), struct kk_net, bans.work);
	struct kk_ban_key key;
	struct kk_ban *ban;

	mutex_lock(&kn->lock);
	while ((ban = kk_bans_ended(&kn->bans))) {
		key = ban->key;
		kk_bans_remove(&kn->bans, ban);
		kk_event_ban(kn->net, KK_EVENT_BAN_ENDED, &key, KK_BAN_FOREVER);
		kn->changes++;
	}
	mutex_unlock(&kn->lock);
}

int kk_do_ban_change(struct sk_buff *skb, struct genl_info *info)
{
	struct kk_net *kn = kk_net_of(genl_info_net(info));
	struct wish *wishes;
	struct nlattr *nest;
	int left, r, n = 0;

	nlmsg_for_each_attr(nest, info->nlhdr, GENL_HDRLEN, left) n += is_ban(nest);
	if (!n)
		return kk_missing(info->extack, NULL, KK_A_BAN, "no source is named");
	wishes = kvcalloc(n, sizeof(*wishes), KK_GFP);
	if (!wishes)
		return -ENOMEM;
	mutex_lock(&kn->lock);
	if (kk_net_tables(kn)) {
		r = kk_bans_init(&kn->bans, on_end) ?: read_wishes(info, wishes);
		r = r ?: fulfil_all(kn, info, wishes);
		kn->changes++;
	} else {
		NL_SET_ERR_MSG(info->extack, "there are no tables in this namespace");
		r = -ENOENT;
	}
	mutex_unlock(&kn->lock);
	kvfree(wishes);
	return r;
}

static int put_ban(struct sk_buff *skb, struct netlink_callback *cb, const struct kk_ban *ban)
{
	void *header = kk_netlink_dump(skb, cb, KK_CMD_BAN_GET);
	u32 seconds = kk_ban_seconds(ban->until);
	struct nlattr *nest;

	if (!header)
		return -EMSGSIZE;
	nest = nla_nest_start(skb, KK_A_BAN);
	if (!nest || kk_put_address(skb, KK_BAN_A_ADDRESS, &ban->key.address) ||
	    (ban->key.service && nla_put_u32(skb, KK_BAN_A_SERVICE, ban->key.service)) ||
	    (seconds && nla_put_u32(skb, KK_BAN_A_SECONDS, seconds))) {
		genlmsg_cancel(skb, header);
		return -EMSGSIZE;
	}
	nla_nest_end(skb, nest);
	genlmsg_end(skb, header);
	return 0;
}

static int read_filter(struct netlink_callback *cb, u32 *service)
{
	struct nlattr *nest = kk_dump_attrs(cb)[KK_A_BAN], *attrs[KK_BAN_A_MAX + 1];
	int r;

	*service = 0;
	if (!nest)
		return 0;
	r = nla_parse_nested(attrs, KK_BAN_A_MAX, nest, NULL, cb->extack);
	if (r)
		return r;
	if (attrs[KK_BAN_A_ADDRESS] || attrs[KK_BAN_A_SECONDS])
		return kk_refuse(cb->extack, nest, "a dump of bans is filtered by service");
	if (attrs[KK_BAN_A_SERVICE])
		*service = nla_get_u32(attrs[KK_BAN_A_SERVICE]);
	return 0;
}

/* In the order in which they were set: args[0] is the number of the one to go on with. */
int kk_dump_bans(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct kk_net *kn = kk_net_of(sock_net(cb->skb->sk));
	u64 now = ktime_get_ns();
	struct kk_ban *ban;
	long i = 0;
	u32 service;
	int r;

	r = read_filter(cb, &service);
	if (r)
		return r;
	mutex_lock(&kn->lock);
	cb->seq = kn->changes;
	if (kn->bans.ready)
		list_for_each_entry(ban, &kn->bans.all, all)
		{
			if (i++ < cb->args[0])
				continue;
			if (ban->until > now && (!service || service == ban->key.service) &&
			    put_ban(skb, cb, ban))
				break;
			cb->args[0] = i;
		}
	mutex_unlock(&kn->lock);
	return skb->len;
}
