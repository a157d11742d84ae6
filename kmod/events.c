// SPDX-License-Identifier: GPL-2.0
#include "kmod/events.h"

#include <linux/ktime.h>

#include "kmod/netlink.h"

#define INTERVAL_NS 100000000
#define ROOM	    128

void kk_events_init(struct kk_events *events)
{
	memset(events, 0, sizeof(*events));
}

/* NULL: memory is short, or nobody listens. Nothing that happens to an event changes anything else. */
static struct sk_buff *start(struct net *net, enum kk_event event, void **header, gfp_t gfp)
{
	struct sk_buff *msg;

	if (!genl_has_listeners(&kk_family, net, 0))
		return NULL;
	msg = genlmsg_new(ROOM, gfp);
	if (!msg)
		return NULL;
	*header = genlmsg_put(msg, 0, 0, &kk_family, 0, KK_CMD_EVENT);
	if (*header && !nla_put_u32(msg, KK_A_EVENT, event))
		return msg;
	nlmsg_free(msg);
	return NULL;
}

static void finish(struct net *net, struct sk_buff *msg, void *header, bool full, gfp_t gfp)
{
	if (full) {
		nlmsg_free(msg);
		return;
	}
	genlmsg_end(msg, header);
	genlmsg_multicast_netns(&kk_family, net, msg, 0, 0, gfp);
}

void kk_event_plain(struct net *net, enum kk_event event)
{
	void *header;
	struct sk_buff *msg = start(net, event, &header, GFP_KERNEL);

	if (msg)
		finish(net, msg, header, false, GFP_KERNEL);
}

static int put_source(struct sk_buff *msg, const struct kk_in6 *address, u32 service, u32 seconds)
{
	struct nlattr *nest = nla_nest_start(msg, KK_A_BAN);

	if (!nest || kk_put_address(msg, KK_BAN_A_ADDRESS, address) ||
	    (service && nla_put_u32(msg, KK_BAN_A_SERVICE, service)) ||
	    (seconds && nla_put_u32(msg, KK_BAN_A_SECONDS, seconds)))
		return -EMSGSIZE;
	nla_nest_end(msg, nest);
	return 0;
}

void kk_event_ban(struct net *net, enum kk_event event, const struct kk_ban_key *key, u64 until)
{
	void *header;
	struct sk_buff *msg = start(net, event, &header, GFP_KERNEL);

	if (msg)
		finish(net, msg, header,
		       put_source(msg, &key->address, key->service, kk_ban_seconds(until)),
		       GFP_KERNEL);
}

static bool may_tell(struct kk_events *events, enum kk_event event, u32 *missed)
{
	s64 now = ktime_get_ns(), next = atomic64_read(&events->of[event].next);

	if (now < next ||
	    atomic64_cmpxchg(&events->of[event].next, next, now + INTERVAL_NS) != next) {
		atomic_inc(&events->of[event].missed);
		return false;
	}
	*missed = atomic_xchg(&events->of[event].missed, 0);
	return true;
}

void kk_event_limited(struct kk_net *kn, enum kk_event event, const struct kk_source_key *source)
{
	struct sk_buff *msg;
	void *header;
	u32 missed;

	if (!may_tell(&kn->events, event, &missed))
		return;
	msg = start(kn->net, event, &header, GFP_ATOMIC);
	if (msg)
		finish(kn->net, msg, header,
		       put_source(msg, &source->address, source->service, 0) ||
			       (missed && nla_put_u32(msg, KK_A_MISSED, missed)),
		       GFP_ATOMIC);
}

void kk_event_flows(struct kk_net *kn, enum kk_event event)
{
	struct sk_buff *msg;
	void *header;
	u32 missed;

	if (!may_tell(&kn->events, event, &missed))
		return;
	msg = start(kn->net, event, &header, GFP_ATOMIC);
	if (msg)
		finish(kn->net, msg, header,
		       nla_put_u32(msg, KK_A_FLOWS, atomic_read(&kn->flows.n)) ||
			       (missed && nla_put_u32(msg, KK_A_MISSED, missed)),
		       GFP_ATOMIC);
}
