// SPDX-License-Identifier: MIT
#include "net/net.h"

#include <errno.h>
#include <net/if.h>
#include <string.h>

#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#include "net/nl.h"

static int change(int type, int flags, const char *ifname, const struct kk_prefix *prefix,
		  uint32_t metric, int is_so_already, struct kk_err *err)
{
	KK_CLEANUP_NLMSG struct nl_msg *msg = nlmsg_alloc_simple(type, flags);
	int index = kk_net_ifindex(ifname), r;
	struct rtmsg info = {
		.rtm_family = (uint8_t)prefix->addr.family,
		.rtm_dst_len = prefix->len,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_STATIC,
		.rtm_scope = RT_SCOPE_LINK,
		.rtm_type = RTN_UNICAST,
	};
	char text[KK_PREFIX_TEXT];

	if (index < 0)
		return kk_err_set(err, ENODEV, "interface", "there is no interface %s", ifname);
	if (!msg || nlmsg_append(msg, &info, sizeof(info), NLMSG_ALIGNTO) < 0 ||
	    nla_put(msg, RTA_DST, prefix->addr.family == AF_INET6 ? 16 : 4, prefix->addr.bytes) <
		    0 ||
	    nla_put_u32(msg, RTA_OIF, (uint32_t)index) < 0 ||
	    nla_put_u32(msg, RTA_PRIORITY, metric) < 0)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	r = kk_rtnl_call(msg, NULL, NULL);
	if (r < 0 && r != is_so_already)
		return kk_err_set(err, -r, "route", "cannot %s the route to %s over %s: %s",
				  type == RTM_NEWROUTE ? "add" : "remove",
				  kk_prefix_text(prefix, text), ifname, strerror(-r));
	return 0;
}

static struct kk_prefix generic(const struct kk_prefix4 *prefix)
{
	return (struct kk_prefix){.addr = {.family = AF_INET, .v4 = prefix->addr},
				  .len = prefix->len};
}

int kk_net_route6_add(const char *ifname, const struct kk_prefix *prefix, uint32_t metric,
		      struct kk_err *err)
{
	return change(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, ifname, prefix, metric, -EEXIST,
		      err);
}

int kk_net_route_add(const char *ifname, const struct kk_prefix4 *prefix, uint32_t metric,
		     struct kk_err *err)
{
	const struct kk_prefix p = generic(prefix);

	return kk_net_route6_add(ifname, &p, metric, err);
}

int kk_net_route_del(const char *ifname, const struct kk_prefix4 *prefix, uint32_t metric,
		     struct kk_err *err)
{
	const struct kk_prefix p = generic(prefix);

	return change(RTM_DELROUTE, 0, ifname, &p, metric, -ESRCH, err);
}

struct best {
	unsigned int index;
	uint32_t metric;
};

/* The interface of a route: its own, or that of its first next hop. */
static unsigned int route_ifindex(struct nlattr *const *attrs)
{
	if (attrs[RTA_OIF])
		return nla_get_u32(attrs[RTA_OIF]);
	if (attrs[RTA_MULTIPATH] && nla_len(attrs[RTA_MULTIPATH]) >= (int)sizeof(struct rtnexthop))
		return (unsigned int)((struct rtnexthop *)nla_data(attrs[RTA_MULTIPATH]))
			->rtnh_ifindex;
	return 0;
}

static int keep_best(struct nlmsghdr *hdr, void *userdata)
{
	struct nlattr *attrs[RTA_MAX + 1];
	struct rtmsg *info = nlmsg_data(hdr);
	struct best *best = userdata;
	unsigned int index;
	uint32_t metric;

	if (nlmsg_parse(hdr, sizeof(*info), attrs, RTA_MAX, NULL) < 0)
		return -EBADMSG;
	if (info->rtm_family != AF_INET || info->rtm_dst_len != 0 ||
	    info->rtm_type != RTN_UNICAST || info->rtm_table != RT_TABLE_MAIN || info->rtm_tos != 0)
		return 0;
	index = route_ifindex(attrs);
	metric = attrs[RTA_PRIORITY] ? nla_get_u32(attrs[RTA_PRIORITY]) : 0;
	if (index && (!best->index || metric < best->metric))
		*best = (struct best){index, metric};
	return 0;
}

int kk_net_default_ifname(char *ifname, struct kk_err *err)
{
	KK_CLEANUP_NLMSG struct nl_msg *msg = nlmsg_alloc_simple(RTM_GETROUTE, NLM_F_DUMP);
	struct rtmsg info = {.rtm_family = AF_INET};
	struct best best = {0};
	char name[IFNAMSIZ];
	int r;

	if (!msg || nlmsg_append(msg, &info, sizeof(info), NLMSG_ALIGNTO) < 0)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	r = kk_rtnl_call(msg, keep_best, &best);
	/* A table that changed meanwhile still names a default route that was there. */
	if (r < 0 && !(r == -EAGAIN && best.index))
		return kk_err_set(err, -r, NULL, "cannot read the routing table: %s", strerror(-r));
	if (!best.index || !if_indextoname(best.index, name))
		return kk_err_set(err, ENETUNREACH, NULL, "there is no default route (IPv4)");
	memcpy(ifname, name, sizeof(name));
	return 0;
}
